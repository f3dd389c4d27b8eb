"""Small questions of other servers: the room of an alias, the profile of a user."""

from ranvier.accounts.profiles import Profiles
from ranvier.federation.aliases import AliasesForPeers
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.protocol.refusal import Refusal

_QUERY = "/_matrix/federation/v1/query"


@endpoint("GET", _QUERY + "/directory", access="server")
async def query_room_directory(request: Request, aliases: AliasesForPeers) -> Answer:
    """The room that an alias of this server points to, and servers that are in it."""
    room_id, servers = await aliases.get(request.query_required("room_alias"))
    return {"room_id": room_id, "servers": servers}


@endpoint("GET", _QUERY + "/profile", access="server")
async def query_profile(request: Request, profiles: Profiles) -> Answer:
    """The profile of a user of this server, or one field of it."""
    return await profiles.tell(request.query_required("user_id"), request.query("field"))


@endpoint("GET", _QUERY + "/{queryType}", access="server")
async def query_info(request: Request) -> Answer:
    """Questions of other types, of which this server knows none."""
    kind = request.parameters["queryType"][:255]
    raise Refusal("M_UNRECOGNIZED", f"This server answers no queries of the type {kind}.", status=404)
