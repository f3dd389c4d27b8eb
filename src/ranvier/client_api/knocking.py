"""Knocks."""

from ranvier.client_api.room_parameters import Reason, refuse_guest, servers_of
from ranvier.federation.memberships import FederatedMemberships
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.rooms.aliases import Aliases


@endpoint("POST", "/_matrix/client/v3/knock/{roomIdOrAlias}", rate_limit="joins_local")
async def knock_room(request: Request, memberships: FederatedMemberships, aliases: Aliases) -> Answer:
    """Ask to be let into a room."""
    request.requester.check_not_suspended()
    refuse_guest(request.requester)
    target = await aliases.resolve(request.parameters["roomIdOrAlias"], servers_of(request))
    reason = request.read(Reason, optional=True).reason
    await memberships.knock(request.requester.user_id, target.room_id, target.servers, reason=reason)
    return {"room_id": target.room_id}
