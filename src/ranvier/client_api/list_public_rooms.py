"""The room directory."""

from typing import Literal

import msgspec

from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.rooms.directory import Directory, DirectoryRules
from ranvier.rooms.directory_query import DirectoryQuery

_LIST_PATH = "/_matrix/client/v3/directory/list/room/{roomId}"
_ROOMS_PATH = "/_matrix/client/v3/publicRooms"


class Publicity(msgspec.Struct):
    """Whether the directory shall show a room."""

    visibility: Literal["public", "private"] = "public"


@endpoint("GET", _LIST_PATH, access="open")
async def get_room_visibility_on_directory(request: Request, directory: Directory) -> Answer:
    """Whether the directory shows a room."""
    published = await directory.is_published(request.parameters["roomId"])
    return {"visibility": "public" if published else "private"}


@endpoint("PUT", _LIST_PATH)
async def set_room_visibility_on_directory(request: Request, directory: Directory) -> Answer:
    """Show a room in the directory, or hide it."""
    requester = request.requester
    requester.check_not_suspended()
    published = request.read(Publicity, optional=True).visibility == "public"
    await directory.set_published(
        requester.user_id, request.parameters["roomId"], published, is_admin=requester.is_admin
    )
    return {}


@endpoint("GET", _ROOMS_PATH, access="optional token")
async def get_public_rooms(request: Request, directory: Directory, rules: DirectoryRules) -> Answer:
    """A part of the directory."""
    if not rules.without_token:
        _ = request.requester  # Refuses: there is none.
    wanted = DirectoryQuery(request.query_int("limit", 0), request.query("since"))
    return await _page(request, directory, rules, wanted)


@endpoint("POST", _ROOMS_PATH)
async def query_public_rooms(request: Request, directory: Directory, rules: DirectoryRules) -> Answer:
    """A part of what a search finds in the directory."""
    return await _page(request, directory, rules, request.read(DirectoryQuery, optional=True))


async def _page(
    request: Request, directory: Directory, rules: DirectoryRules, wanted: DirectoryQuery
) -> Answer:
    if not rules.enabled:
        return {"chunk": [], "total_room_count_estimate": 0}
    server = request.query("server")
    if server and server != rules.server_name:
        _ = request.requester  # Those who are not logged in don't make this server ask others.
        return (await directory.page_of(server, wanted)).to_json()
    return (await directory.page(wanted)).to_json()
