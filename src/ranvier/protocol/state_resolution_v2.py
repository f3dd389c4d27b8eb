"""The state resolution algorithms of room versions 2 and 12 (there "State resolution"), often called v2 and v2.1.

Version 12 differs in two things: paths between conflicted events are conflicted too, and the iterative auth checks
begin with an empty state, not with what all states agree on.
"""

from collections.abc import Iterable, Iterator, Sequence
from heapq import heapify, heappop, heappush
from sys import maxsize
from typing import Final

from ranvier.protocol import auth_rules
from ranvier.protocol.auth_rules import auth_types
from ranvier.protocol.events import Event
from ranvier.protocol.power_levels import power_levels_of
from ranvier.protocol.room_versions import RoomVersion, StateResolution
from ranvier.protocol.state_resolution_steps import (
    Key,
    NeedAuthDifference,
    NeedConflictedSubgraph,
    NeedEvents,
    NeedState,
    Resolution,
    Resolved,
    StateMap,
    Step,
)

_CREATE: Final[Key] = ("m.room.create", "")
_POWER_LEVELS: Final[Key] = ("m.room.power_levels", "")
_OFF_MAINLINE: Final = maxsize
"""Stands for an infinite mainline position."""


def resolution_v2(version: RoomVersion, states: Sequence[StateMap]) -> Resolution:
    """Steps that resolve states, given without what all agree on."""
    return _Resolving(version, states).steps()


