"""Redactions."""

from ranvier.client_api.room_parameters import Reason, transaction_of
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.limits import Limits
from ranvier.http.request import Request
from ranvier.rooms.sending import Sending


@endpoint("PUT", "/_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}")
async def redact_event(request: Request, sending: Sending, limits: Limits) -> Answer:
    """Redact an event; a suspended user only their own."""
    requester = request.requester
    room_id, event_id = request.parameters["roomId"], request.parameters["eventId"]
    limits.count("message", requester.user_id)
    reason = request.read(Reason, optional=True).reason
    made = await sending.redact(
        requester.user_id,
        room_id,
        event_id,
        {} if reason is None else {"reason": reason},
        transaction=transaction_of(request, f"redact {room_id} {event_id}"),
        own_only=requester.is_suspended,
        is_admin=requester.is_admin,
    )
    return {"event_id": made}
