"""Older events into a room's history: they get no position in the log, and change nothing that is now.

Source: Server-Server API, "Backfilling and retrieving missing events".
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ranvier.protocol.events import Event
from ranvier.protocol.power_levels import power_levels_of
from ranvier.protocol.receipt_checks import judge
from ranvier.protocol.redaction_acceptance import takes_effect
from ranvier.protocol.refusal import Refusal
from ranvier.rooms.events import Events
from ranvier.rooms.heads import Heads, Room
from ranvier.rooms.new_rows import NewRows
from ranvier.rooms.outliers import Outliers
from ranvier.rooms.plans import Plans
from ranvier.rooms.resolving import StateAt, state_after
from ranvier.rooms.writing import Branch, Made, Stale, write_made
from ranvier.store.database import Transaction
from ranvier.store.events import Judgement, StoredEvent
from ranvier.store.state import Key, Root
from ranvier.store.writer import Writer

_TRIES: Final = 10


@dataclass(frozen=True, slots=True)
class _Placed:
    """Where an older event is: the state before it, what of that concerns it, and what is missing just before it."""

    before: StateAt
    state: Mapping[Key, Event]
    gaps: Sequence[str]


class Backfilling:
    """Fills gaps of the past."""

    def __init__(
        self,
        writer: Writer,
        heads: Heads,
        events: Events,
        outliers: Outliers,
        plans: Plans,
        rows: NewRows,
    ) -> None:
        self._writer = writer
        self._heads = heads
        self._events = events
        self._outliers = outliers
        self._plans = plans
        self._rows = rows

    async def needs_state(self, room: Room, events: Sequence[Event]) -> list[str]:
        """Those of the events (ids) before which neither we nor these events know the state.

        Their state is to be asked for (`/state_ids`) and given to `backfill`.
        """
        given = {event.event_id: event for event in events}
        named = {event_id for event in events for event_id in event.prev_events}
        known = await self._events.by_ids([*given, *named])
        placed = {event_id for event_id, kept in known.items() if kept.state_line and kept.room == room.nid}
        return [
            event.event_id
            for event in in_order(given)
            if event.event_id not in placed
            and not _begins(event)
            and not all(event_id in placed or event_id in given for event_id in event.prev_events)
        ]

    async def backfill(
        self, room: Room, events: Sequence[Event], states: Mapping[str, Sequence[Event]]
    ) -> dict[str, Judgement]:
        """Put events into the history, whatever their order; answers the judgement of each by id.

        `states` is the whole state before events, by their ids, where that is known from peers alone. An event
        before which no state is known, or one of whose auth events is not there, is not kept, and left out of the
        answer.
        """
        given = {event.event_id: event for event in events if event.room_id == room.room_id}
        found: dict[str, Judgement] = {}
        waiting: list[Made] = []
        for event in in_order(given):
            known = await self._events.by_id(event.event_id)
            if known is not None and (known.state_line or known.room != room.nid):
                found[event.event_id] = known.judgement
                continue
            made = await self._make(room, event, known, states.get(event.event_id), waiting)
            if made is None:
                continue
            found[event.event_id] = made.kept.judgement
            waiting.append(made)
            if made.branch is not None:
                # What comes after it builds on a root that it has only once it is written.
                await self._write(room, waiting)
                waiting = []
            await asyncio.sleep(0)
        await self._write(room, waiting)
        return found

    async def _make(
        self,
        room: Room,
        event: Event,
        known: StoredEvent | None,
        told: Sequence[Event] | None,
        waiting: Sequence[Made],
    ) -> Made | None:
        auth_events = await self._events.by_ids(event.auth_events)
        if len(auth_events) < len(set(event.auth_events)):
            return None
        placed = await self._place(room, event, told, waiting)
        if placed is None:
            return None
        rejected = {e for e, kept in auth_events.items() if kept.judgement is Judgement.REJECTED}
        failure = judge(
            event,
            auth_events={event_id: kept.event for event_id, kept in auth_events.items()},
            rejected=rejected,
            state_before=placed.state,
            current_state=None,
        )
        stands = known is None or known.judgement is not Judgement.REJECTED
        judgement = Judgement.ACCEPTED if failure is None and stands else Judgement.REJECTED
        kept = await self._rows.event(room.nid, event, judgement, placed.before.root, known=known)
        made = Made(kept, None, known=known is not None, gaps=placed.gaps, fills_gap=True)
        own_change = event.is_state and judgement is Judgement.ACCEPTED
        if placed.before.changes or own_change or not kept.state_line:
            line = await self._rows.number("line")
            head = await self._heads.fault_in(room, ())
            made.branch = Branch(placed.before.root, placed.before.changes, line, head.root.line)
        if judgement is Judgement.ACCEPTED:
            await self._redact(room, made, placed)
        return made

    async def _place(
        self, room: Room, event: Event, told: Sequence[Event] | None, waiting: Sequence[Made]
    ) -> _Placed | None:
        """The state before an event, if it can be known."""
        previous = await self._events.by_ids(event.prev_events)
        previous |= {
            made.kept.event.event_id: made.kept
            for made in waiting
            if made.kept.event.event_id in event.prev_events
        }
        absent = [
            event_id
            for event_id in event.prev_events
            if event_id not in previous or not previous[event_id].state_line
        ]
        if _begins(event):
            before = StateAt(Root(0, 0))
        elif not absent:
            before = await self._plans.resolve(room, [state_after(kept) for kept in previous.values()])
        elif told is not None:
            before = await self._told(room, event, told)
        else:
            return None
        return _Placed(before, await self._plans.state_for(room, event, before), absent)

    async def _told(self, room: Room, event: Event, told: Sequence[Event]) -> StateAt:
        """A state as a peer tells it, told as changes of a state that is near."""
        kept = await self._outliers.keep_in(room.nid, room.version, room.room_id, told)
        numbers = {
            (one.type, one.state_key): kept[one.event_id].nid
            for one in told
            if one.state_key is not None
            and one.event_id in kept
            and kept[one.event_id].judgement is not Judgement.REJECTED
        }
        head = await self._heads.fault_in(room, ())
        return await self._plans.told(await self._plans.near(room, head, event.event_id), numbers)

    async def _redact(self, room: Room, made: Made, placed: _Placed) -> None:
        """What it redacts, and what redacts it."""
        event = made.kept.event
        create = placed.state.get(("m.room.create", ""))
        if create is None:
            return
        levels = power_levels_of(create, placed.state.get(("m.room.power_levels", "")))
        if event.redacts is not None:
            target = await self._events.by_id(event.redacts)
            if target is None or target.room != room.nid:
                made.awaits = event.redacts if target is None else None
                made.kept.judgement = Judgement.WITHHELD
            elif takes_effect(event, target.event, levels):
                made.targets = [target]
            else:
                made.kept.judgement = Judgement.WITHHELD
        waiting = await self._events.redactions_awaiting(event.event_id)
        made.redacted_by = [one for one in waiting if takes_effect(one.event, event, levels)]

    async def _write(self, room: Room, made: Sequence[Made]) -> None:
        if not made:
            return

        async def write(transaction: Transaction) -> None:
            await write_made(transaction, made, "")

        for _ in range(_TRIES):
            try:
                await self._writer.run(write)
            except Stale:
                continue
            break
        else:
            raise Refusal("M_UNKNOWN", "The room is too busy; please try again.", status=503)
        for one in made:
            self._events.renew(one.kept)
            for redaction in one.redacted_by:
                self._events.forget(redaction.nid)
            room.has_gaps = room.has_gaps or bool(one.gaps)


def in_order(events: Mapping[str, Event]) -> list[Event]:
    """The events in an order in which each comes after those among them that it builds on."""
    ordered: list[Event] = []
    done: set[str] = set()
    for first in sorted(events.values(), key=lambda event: (event.depth, event.event_id)):
        if first.event_id in done:
            continue
        done.add(first.event_id)
        stack = [(first, iter(_behind(first)))]
        while stack:
            event, rest = stack[-1]
            for event_id in rest:
                if event_id in events and event_id not in done:
                    done.add(event_id)
                    stack.append((events[event_id], iter(_behind(events[event_id]))))
                    break
            else:
                ordered.append(event)
                stack.pop()
    return ordered


def _behind(event: Event) -> Iterable[str]:
    return (*event.prev_events, *event.auth_events)


def _begins(event: Event) -> bool:
    """Whether this is where a room begins: before it there is no state."""
    return event.type == "m.room.create" and event.state_key == "" and not event.prev_events
