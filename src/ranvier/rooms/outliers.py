"""Events that are known by themselves: without their place in the room, and without the state before them.

State that a peer tells of is such events, and so are auth chains. Source: Server-Server API, "PDUs", "Rejection".
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from ranvier.protocol.events import Event
from ranvier.protocol.receipt_checks import check_by_auth_events
from ranvier.protocol.refusal import Refusal
from ranvier.protocol.room_versions import RoomVersion
from ranvier.rooms.events import Events
from ranvier.rooms.new_rows import NewRows
from ranvier.store import auth_chains as auth_chains_store
from ranvier.store import events as store
from ranvier.store import rooms as rooms_store
from ranvier.store.database import Database, Transaction
from ranvier.store.events import Judgement, StoredEvent
from ranvier.store.writer import Writer

_SLICE: Final = 500
"""Events that are written in one transaction: others are waiting for the writer."""
_BREATH: Final = 100
"""Events that are judged without letting others have their turn."""
_TRIES: Final = 20


class Outliers:
    """Keeps events that are authorised by their own auth events alone."""

    def __init__(
        self,
        database: Database,
        writer: Writer,
        events: Events,
        rows: NewRows,
    ) -> None:
        self._database = database
        self._writer = writer
        self._events = events
        self._rows = rows

    async def keep(self, version: RoomVersion, room_id: str, events: Sequence[Event]) -> dict[str, Judgement]:
        """Judge and keep the events, whatever their order; answers the judgement of each by id.

        Known events answer what stands. An event is rejected if its auth events forbid it or were rejected; one
        whose auth events are neither known nor among these is not kept, and left out of the answer. The room must be
        known here.
        """
        row = await rooms_store.by_id(self._database, room_id)
        if row is None:
            raise LookupError(f"outliers of the room {room_id}, which is not in the store")
        kept = await self.keep_in(row.nid, version, room_id, events)
        return {event_id: one.judgement for event_id, one in kept.items()}

    async def keep_in(
        self, room: int, version: RoomVersion, room_id: str, events: Sequence[Event]
    ) -> dict[str, StoredEvent]:
        """The same for a room by its number; answers the events by id."""
        given = {
            event.event_id: event
            for event in events
            if event.room_id == room_id and event.room_version is version
        }
        named = _named(given.values())
        if not version.create_is_auth_event:
            named.add(create_id(room_id))
        found = await self._events.by_ids([*given, *named])
        kept = {event_id: one for event_id, one in found.items() if one.room == room}
        ordered = await asyncio.to_thread(in_order, given) if len(given) > _BREATH else in_order(given)
        new = [event for event in ordered if event.event_id not in kept]
        made: list[StoredEvent] = []
        for place, event in enumerate(new):
            if place % _BREATH == _BREATH - 1:
                await asyncio.sleep(0)
            judgement = _judge(event, kept)
            if judgement is None:
                continue
            one = await self._rows.event(room, event, judgement)
            kept[event.event_id] = one
            made.append(one)
        for start in range(0, len(made), _SLICE):
            await self._write(made[start : start + _SLICE], kept)
        return {event_id: kept[event_id] for event_id in given if event_id in kept}

    async def _write(self, made: Sequence[StoredEvent], kept: dict[str, StoredEvent]) -> None:
        """Write one slice; what others wrote meanwhile takes the place of what was made here."""
        for _ in range(_TRIES):
            known = await self._events.by_ids([one.event.event_id for one in made])
            kept.update({event_id: one for event_id, one in known.items() if one.room == made[0].room})
            left = [one for one in made if one.event.event_id not in known]

            async def write(transaction: Transaction, left: Sequence[StoredEvent] = left) -> None:
                if await store.insert(transaction, left) < len(left):
                    raise _Overtaken
                states = [one for one in left if one.event.is_state]
                if not await auth_chains_store.insert(transaction, states):
                    raise _Overtaken

            try:
                await self._writer.run(write)
            except _Overtaken:
                continue
            for one in left:
                self._events.keep(one)
            return
        raise Refusal("M_UNKNOWN", "The room is too busy; please try again.", status=503)


class _Overtaken(Exception):
    """Another wrote one of the events first."""


def create_id(room_id: str) -> str:
    """The id of the create event, where the room version makes it the room's."""
    return "$" + room_id[1:]


def _named(events: Iterable[Event]) -> set[str]:
    return {event_id for event in events for event_id in event.auth_events}


def in_order(events: Mapping[str, Event]) -> list[Event]:
    """The events in an order in which each comes after its auth events among them."""
    ordered: list[Event] = []
    done: set[str] = set()
    for first in sorted(events.values(), key=lambda event: (event.depth, event.event_id)):
        stack = [(first, iter(first.auth_events))]
        if first.event_id in done:
            continue
        done.add(first.event_id)
        while stack:
            event, rest = stack[-1]
            for event_id in rest:
                if event_id in events and event_id not in done:
                    done.add(event_id)
                    stack.append((events[event_id], iter(events[event_id].auth_events)))
                    break
            else:
                ordered.append(event)
                stack.pop()
    return ordered


def _judge(event: Event, kept: Mapping[str, StoredEvent]) -> Judgement | None:
    """Whether its auth events allow the event; None if some are not known."""
    auth_events = {event_id: kept[event_id] for event_id in event.auth_events if event_id in kept}
    if len(auth_events) < len(set(event.auth_events)):
        return None
    create = _create_of(event, kept)
    failure = check_by_auth_events(
        event,
        {event_id: one.event for event_id, one in auth_events.items()},
        create,
        {event_id for event_id, one in auth_events.items() if one.judgement is Judgement.REJECTED},
    )
    return Judgement.OUTLIER if failure is None else Judgement.REJECTED


def _create_of(event: Event, kept: Mapping[str, StoredEvent]) -> Event | None:
    if event.room_version.create_is_auth_event:
        return None
    one = kept.get(create_id(event.room_id))
    return one.event if one is not None else None
