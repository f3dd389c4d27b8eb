"""Read markers (read_markers.yaml)."""

from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.protocol.refusal import bad_json
from ranvier.rooms.read_markers import FULLY_READ, ReadMarkers
from ranvier.rooms.receipts import PRIVATE, READ


@endpoint("POST", "/_matrix/client/v3/rooms/{roomId}/read_markers", rate_limit="other")
async def set_read_marker(request: Request, markers: ReadMarkers) -> Answer:
    """Set the fully-read marker, and send receipts on the way."""
    body = request.json()
    marks = {kind: body[kind] for kind in (FULLY_READ, READ, PRIVATE) if body.get(kind) is not None}
    for kind, event_id in marks.items():
        if not isinstance(event_id, str):
            raise bad_json(f"'{kind}' must be an event id.")
    await markers.mark(request.requester.user_id, request.parameters["roomId"], marks, None)
    return {}
