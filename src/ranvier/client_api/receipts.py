"""Read receipts (receipts.yaml)."""

from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.protocol.refusal import invalid_param
from ranvier.rooms.read_markers import FULLY_READ, ReadMarkers
from ranvier.rooms.receipts import PRIVATE, READ


@endpoint("POST", "/_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}", rate_limit="other")
async def post_receipt(request: Request, markers: ReadMarkers) -> Answer:
    """Say up to which event one has read."""
    kind = request.parameters["receiptType"]
    if kind not in (READ, PRIVATE, FULLY_READ):
        raise invalid_param(f"'{kind}' is no type of receipt: use {READ}, {PRIVATE} or {FULLY_READ}.")
    thread = request.json_or_empty().get("thread_id")
    if thread is not None and (not isinstance(thread, str) or not thread):
        raise invalid_param("'thread_id' must be 'main' or the event id of a thread's root.")
    if thread is not None and kind == FULLY_READ:
        raise invalid_param(f"'thread_id' has no meaning for {FULLY_READ}.")
    await markers.mark(
        request.requester.user_id, request.parameters["roomId"], {kind: request.parameters["eventId"]}, thread
    )
    return {}
