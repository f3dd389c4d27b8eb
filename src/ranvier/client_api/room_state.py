"""State events, written."""

from ranvier.client_api.delayed_events import schedule
from ranvier.federation.memberships import FederatedMemberships
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.limits import Limits
from ranvier.http.request import Request
from ranvier.rooms.delayed_events import DelayedEvents
from ranvier.rooms.heads import MEMBER
from ranvier.rooms.sending import Sending


@endpoint("PUT", "/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}")
async def set_room_state_with_key(
    request: Request,
    sending: Sending,
    memberships: FederatedMemberships,
    delayed: DelayedEvents,
    limits: Limits,
) -> Answer:
    """Set the state of a key; what would change nothing is answered with the event that stands."""
    requester = request.requester
    room_id, kind = request.parameters["roomId"], request.parameters["eventType"]
    later = await schedule(request, delayed, room_id, kind, request.parameters["stateKey"])
    if later is not None:
        return later
    state_key, content = request.parameters["stateKey"], request.json()
    if not (kind == MEMBER and content.get("membership") == "leave"):
        requester.check_not_suspended()
    limits.count("message", requester.user_id)
    if kind == MEMBER:
        event_id = await memberships.set(
            requester.user_id, room_id, state_key, content, is_guest=requester.is_guest
        )
    else:
        event_id = await sending.set_state(requester.user_id, room_id, kind, state_key, content)
    return {"event_id": event_id}
