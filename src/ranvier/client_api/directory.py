"""Room aliases."""

import msgspec

from ranvier.client_api.room_parameters import refuse_guest
from ranvier.federation.aliases import AliasesForPeers
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.rooms.aliases import Aliases

_PATH = "/_matrix/client/v3/directory/room/{roomAlias}"


class AliasTarget(msgspec.Struct):
    """The room that an alias shall point to."""

    room_id: str


@endpoint("GET", _PATH, access="open")
async def get_room_id_by_alias(request: Request, aliases: Aliases, for_peers: AliasesForPeers) -> Answer:
    """The room that an alias points to, and the servers that know it."""
    found = await aliases.get(request.parameters["roomAlias"])
    is_ours = found.servers == [aliases.server_name]
    servers = await for_peers.servers_in(found.room_id) if is_ours else []
    return {"room_id": found.room_id, "servers": servers or found.servers}


@endpoint("PUT", _PATH)
async def set_room_alias(request: Request, aliases: Aliases) -> Answer:
    """Make an alias."""
    requester = request.requester
    requester.check_not_suspended()
    refuse_guest(requester)
    target = request.read(AliasTarget)
    await aliases.create(requester.user_id, request.parameters["roomAlias"], target.room_id)
    return {}


@endpoint("DELETE", _PATH)
async def delete_room_alias(request: Request, aliases: Aliases) -> Answer:
    """Take an alias away."""
    requester = request.requester
    await aliases.delete(requester.user_id, request.parameters["roomAlias"], is_admin=requester.is_admin)
    return {}


@endpoint("GET", "/_matrix/client/v3/rooms/{roomId}/aliases", rate_limit="other")
async def get_local_aliases(request: Request, aliases: Aliases) -> Answer:
    """A room's aliases on this server."""
    return {"aliases": await aliases.of_room(request.requester.user_id, request.parameters["roomId"])}
