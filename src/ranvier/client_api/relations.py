"""Events that relate to one."""

from ranvier.client_api.room_parameters import is_backwards, limit_of, place_of, reader_of
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.http.response import Response
from ranvier.rooms.history import History
from ranvier.rooms.related import Related
from ranvier.rooms.relations import MAX_HOPS
from ranvier.rooms.shaping import Shapes

DEFAULT_LIMIT = 5
_PATH = "/_matrix/client/v1/rooms/{roomId}/relations/{eventId}"


@endpoint("GET", _PATH)
async def get_relating_events(request: Request, related: Related, history: History, shapes: Shapes) -> Answer:
    """All children of an event."""
    return await _page(request, related, history, shapes)


@endpoint("GET", _PATH + "/{relType}")
async def get_relating_events_with_rel_type(
    request: Request, related: Related, history: History, shapes: Shapes
) -> Answer:
    """The children of an event by one kind of relation."""
    return await _page(request, related, history, shapes)


@endpoint("GET", _PATH + "/{relType}/{eventType}")
async def get_relating_events_with_rel_type_and_event_type(
    request: Request, related: Related, history: History, shapes: Shapes
) -> Answer:
    """The children of an event by one kind of relation, of one type."""
    return await _page(request, related, history, shapes)


async def _page(request: Request, related: Related, history: History, shapes: Shapes) -> Answer:
    room_id, reader = request.parameters["roomId"], reader_of(request)
    recurse = request.query_bool("recurse")
    page = await related.page(
        reader.user_id,
        room_id,
        request.parameters["eventId"],
        rel_type=request.parameters.get("relType"),
        kind=request.parameters.get("eventType"),
        start=await place_of(request, "from", room_id, history),
        to=await place_of(request, "to", room_id, history),
        backwards=is_backwards(request, "b"),
        limit=max(limit_of(request, DEFAULT_LIMIT), 1),
        recurse=recurse,
    )
    parts = [b'{"chunk":[%b]' % b",".join(await shapes.of(page.events, reader))]
    if page.next is not None:
        parts.append(b',"next_batch":"%b"' % str(page.next).encode())
    if request.query("from"):
        parts.append(b',"prev_batch":"%b"' % str(page.start).encode())
    if recurse:
        parts.append(b',"recursion_depth":%d' % MAX_HOPS)
    return Response(200, b"".join([*parts, b"}"]))
