"""The state resolution algorithm of room version 1 (room version 1, "State resolution")."""

from collections.abc import Collection, Sequence
from hashlib import sha1

from ranvier.protocol import auth_rules
from ranvier.protocol.auth_rules import auth_types
from ranvier.protocol.events import Event
from ranvier.protocol.state_resolution_steps import (
    Key,
    NeedEvents,
    NeedState,
    Resolution,
    Resolved,
    StateMap,
)

_POWER_LEVELS: Key = ("m.room.power_levels", "")


def resolution_v1(states: Sequence[StateMap]) -> Resolution:
    """Steps that resolve states, given without what all agree on."""
    candidates: dict[Key, set[str]] = {}
    for each in states:
        for key, event_id in each.items():
            candidates.setdefault(key, set()).add(event_id)
    told = NeedEvents(frozenset(event_id for ids in candidates.values() for event_id in ids))
    yield told
    known = _accepted(told)
    agreed = NeedState(frozenset(_auth_keys(known.values()) - candidates.keys()))
    yield agreed
    authorising = NeedEvents(frozenset(agreed.state.values()))
    yield authorising
    accepted = _accepted(authorising)
    state = {key: accepted[event_id] for key, event_id in agreed.state.items() if event_id in accepted}
    changes: dict[Key, str | None] = dict.fromkeys(candidates)
    conflicting: dict[Key, list[Event]] = {}
    for key, event_ids in candidates.items():
        events = sorted((known[event_id] for event_id in event_ids if event_id in known), key=_order)
        if len(event_ids) == 1:
            # Only where states have different events is there a conflict: what some lack is taken over.
            changes[key] = next(iter(event_ids))
            if events:
                state[key] = events[0]
        elif events:
            conflicting[key] = events
    keys = list(conflicting)
    _resolve(conflicting, state)
    changes.update({key: state[key].event_id for key in keys})
    yield Resolved(changes)


def _accepted(told: NeedEvents) -> dict[str, Event]:
    """COMPAT(synapse, all): the text doesn't speak of rejected events; others resolve as if they were not."""
    return {
        event_id: event
        for event_id, event in told.events.items()
        if event_id in told.event_ids and event_id not in told.rejected
    }


def _auth_keys(events: Collection[Event]) -> set[Key]:
    return {
        key
        for event in events
        for key in auth_types(event.room_version, event.type, event.sender, event.state_key, event.content)
    }


def _order(event: Event) -> tuple[int, int]:
    """Ascending depth, then descending SHA-1 of the ID."""
    digest = sha1(event.event_id.encode(errors="surrogatepass"), usedforsecurity=False).digest()
    return event.depth, -int.from_bytes(digest)


def _resolve(conflicting: dict[Key, list[Event]], state: dict[Key, Event]) -> None:
    """Add the outcome of each conflict to the state: power levels, join rules, memberships, then all else.

    Conflicts of one kind don't see each other's outcome: the text gives no order among them.
    """
    kinds = (
        [key for key in conflicting if key == _POWER_LEVELS],
        [key for key in conflicting if key[0] == "m.room.join_rules"],
        [key for key in conflicting if key[0] == "m.room.member"],
    )
    for keys in kinds:
        state.update({key: _last_allowed_in_turn(conflicting.pop(key), state) for key in keys})
    state.update({key: _deepest_allowed(events, state) for key, events in conflicting.items()})


def _last_allowed_in_turn(events: Sequence[Event], state: dict[Key, Event]) -> Event:
    """The first is taken as it is, each further one if the state with the one before it allows it."""
    last, *later = events
    key = (last.type, last.state_key or "")
    for event in later:
        view = {wanted: state[wanted] for wanted in _auth_keys([event]) if wanted in state}
        view[key] = last
        if auth_rules.check(event, view) is not None:
            break
        last = event
    return last


def _deepest_allowed(events: Sequence[Event], state: dict[Key, Event]) -> Event:
    """The deepest that passes.

    COMPAT(synapse, all): the text doesn't say what becomes of a key for which none does; others take the least deep.
    """
    allowed = (event for event in reversed(events) if auth_rules.check(event, state) is None)
    return next(allowed, events[0])