class _Resolving:
    """One resolution: what it was told, and the state that it has come to."""

    def __init__(self, version: RoomVersion, states: Sequence[StateMap]) -> None:
        self._states = states
        self._keys = {key for state in states for key in state}
        self._since_v12 = version.state_resolution is StateResolution.V2_1
        self._create_is_auth_event = version.create_is_auth_event
        self._events: dict[str, Event] = {}
        self._absent: set[str] = set()
        self._rejected: set[str] = set()
        self._create: Event | None = None
        # The state that events are checked against: what passed, and before version 12 what all states agree on.
        self._passed: dict[Key, Event] = {}
        self._agreed: dict[Key, Event] = {}
        # Mainline positions: of power levels events, and of others by the first of these that they lead to.
        self._positions: dict[str, int] = {}
        self._event_positions: dict[str, int] = {}
        self._mainline_end: Event | None = None

    def steps(self) -> Iterator[Step]:
        """All steps to the outcome."""
        conflicted = {event_id for state in self._states for event_id in state.values()}
        difference = NeedAuthDifference(tuple(frozenset(state.values()) for state in self._states))
        yield difference
        full = conflicted.union(difference.event_ids)
        if self._since_v12:
            subgraph = NeedConflictedSubgraph(frozenset(conflicted))
            yield subgraph
            full |= subgraph.event_ids
        yield from self._learn(full)
        events = self._state_events(full)
        yield from self._learn({auth_id for event in events.values() for auth_id in event.auth_events})
        yield from self._learn_create(events.values())
        agreed: StateMap = {}
        if not self._since_v12:
            wanted = NeedState(frozenset(self._needed_keys(events.values()) - self._keys))
            yield wanted
            agreed = wanted.state
            yield from self._learn(agreed.values())
            self._agreed = {key: self._events[id_] for key, id_ in agreed.items() if id_ in self._events}
        power = self._with_auth_chains(events)
        self._apply(self._power_order(power))
        rest = [event for event_id, event in events.items() if event_id not in power]
        yield from self._place_on_mainline(rest)
        self._apply(sorted(rest, key=self._mainline_order))
        if self._since_v12:
            wanted = NeedState(frozenset(self._passed.keys() - self._keys))
            yield wanted
            agreed = wanted.state
        yield Resolved(self._outcome(agreed))

    def _outcome(self, agreed: StateMap) -> dict[Key, str | None]:
        changes: dict[Key, str | None] = dict.fromkeys(self._keys)
        for key, event in self._passed.items():
            if key not in agreed:
                changes[key] = event.event_id
        return changes

    def _learn(self, event_ids: Iterable[str]) -> Iterator[Step]:
        """Ask for those that aren't known."""
        unknown = frozenset(id_ for id_ in event_ids if id_ not in self._events and id_ not in self._absent)
        if unknown:
            told = NeedEvents(unknown)
            yield told
            self._events.update(told.events)
            self._rejected.update(told.rejected)
            self._absent.update(unknown - told.events.keys())

    def _learn_create(self, events: Iterable[Event]) -> Iterator[Step]:
        """The create event, which nothing cites where the room's ID names it."""
        if self._create_is_auth_event:
            for event in self._events.values():
                if event.type == "m.room.create" and event.state_key == "":
                    self._create = event
            return
        for event in events:
            create_id = "$" + event.room_id[1:]
            yield from self._learn([create_id])
            self._create = self._events.get(create_id)
            return

    def _state_events(self, event_ids: Iterable[str]) -> dict[str, Event]:
        return {
            event_id: event
            for event_id in event_ids
            if (event := self._events.get(event_id)) is not None and event.state_key is not None
        }

    def _needed_keys(self, events: Iterable[Event]) -> set[Key]:
        """What is needed to check the events and to decide on their own keys."""
        keys = {_POWER_LEVELS, _CREATE}
        for event in events:
            keys.add(_key_of(event))
            keys.update(_auth_types(event))
        return keys

    def _with_auth_chains(self, events: dict[str, Event]) -> set[str]:
        """Step 1: the power events, and those in their auth chains.

        COMPAT(synapse, conduit, all): auth chains are followed only within the full conflicted set, where
        the text would also go through events that are not in it. All servers of a room have to do the same.
        """
        picked = {event_id for event_id, event in events.items() if _is_power_event(event)}
        waiting = list(picked)
        while waiting:
            for auth_id in events[waiting.pop()].auth_events:
                if auth_id in events and auth_id not in picked:
                    picked.add(auth_id)
                    waiting.append(auth_id)
        return picked

    def _power_order(self, event_ids: set[str]) -> list[Event]:
        """Reverse topological power ordering, by Kahn's algorithm."""
        citing: dict[str, list[str]] = {}
        waits_for: dict[str, int] = {}
        for event_id in event_ids:
            cited = {auth_id for auth_id in self._events[event_id].auth_events if auth_id in event_ids}
            waits_for[event_id] = len(cited)
            for auth_id in cited:
                citing.setdefault(auth_id, []).append(event_id)
        ready = [self._power_rank(event_id) for event_id, count in waits_for.items() if not count]
        heapify(ready)
        ordered = []
        while ready:
            event_id = heappop(ready)[2]
            ordered.append(self._events[event_id])
            for later in citing.get(event_id, ()):
                waits_for[later] -= 1
                if not waits_for[later]:
                    heappush(ready, self._power_rank(later))
        return ordered

    def _power_rank(self, event_id: str) -> tuple[int, int, str]:
        event = self._events[event_id]
        create = self._create
        if create is None:
            return 0, event.origin_server_ts, event_id
        power_levels = self._power_levels_before(event)
        power = power_levels_of(create, power_levels).of_user(event.sender)
        return -power, event.origin_server_ts, event_id

    def _power_levels_before(self, event: Event) -> Event | None:
        """The power levels event among its auth events."""
        for auth_id in event.auth_events:
            auth_event = self._events.get(auth_id)
            if (
                auth_event is not None
                and auth_event.type == "m.room.power_levels"
                and auth_event.state_key == ""
            ):
                return auth_event
        return None

    def _place_on_mainline(self, events: Iterable[Event]) -> Iterator[Step]:
        """Find the events' mainline positions."""
        self._mainline_end = self._passed.get(_POWER_LEVELS) or self._agreed.get(_POWER_LEVELS)
        for event in events:
            # Power levels events off the mainline, on the way to it.
            way = []
            current = self._power_levels_before(event)
            while current is not None and current.event_id not in self._positions:
                yield from self._extend_mainline(current.event_id)
                if current.event_id in self._positions:
                    break
                way.append(current.event_id)
                # Until it is known; and if somebody made these events cite each other in a circle, for good.
                self._positions[current.event_id] = _OFF_MAINLINE
                yield from self._learn(current.auth_events)
                current = self._power_levels_before(current)
            position = _OFF_MAINLINE if current is None else self._positions[current.event_id]
            self._positions.update(dict.fromkeys(way, position))
            self._event_positions[event.event_id] = position

    def _extend_mainline(self, event_id: str) -> Iterator[Step]:
        """Walk the mainline until it comes to this event, or ends."""
        while self._mainline_end is not None and event_id not in self._positions:
            current = self._mainline_end
            self._positions[current.event_id] = len(self._positions)
            yield from self._learn(current.auth_events)
            earlier = self._power_levels_before(current)
            circular = earlier is not None and earlier.event_id in self._positions
            self._mainline_end = None if circular else earlier

    def _mainline_order(self, event: Event) -> tuple[int, int, str]:
        return -self._event_positions[event.event_id], event.origin_server_ts, event.event_id

    def _apply(self, events: Iterable[Event]) -> None:
        """The iterative auth checks."""
        for event in events:
            if auth_rules.check(event, self._state_before(event)) is None:
                self._passed[_key_of(event)] = event

    def _state_before(self, event: Event) -> dict[Key, Event]:
        """What the event is checked against: the state, completed from the event's own auth events."""
        own: dict[Key, Event] | None = None
        state: dict[Key, Event] = {}
        for key in _auth_types(event):
            found = self._passed.get(key) or self._agreed.get(key)
            if found is None:
                if own is None:
                    own = self._own_auth_events(event)
                found = own.get(key)
            if found is not None:
                state[key] = found
        if not self._create_is_auth_event and self._create is not None:
            state[_CREATE] = self._create
        return state

    def _own_auth_events(self, event: Event) -> dict[Key, Event]:
        return {
            _key_of(auth_event): auth_event
            for auth_id, auth_event in self._state_events(event.auth_events).items()
            if auth_id not in self._rejected
        }


def _key_of(event: Event) -> Key:
    return event.type, event.state_key or ""


def _auth_types(event: Event) -> list[Key]:
    return auth_types(event.room_version, event.type, event.sender, event.state_key, event.content)


def _is_power_event(event: Event) -> bool:
    if event.type in ("m.room.power_levels", "m.room.join_rules"):
        return True
    return (
        event.type == "m.room.member"
        and event.sender != event.state_key
        and event.content.get("membership") in ("leave", "ban")
    )
