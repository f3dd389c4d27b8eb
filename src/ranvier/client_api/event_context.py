"""An event with what surrounds it."""

from ranvier.client_api.room_parameters import filter_of, limit_of, reader_of
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.http.response import Response
from ranvier.protocol.filters import EventFilter
from ranvier.rooms.history import Context, History
from ranvier.rooms.pagination import place_after, place_before
from ranvier.rooms.shaping import Shapes
from ranvier.rooms.state import RoomState
from ranvier.store.events import StoredEvent

DEFAULT_LIMIT = 10
MAX_LIMIT = 100


@endpoint("GET", "/_matrix/client/v3/rooms/{roomId}/context/{eventId}")
async def get_event_context(request: Request, history: History, state: RoomState, shapes: Shapes) -> Answer:
    """An event, the events around it, and the state at the last of them."""
    room_id, event_id = request.parameters["roomId"], request.parameters["eventId"]
    reader, wanted = reader_of(request), filter_of(request)
    limit = min(limit_of(request, wanted.limit_or(DEFAULT_LIMIT)), MAX_LIMIT)
    found = await history.context(reader.user_id, room_id, event_id, limit, wanted)
    older, newer = found.before.events, found.after.events
    event, *around = await shapes.of([found.event, *older, *newer], reader)
    start = found.before.end or place_before((older[-1] if older else found.event).kept)
    end = found.after.end or place_after((newer[-1] if newer else found.event).kept)
    standing = await shapes.plainly(await _state(state, found, wanted))
    return Response(
        200,
        b'{"event":%b,"events_before":[%b],"events_after":[%b],"state":[%b],"start":"%b","end":"%b"}'
        % (
            event,
            b",".join(around[: len(older)]),
            b",".join(around[len(older) :]),
            b",".join(standing),
            str(start).encode(),
            str(end).encode(),
        ),
    )


async def _state(state: RoomState, found: Context, wanted: EventFilter) -> list[StoredEvent]:
    last = (found.after.events[-1] if found.after.events else found.event).kept
    if not wanted.lazy_load_members:
        return list((await state.all_after(last)).values())
    shown = [*found.before.events, found.event, *found.after.events]
    senders = [seen.kept.event.sender for seen in shown]
    rest = await state.all_after(last, members=False)
    return [*rest.values(), *await state.members_for(found.access, last, senders)]
