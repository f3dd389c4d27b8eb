"""The history of rooms, in pages."""

from ranvier.client_api.room_parameters import filter_of, is_backwards, limit_of, place_of, reader_of
from ranvier.federation.earlier import EarlierHistory
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.http.response import Response
from ranvier.protocol.filters import EventFilter
from ranvier.rooms.history import History, Page
from ranvier.rooms.shaping import Shapes
from ranvier.rooms.state import RoomState
from ranvier.store.events import StoredEvent

DEFAULT_LIMIT = 10


@endpoint("GET", "/_matrix/client/v3/rooms/{roomId}/messages")
async def get_room_events(
    request: Request, history: History, earlier: EarlierHistory, state: RoomState, shapes: Shapes
) -> Answer:
    """Events from a place of the history on, towards the past or the present."""
    room_id, reader = request.parameters["roomId"], reader_of(request)
    await history.check_access(reader.user_id, room_id)
    backwards, wanted = is_backwards(request), filter_of(request)
    limit = limit_of(request, wanted.limit_or(DEFAULT_LIMIT))
    page = await earlier.page(
        reader.user_id,
        room_id,
        start=await place_of(request, "from", room_id, history),
        to=await place_of(request, "to", room_id, history),
        backwards=backwards,
        limit=limit,
        wanted=wanted,
    )
    parts = [b'{"chunk":[%b]' % b",".join(await shapes.of(page.events, reader))]
    parts.append(b',"start":"%b"' % (request.query("from") or str(page.start)).encode())
    if page.end is not None:
        parts.append(b',"end":"%b"' % str(page.end).encode())
    members = await _members(state, page, wanted)
    if members:
        parts.append(b',"state":[%b]' % b",".join(await shapes.plainly(members)))
    return Response(200, b"".join([*parts, b"}"]))


async def _members(state: RoomState, page: Page, wanted: EventFilter) -> list[StoredEvent]:
    if not wanted.lazy_load_members or not page.events:
        return []
    senders = [seen.kept.event.sender for seen in page.events]
    return await state.members_for(page.access, page.events[0].kept, senders)
