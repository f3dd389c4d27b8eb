"""State resolution of all room versions, held beside the specification's text as it stands."""

import os
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.protocol import naive_state_resolution as naive
from tests.protocol.resolving import Index, resolve
from tests.protocol.room_histories import History
from tests.protocol.room_script import ALL_VERSIONS

from ranvier.protocol.room_versions import ROOM_VERSIONS
from ranvier.protocol.state_resolution import (
    NeedAuthDifference,
    NeedConflictedSubgraph,
    NeedEvents,
    NeedState,
    Resolved,
    StateMap,
    conflicts,
    resolution,
    without_agreement,
)

EXAMPLES = int(os.environ.get("RANVIER_TEST_HISTORIES", "60"))
KEYS = st.tuples(st.sampled_from(["m.room.member", "m.room.name"]), st.sampled_from(["", "@a:b", "@c:d"]))
STATES = st.dictionaries(KEYS, st.sampled_from(["$1", "$2", "$3"]), max_size=5)
SEEDS = st.integers(0, 2**32)


def grown(seed: int, version: str, events: int) -> History:
    history = History(random.Random(seed), version)
    history.grow(events)
    return history


@pytest.mark.parametrize("version", ALL_VERSIONS)
@settings(max_examples=EXAMPLES // 6, deadline=None)
@given(seed=SEEDS, events=st.integers(3, 45), number=st.integers(2, 5))
def test_states_resolve_as_the_text_says_in_whatever_order(
    version: str, seed: int, events: int, number: int
) -> None:
    history = grown(seed, version, events)
    if seed % 2:
        history.reject_some()
    states = history.some_states(number)
    resolved = resolve(history.version, states, history.events, history.index, history.rejected)
    assert resolved == naive.resolve(history.version, states, history.events, history.rejected)
    shuffled = history.chance.sample(states, len(states))
    assert resolved == resolve(history.version, shuffled, history.events, history.index, history.rejected)
    doubled = [*states, history.chance.choice(states)]
    assert resolved == resolve(history.version, doubled, history.events, history.index, history.rejected)


@pytest.mark.parametrize("version", ALL_VERSIONS)
@settings(max_examples=EXAMPLES // 6, deadline=None)
@given(seed=SEEDS, branches=st.integers(2, 8))
def test_a_room_ends_in_the_same_state_on_every_order_of_arrival(
    version: str, seed: int, branches: int
) -> None:
    chance = random.Random(seed)
    history = History(chance, version)
    history.grow(chance.randrange(4, 20))
    tips = chance.sample(list(history.events), min(branches, len(history.events)))
    for number in range(len(tips)):
        for _ in range(chance.randrange(1, 5)):
            event = history.send_by_chance([tips[number]])
            if event is not None:
                tips[number] = event.event_id
        if chance.random() < 0.3:
            event = history.send_by_chance(chance.sample(tips, min(2, len(tips))))
            tips[number] = event.event_id if event is not None else tips[number]
    ours = history.before(tips)
    for _ in range(2):
        assert arrived(history, chance, tips) == ours


def arrived(history: History, chance: random.Random, tips: list[str]) -> StateMap:
    """The state at the tips, as a server has it to which the events came in some order that their graph allows."""
    index = Index(batches=False)
    after: dict[str, StateMap] = {}
    waiting = list(history.events.values())

    def before(prev_events: list[str]) -> StateMap:
        chance.shuffle(prev_events)
        states = [after[event_id] for event_id in prev_events]
        return resolve(history.version, states, history.events, index, history.rejected)

    while waiting:
        ready = [
            event
            for event in waiting
            if after.keys() >= set(event.prev_events) and after.keys() >= set(event.auth_events)
        ]
        event = chance.choice(ready)
        waiting.remove(event)
        state = before(list(event.prev_events))
        assert state == history.before(event.prev_events)
        index.add(event)
        after[event.event_id] = state
        if event.state_key is not None and (not state or history.allowed(event, list(state.values()))):
            after[event.event_id] = {**state, (event.type, event.state_key): event.event_id}
    return before(list(tips))


@given(STATES, st.integers(1, 4), st.sampled_from(ALL_VERSIONS))
def test_states_that_agree_are_resolved_without_a_question(
    state: dict[tuple[str, str], str], copies: int, version: str
) -> None:
    states = [dict(state) for _ in range(copies)]
    assert conflicts(states) == frozenset()
    assert list(resolution(ROOM_VERSIONS[version], states)) == [Resolved({})]


@given(st.lists(STATES, max_size=4), st.randoms(use_true_random=False))
def test_keys_conflict_where_states_differ_or_lack_them_in_whatever_order(
    states: list[dict[tuple[str, str], str]], chance: random.Random
) -> None:
    every = {key for state in states for key in state}
    agreed = {key for key in every if len({state.get(key) for state in states}) == 1}
    assert conflicts(states) == every - agreed
    assert conflicts(chance.sample(states, len(states))) == every - agreed
    for state, cut in zip(states, without_agreement(states), strict=True):
        assert cut == {key: event_id for key, event_id in state.items() if key not in agreed}


@settings(max_examples=EXAMPLES, deadline=None)
@given(SEEDS, st.sampled_from(ALL_VERSIONS))
def test_events_that_nobody_has_are_as_if_they_were_not(seed: int, version: str) -> None:
    history = grown(seed, version, 15)
    states = history.some_states(2)
    missing = set(history.chance.sample(list(history.events), 4))
    for step in resolution(history.version, without_agreement(states)):
        match step:
            case NeedEvents():
                step.events = {id_: history.events[id_] for id_ in step.event_ids if id_ not in missing}
            case NeedState():
                step.state = {key: states[0][key] for key in step.keys if key in states[0]}
            case NeedAuthDifference():
                step.event_ids = frozenset(missing | set(list(history.events)[:9]))
            case NeedConflictedSubgraph():
                step.event_ids = step.conflicted
            case Resolved():
                for key, event_id in step.changes.items():
                    # In version 1 a key on which nobody says anything else is no conflict.
                    named = {state[key] for state in states if key in state}
                    alone = history.version.identifier == "1" and len(named) == 1
                    assert alone or event_id not in missing
                assert step.changes.keys() >= conflicts(states)
                return
    pytest.fail("There was no outcome.")
