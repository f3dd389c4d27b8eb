"""Message events."""

from ranvier.client_api.delayed_events import schedule
from ranvier.client_api.room_parameters import transaction_of
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.limits import Limits
from ranvier.http.request import Request
from ranvier.rooms.delayed_events import DelayedEvents
from ranvier.rooms.sending import REDACTION, Sending


@endpoint("PUT", "/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}")
async def send_message(request: Request, sending: Sending, delayed: DelayedEvents, limits: Limits) -> Answer:
    """Send an event; a retry of the same transaction id gets the first answer."""
    requester = request.requester
    room_id, kind = request.parameters["roomId"], request.parameters["eventType"]
    if kind != REDACTION:
        requester.check_not_suspended()
    later = await schedule(request, delayed, room_id, kind, None)
    if later is not None:
        return later
    limits.count("message", requester.user_id)
    transaction = transaction_of(request, f"send {room_id} {kind}")
    event_id = await sending.send(
        requester.user_id,
        room_id,
        kind,
        request.json(),
        transaction=transaction,
        own_only=requester.is_suspended,
        is_admin=requester.is_admin,
    )
    return {"event_id": event_id}
