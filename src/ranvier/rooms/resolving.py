"""State resolution over the store: the states where branches of a room meet become one.

`protocol.state_resolution` decides; this fetches what it asks for, and only that: states are compared by what changed
since they parted.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ranvier.protocol.state_resolution import (
    NeedAuthDifference,
    NeedConflictedSubgraph,
    NeedEvents,
    NeedState,
    Resolved,
    Step,
    resolution,
)
from ranvier.rooms.auth_index import AuthIndex, Slowly
from ranvier.rooms.events import Events
from ranvier.rooms.heads import Room
from ranvier.store import state as state_store
from ranvier.store.database import Database
from ranvier.store.events import Judgement, StoredEvent
from ranvier.store.state import Key, Root

Values = dict[Key, int | None]
"""Events' numbers by key; None where a state lacks the key."""
_LONG: Final = 60
"""Keys in conflict from which on deciding takes place in a thread."""


@dataclass(frozen=True, slots=True)
class StateAt:
    """A state: that at a root of the store, with changes that are not written (None: the key goes away)."""

    root: Root
    changes: Mapping[Key, int | None] = field(default_factory=dict)


def state_after(kept: StoredEvent) -> StateAt:
    """The state after an event, whose state before it is known."""
    changes = kept.event.is_state and kept.judgement is not Judgement.REJECTED
    return StateAt(Root(kept.state_line, kept.state_version + int(changes)))


class Resolving:
    """Compares and resolves states of a room."""

    def __init__(self, database: Database, events: Events) -> None:
        self._reader = Slowly(database)
        self._events = events

    async def resolve(self, room: Room, states: Sequence[StateAt]) -> StateAt:
        """One state out of several: one of them, or one of them with changes."""
        states = _distinct(states)
        if len(states) == 1:
            return states[0]
        base = states[0].root
        return StateAt(base, await self.moved(room, base, states))

    async def moved(
        self, room: Room, base: Root, states: Sequence[StateAt], unwritten: StoredEvent | None = None
    ) -> Values:
        """How the state that these resolve to differs from the one at `base`.

        `unwritten` is an event that is in some of the states, but not yet in the store.
        """
        states = _distinct(states)
        deltas = [await self._delta(base, state) for state in states]
        keys = {key for delta in deltas for key in delta}
        if not keys:
            return {}
        standing = await self._values(base, keys)
        values = [{key: delta.get(key, standing[key]) for key in keys} for delta in deltas]
        first, *others = values
        conflicted = {key for key in keys if any(other[key] != first[key] for other in others)}
        resolved = {key: first[key] for key in keys - conflicted}
        if conflicted:
            resolved |= await self._resolve(room, base, values, conflicted, resolved, unwritten)
        standing |= await self._values(base, resolved.keys() - standing.keys())
        return {key: nid for key, nid in resolved.items() if nid != standing[key]}

    async def _delta(self, base: Root, state: StateAt) -> Values:
        changed = {} if state.root == base else await state_store.changes_from(self._reader, base, state.root)
        return {**changed, **state.changes}

    async def _values(self, root: Root, keys: Collection[Key]) -> Values:
        ordered = list(keys)
        found = await state_store.values_at(self._reader, [(root, key) for key in ordered])
        return dict(zip(ordered, found, strict=True))

    async def difference(self, root: Root, told: Mapping[Key, int]) -> Values:
        """How a whole state differs from the one at a root."""
        standing = await state_store.at(self._reader, root)
        changed: Values = {key: nid for key, nid in told.items() if standing.get(key) != nid}
        changed |= dict.fromkeys(standing.keys() - told.keys())
        return changed

    async def events_at(self, state: StateAt, keys: Sequence[Key]) -> dict[Key, StoredEvent]:
        """Some keys of a state; those that it lacks are left out."""
        rest = [key for key in keys if key not in state.changes]
        nids: Values = {**(await self._values(state.root, rest))}
        nids |= {key: state.changes[key] for key in keys if key in state.changes}
        events = await self._events.by_nids([nid for nid in nids.values() if nid is not None])
        return {key: events[nid] for key, nid in nids.items() if nid is not None}

    async def _resolve(
        self,
        room: Room,
        base: Root,
        values: Sequence[Values],
        conflicted: Collection[Key],
        agreed: Values,
        unwritten: StoredEvent | None,
    ) -> Values:
        work = _Work(self._reader, self._events, base, agreed, conflicted, unwritten)
        states = []
        for one in values:
            nids = {key: nid for key in conflicted if (nid := one[key]) is not None}
            events = await work.by_nids(nids.values())
            states.append({key: events[nid].event.event_id for key, nid in nids.items()})
        steps = resolution(room.version, states)
        in_thread = len(conflicted) > _LONG
        while True:
            # Deciding among many takes long, and others must get their turn.
            step = await asyncio.to_thread(next, steps) if in_thread else next(steps)
            if isinstance(step, Resolved):
                return await work.numbers(step.changes)
            await work.answer(step)


