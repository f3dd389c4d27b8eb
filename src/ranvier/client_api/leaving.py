"""Leaving rooms, and forgetting them."""

from ranvier.client_api.room_parameters import Reason
from ranvier.federation.memberships import FederatedMemberships
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.rooms.membership import Memberships


@endpoint("POST", "/_matrix/client/v3/rooms/{roomId}/leave", rate_limit="other")
async def leave_room(request: Request, memberships: FederatedMemberships) -> Answer:
    """Leave a room, refuse an invite, or take back a knock."""
    reason = request.read(Reason, optional=True).reason
    await memberships.leave(request.requester.user_id, request.parameters["roomId"], reason=reason)
    return {}


@endpoint("POST", "/_matrix/client/v3/rooms/{roomId}/forget", rate_limit="other")
async def forget_room(request: Request, memberships: Memberships) -> Answer:
    """Forget a room that the user has left."""
    await memberships.forget(request.requester.user_id, request.parameters["roomId"])
    return {}
