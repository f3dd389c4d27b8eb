"""The room directory."""

from dataclasses import dataclass
from typing import Literal

import msgspec

from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.protocol.refusal import invalid_param
from ranvier.rooms.directory import MAX_ROOMS, Directory, DirectoryPage

DEFAULT_LIMIT = 100
_LIST_PATH = "/_matrix/client/v3/directory/list/room/{roomId}"
_ROOMS_PATH = "/_matrix/client/v3/publicRooms"


@dataclass(frozen=True, slots=True)
class DirectoryRules:
    """Whether the directory is served at all, and to those without a token."""

    server_name: str
    enabled: bool
    without_token: bool


class Publicity(msgspec.Struct):
    """Whether the directory shall show a room."""

    visibility: Literal["public", "private"] = "public"


class RoomSearch(msgspec.Struct, omit_defaults=True):
    """What is looked for; `None` among the types stands for rooms without one."""

    generic_search_term: str | None = None
    room_types: list[str | None] | None = None


class PublicRooms(msgspec.Struct, omit_defaults=True):
    """Which part of the directory is wanted."""

    limit: int | None = None
    since: str | None = None
    filter: RoomSearch | None = None
    include_all_networks: bool = False
    third_party_instance_id: str | None = None


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
    wanted = PublicRooms(request.query_int("limit", DEFAULT_LIMIT, least=0), request.query("since"))
    return await _page(request, directory, rules, wanted)


@endpoint("POST", _ROOMS_PATH)
async def query_public_rooms(request: Request, directory: Directory, rules: DirectoryRules) -> Answer:
    """A part of what a search finds in the directory."""
    return await _page(request, directory, rules, request.read(PublicRooms, optional=True))


async def _page(request: Request, directory: Directory, rules: DirectoryRules, wanted: PublicRooms) -> Answer:
    if not rules.enabled:
        return {"chunk": [], "total_room_count_estimate": 0}
    check_networks(wanted)
    limit = DEFAULT_LIMIT if wanted.limit is None or wanted.limit <= 0 else min(wanted.limit, MAX_ROOMS)
    server = request.query("server")
    if server and server != rules.server_name:
        _ = request.requester  # Those who are not logged in don't make this server ask others.
        body = msgspec.to_builtins(wanted)
        return (await directory.page_of(server, {**body, "limit": limit})).to_json()
    return (await local_page(directory, wanted, limit)).to_json()


def check_networks(wanted: PublicRooms) -> None:
    """Refuse one network and all at once."""
    if wanted.include_all_networks and wanted.third_party_instance_id:
        raise invalid_param("'third_party_instance_id' can't be given with 'include_all_networks'.")


async def local_page(directory: Directory, wanted: PublicRooms, limit: int) -> DirectoryPage:
    """A page of this server's directory; bridges publish nothing in networks of their own here."""
    if wanted.third_party_instance_id:
        return DirectoryPage([], None, None, 0)
    search = wanted.filter or RoomSearch()
    return await directory.page(
        limit=limit, since=wanted.since or None, term=search.generic_search_term, room_types=search.room_types
    )