class _Work:
    """One resolution's questions, and their answers."""

    def __init__(
        self,
        reader: Slowly,
        events: Events,
        base: Root,
        agreed: Values,
        conflicted: Collection[Key],
        unwritten: StoredEvent | None,
    ) -> None:
        self._reader = reader
        self._events = events
        self._base = base
        self._agreed = agreed
        self._conflicted = conflicted
        self._unwritten = unwritten
        self._index = AuthIndex(reader, unwritten.event if unwritten is not None else None)

    async def by_nids(self, nids: Collection[int]) -> dict[int, StoredEvent]:
        """Events by number, the unwritten one among them."""
        own = self._unwritten
        found = await self._events.by_nids([nid for nid in nids if own is None or nid != own.nid])
        if own is not None and own.nid in nids:
            found[own.nid] = own
        return found

    async def _by_ids(self, event_ids: Collection[str]) -> dict[str, StoredEvent]:
        own = self._unwritten
        found = await self._events.by_ids(event_ids)
        if own is not None and own.event.event_id in event_ids:
            found[own.event.event_id] = own
        return found

    async def answer(self, step: Step) -> None:
        """Tell a step what it asks for."""
        if isinstance(step, NeedEvents):
            kept = await self._by_ids(step.event_ids)
            step.events = {event_id: one.event for event_id, one in kept.items()}
            step.rejected = {e for e, one in kept.items() if one.judgement is Judgement.REJECTED}
        elif isinstance(step, NeedState):
            nids = await self._agreed_on(step.keys)
            events = await self.by_nids(nids.values())
            step.state = {key: events[nid].event.event_id for key, nid in nids.items()}
        elif isinstance(step, NeedAuthDifference):
            step.event_ids = await self._index.difference(step.states, self._agreed_on)
        elif isinstance(step, NeedConflictedSubgraph):
            step.event_ids = await self._index.subgraph(step.conflicted)

    async def _agreed_on(self, keys: Collection[Key]) -> dict[Key, int]:
        """What all states have for keys on which they do not differ."""
        keys = [key for key in keys if key not in self._conflicted]
        unknown = [key for key in keys if key not in self._agreed]
        found = await state_store.values_at(self._reader, [(self._base, key) for key in unknown])
        values = dict(zip(unknown, found, strict=True))
        values |= {key: self._agreed[key] for key in keys if key in self._agreed}
        return {key: nid for key, nid in values.items() if nid is not None}

    async def numbers(self, changes: Mapping[Key, str | None]) -> Values:
        """The outcome, by numbers."""
        kept = await self._by_ids({event_id for event_id in changes.values() if event_id is not None})
        return {
            key: kept[event_id].nid if event_id is not None else None for key, event_id in changes.items()
        }


def _distinct(states: Sequence[StateAt]) -> list[StateAt]:
    found: list[StateAt] = []
    for state in states:
        if state not in found:
            found.append(state)
    return found
