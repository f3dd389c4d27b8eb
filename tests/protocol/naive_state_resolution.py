"""State resolution as the specification words it, one definition after the other, with no thought of speed.

States are whole, events all at hand. The order of the definitions is the text's (room versions 1, 2 and 12, "State
resolution"). `through_all` follows auth chains in step 1 wherever they lead, as the text has it; without it only within
the full conflicted set, as all servers do. With `admit_rejected` off, rejected events are not taken into the state
and authorise nothing from there, as Synapse does, against the text. The decision on state resolution speaks of both.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from hashlib import sha1
from typing import NamedTuple

from ranvier.protocol import auth_rules
from ranvier.protocol.auth_rules import auth_types
from ranvier.protocol.events import Event
from ranvier.protocol.power_levels import power_levels_of
from ranvier.protocol.room_versions import RoomVersion, StateResolution

Key = tuple[str, str]
Events = Mapping[str, Event]
StateMap = Mapping[Key, str]
POWER_LEVELS = ("m.room.power_levels", "")


def resolve(
    version: RoomVersion,
    states: Sequence[StateMap],
    events: Events,
    rejected: Collection[str] = frozenset(),
    *,
    through_all: bool = False,
    admit_rejected: bool = True,
) -> dict[Key, str]:
    if version.state_resolution is StateResolution.V1:
        return resolve_v1(states, events, rejected)
    reading = Reading(frozenset(rejected), through_all, admit_rejected)
    return resolve_v2(version, states, events, reading)


class Reading(NamedTuple):
    rejected: frozenset[str]
    through_all: bool
    admit_rejected: bool


# Room version 1


def resolve_v1(states: Sequence[StateMap], events: Events, rejected: Collection[str]) -> dict[Key, str]:
    candidates: dict[Key, set[str]] = {}
    for state in states:
        for key, event_id in state.items():
            candidates.setdefault(key, set()).add(event_id)
    unconflicted = {key: min(ids) for key, ids in candidates.items() if len(ids) == 1}
    # The text is silent on rejected events; others resolve as if they were not.
    resolved = {key: events[id_] for key, id_ in unconflicted.items() if id_ not in rejected}
    conflicting = {
        key: [events[id_] for id_ in ids if id_ not in rejected]
        for key, ids in candidates.items()
        if key not in unconflicted and not ids <= set(rejected)
    }

    def of_kind(key: Key) -> int:
        if key == POWER_LEVELS:
            return 0
        return {"m.room.join_rules": 1, "m.room.member": 2}.get(key[0], 3)

    for kind in range(3):
        outcome = {}
        for key, listed in conflicting.items():
            if of_kind(key) == kind:
                outcome[key] = pass_in_turn(sorted(listed, key=depth_order), key, resolved)
        resolved |= outcome
    outcome = {}
    for key, listed in conflicting.items():
        if of_kind(key) == 3:
            deepest_first = sorted(listed, key=depth_order, reverse=True)
            passing = [event for event in deepest_first if auth_rules.check(event, resolved) is None]
            # Where none passes, the text is silent; others take the last.
            outcome[key] = (passing or deepest_first[-1:])[0]
    resolved |= outcome
    return unconflicted | {key: event.event_id for key, event in resolved.items()}


def depth_order(event: Event) -> tuple[int, int]:
    return event.depth, -int(sha1(event.event_id.encode()).hexdigest(), 16)


def pass_in_turn(listed: Sequence[Event], key: Key, resolved: Mapping[Key, Event]) -> Event:
    state = {**resolved, key: listed[0]}
    for event in listed[1:]:
        if auth_rules.check(event, state) is not None:
            break
        state[key] = event
    return state[key]


# Room versions 2 and 12


def resolve_v2(
    version: RoomVersion, states: Sequence[StateMap], events: Events, reading: Reading
) -> dict[Key, str]:
    changed_in_v12 = version.state_resolution is StateResolution.V2_1
    keys = {key for state in states for key in state}
    unconflicted = {
        key: states[0][key]
        for key in keys
        if all(key in state and state[key] == states[0].get(key) for state in states)
    }
    conflicted = {state[key] for state in states for key in state if key not in unconflicted}
    if not conflicted:
        return unconflicted
    chains = [union(auth_chain(id_, events) for id_ in state.values()) for state in states]
    full = conflicted | (union(chains) - set.intersection(*chains))
    if changed_in_v12:
        full |= conflicted_state_subgraph(conflicted, events)
    create = next(event for event in events.values() if event.type == "m.room.create")

    power_events = {id_ for id_ in full if is_power_event(events[id_])}
    picked = set(power_events)
    for id_ in power_events:
        picked |= full & auth_chain(id_, events) if reading.through_all else chain_within(id_, full, events)
    state = {} if changed_in_v12 else {key: events[id_] for key, id_ in unconflicted.items()}
    # Step 2
    iterative_auth_checks(reverse_topological_power_order(picked, events, create), state, events, reading)
    # Steps 3 and 4
    mainline = mainline_of(state.get(POWER_LEVELS), events)
    rest = sorted((events[id_] for id_ in full - picked), key=lambda e: mainline_rank(e, mainline, events))
    iterative_auth_checks(rest, state, events, reading)
    # Step 5
    return {key: event.event_id for key, event in state.items()} | unconflicted


def union(sets: Iterable[set[str]]) -> set[str]:
    return set().union(*sets)


def auth_chain(event_id: str, events: Events) -> set[str]:
    chain: set[str] = set()
    waiting = [*events[event_id].auth_events]
    while waiting:
        cited = waiting.pop()
        if cited not in chain:
            chain.add(cited)
            waiting += events[cited].auth_events
    return chain


def chain_within(event_id: str, full: set[str], events: Events) -> set[str]:
    chain: set[str] = set()
    waiting = [*events[event_id].auth_events]
    while waiting:
        cited = waiting.pop()
        if cited in full and cited not in chain:
            chain.add(cited)
            waiting += events[cited].auth_events
    return chain


def conflicted_state_subgraph(conflicted: set[str], events: Events) -> set[str]:
    chains = {id_: auth_chain(id_, events) for id_ in events}
    subgraph = set(conflicted)
    for start in conflicted:
        for between in chains[start]:
            if chains[between] & conflicted:
                subgraph.add(between)
    return subgraph


def is_power_event(event: Event) -> bool:
    if event.type in ("m.room.power_levels", "m.room.join_rules"):
        return True
    leaves = event.content.get("membership") in ("leave", "ban")
    return event.type == "m.room.member" and leaves and event.sender != event.state_key


def power_levels_before(event: Event, events: Events) -> Event | None:
    cited = [events[id_] for id_ in event.auth_events if events[id_].type == "m.room.power_levels"]
    return cited[0] if cited else None


def reverse_topological_power_order(picked: set[str], events: Events, create: Event) -> list[Event]:
    def rank(id_: str) -> tuple[int, int, str]:
        event = events[id_]
        levels = power_levels_of(create, power_levels_before(event, events))
        return -levels.of_user(event.sender), event.origin_server_ts, id_

    left, order = set(picked), []
    while left:
        free = [id_ for id_ in left if not left & set(events[id_].auth_events)]
        least = min(free, key=rank)
        left.remove(least)
        order.append(events[least])
    return order


def mainline_of(power_levels: Event | None, events: Events) -> list[str]:
    mainline = []
    while power_levels is not None:
        mainline.append(power_levels.event_id)
        power_levels = power_levels_before(power_levels, events)
    return mainline


def mainline_rank(event: Event, mainline: list[str], events: Events) -> tuple[float, int, str]:
    position = float("inf")
    cited = power_levels_before(event, events)
    while cited is not None:
        if cited.event_id in mainline:
            position = mainline.index(cited.event_id)
            break
        cited = power_levels_before(cited, events)
    return -position, event.origin_server_ts, event.event_id


def iterative_auth_checks(
    ordered: Iterable[Event], state: dict[Key, Event], events: Events, reading: Reading
) -> None:
    kept_out: Collection[str] = () if reading.admit_rejected else reading.rejected
    for event in ordered:
        before = {key: passed for key, passed in state.items() if passed.event_id not in kept_out}
        cited = {events[id_] for id_ in event.auth_events if id_ not in reading.rejected}
        if not event.room_version.create_is_auth_event:
            cited.add(events["$" + event.room_id[1:]])
        needed = {
            ("m.room.create", ""),
            *auth_types(event.room_version, event.type, event.sender, event.state_key, event.content),
        }
        for auth_event in cited:
            key = (auth_event.type, auth_event.state_key or "")
            if key in needed and key not in before:
                before[key] = auth_event
        if event.event_id not in kept_out and auth_rules.check(event, before) is None:
            state[event.type, event.state_key or ""] = event
