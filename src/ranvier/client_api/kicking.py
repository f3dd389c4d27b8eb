"""Kicks."""

from ranvier.client_api.room_parameters import read_target
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.rooms.membership import Memberships


@endpoint("POST", "/_matrix/client/v3/rooms/{roomId}/kick")
async def kick(request: Request, memberships: Memberships) -> Answer:
    """Make a user leave the room."""
    request.requester.check_not_suspended()
    target = read_target(request)
    await memberships.kick(
        request.requester.user_id, request.parameters["roomId"], target.user_id, reason=target.reason
    )
    return {}
