"""Bans."""

from ranvier.client_api.room_parameters import read_target
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.rooms.membership import Memberships


@endpoint("POST", "/_matrix/client/v3/rooms/{roomId}/ban")
async def ban(request: Request, memberships: Memberships) -> Answer:
    """Ban a user from the room."""
    request.requester.check_not_suspended()
    target = read_target(request)
    await memberships.ban(
        request.requester.user_id, request.parameters["roomId"], target.user_id, reason=target.reason
    )
    return {}


@endpoint("POST", "/_matrix/client/v3/rooms/{roomId}/unban")
async def unban(request: Request, memberships: Memberships) -> Answer:
    """Lift a user's ban."""
    request.requester.check_not_suspended()
    target = read_target(request)
    await memberships.unban(
        request.requester.user_id, request.parameters["roomId"], target.user_id, reason=target.reason
    )
    return {}
