"""The index of auth chains answers as a walk through the whole graph would, and reads little of it."""

import os
import random
from unittest import mock

import pytest
from bench.protocol.rooms import ADMIN, Room, found, ids, member
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.protocol import naive_state_resolution as naive
from tests.protocol.resolving import Index
from tests.protocol.room_histories import History
from tests.protocol.room_script import ALL_VERSIONS

from ranvier.protocol import auth_chains
from ranvier.protocol.auth_chains import Place, Placing
from ranvier.protocol.room_versions import ROOM_VERSIONS
from ranvier.protocol.state_resolution import without_agreement

MEMBER = ("m.room.member", member(2))
EXAMPLES = int(os.environ.get("RANVIER_TEST_HISTORIES", "60"))
HISTORIES = st.tuples(st.integers(0, 2**32), st.sampled_from(ALL_VERSIONS), st.integers(3, 60))


def grown(seed: int, version: str, events: int) -> History:
    history = History(random.Random(seed), version, wild=0.3)
    history.grow(events)
    return history


def chain_of(history: History, event_ids: list[str]) -> set[str]:
    return set().union(*(naive.auth_chain(event_id, history.events) for event_id in event_ids))


@settings(max_examples=EXAMPLES, deadline=None)
@given(HISTORIES, st.integers(1, 4))
def test_an_auth_chain_is_all_that_events_lead_to(drawn: tuple[int, str, int], number: int) -> None:
    history = grown(*drawn)
    some = history.chance.sample(list(history.events), number)
    assert history.index.chain(some) == chain_of(history, some)


@settings(max_examples=EXAMPLES, deadline=None)
@given(HISTORIES, st.integers(2, 5))
def test_the_auth_difference_is_what_not_all_whole_states_have_in_their_chains(
    drawn: tuple[int, str, int], number: int
) -> None:
    history = grown(*drawn)
    states = history.some_states(number)
    differing = without_agreement(states)
    agreed = {key: event_id for key, event_id in states[0].items() if key not in differing[0]}
    chains = [chain_of(history, list(state.values())) for state in states]
    expected = set().union(*chains) - set.intersection(*chains)
    cut = [list(state.values()) for state in differing]
    # Links are told in pages; what fits one page here takes hundreds in a great room.
    for page in (auth_chains.PAGE, 3, 1):
        with mock.patch.object(auth_chains, "PAGE", page):
            assert history.index.difference(cut, agreed) == expected


@settings(max_examples=EXAMPLES, deadline=None)
@given(HISTORIES, st.integers(1, 8))
def test_the_conflicted_subgraph_holds_every_path_between_conflicted_events(
    drawn: tuple[int, str, int], number: int
) -> None:
    history = grown(*drawn)
    some = set(history.chance.sample(list(history.events), min(number, len(history.events))))
    assert history.index.subgraph(some) == naive.conflicted_state_subgraph(some, history.events)


def test_what_only_an_agreed_event_of_its_own_key_goes_on_from_is_no_difference() -> None:
    room = Room(ROOM_VERSIONS["11"])
    room.put("m.room.create", "", ADMIN, {"room_version": "11"})
    room.put("m.room.member", ADMIN, ADMIN, {"membership": "join"})
    room.put("m.room.join_rules", "", ADMIN, {"join_rule": "public"})
    first = room.put("m.room.power_levels", "", ADMIN, {"users": {ADMIN: 100}})
    joined, alone = room.copy(), room.copy()
    join = joined.put(*MEMBER, MEMBER[1], {"membership": "join"})
    levels = alone.put("m.room.power_levels", "", ADMIN, {"users": {ADMIN: 100}, "kick": 60})
    joined.state["m.room.power_levels", ""] = levels
    index = Index()
    for event in room.events.values():
        index.add(event)
    difference = index.difference([[join.event_id], []], ids(alone.state))
    # The second state's power levels go on from the first ones, and nothing leads to the join rules.
    assert first.event_id not in difference
    assert difference == {room.state["m.room.join_rules", ""].event_id}


@pytest.mark.parametrize("batches", [True, False])
def test_an_event_brings_only_links_that_say_something_new(batches: bool) -> None:
    room = found("11", 3)
    index = Index(batches=batches)
    for event in room.events.values():
        index.add(event)
    # To the create event, the power levels and the join rules.
    assert [len(index.links[index.places[room.state[MEMBER].event_id].chain])] == [3]
    profile = room.put(*MEMBER, MEMBER[1], {"membership": "join", "displayname": "new"})
    index.add(profile)
    place = index.places[profile.event_id]
    assert place.sequence == 2
    assert len(index.links[place.chain]) == 3
    levels = room.put("m.room.power_levels", "", ADMIN, room.state["m.room.power_levels", ""].content)
    index.add(levels)
    index.add(room.put(*MEMBER, MEMBER[1], {"membership": "join", "displayname": "newer"}))
    assert index.links[place.chain][3:] == [(place.chain, 3, *index.places[levels.event_id])]


def test_an_event_that_has_a_place_keeps_it_and_brings_nothing() -> None:
    placing = Placing(iter(range(1, 9)).__next__)
    place, _ = placing.place("$a", ("x", ""), [])
    assert placing.place("$b", ("x", ""), ["$a", "$a", "$unknown"]) == (Place(place.chain, 2), [])
    assert placing.place("$b", ("x", ""), ["$a"]) == (Place(place.chain, 2), [])
    # A second successor begins a chain of its own.
    fork, links = placing.place("$c", ("x", ""), ["$a"])
    assert fork.sequence == 1
    assert links == [(fork.chain, 1, *place)]
