"""This server's room directory, for other servers."""

from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.protocol.refusal import forbidden
from ranvier.rooms.directory import Directory, DirectoryRules
from ranvier.rooms.directory_query import DirectoryQuery

_PATH = "/_matrix/federation/v1/publicRooms"


@endpoint("GET", _PATH, access="server")
async def get_public_rooms(request: Request, directory: Directory, rules: DirectoryRules) -> Answer:
    """A part of the directory."""
    wanted = DirectoryQuery(
        request.query_int("limit", 0),
        request.query("since"),
        include_all_networks=request.query_bool("include_all_networks"),
        third_party_instance_id=request.query("third_party_instance_id"),
    )
    return await _page(directory, rules, wanted)


@endpoint("POST", _PATH, access="server")
async def query_public_rooms(request: Request, directory: Directory, rules: DirectoryRules) -> Answer:
    """A part of what a search finds in the directory."""
    return await _page(directory, rules, request.read(DirectoryQuery))


async def _page(directory: Directory, rules: DirectoryRules, wanted: DirectoryQuery) -> Answer:
    if not (rules.enabled and rules.for_peers):
        raise forbidden("This server does not show its room directory to other servers.")
    return (await directory.page(wanted)).to_json()
