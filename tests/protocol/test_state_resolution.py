"""State resolution where there is nothing to resolve."""

import random

from hypothesis import given
from hypothesis import strategies as st

from ranvier.protocol.state_resolution import conflicts, settle

KEYS = st.tuples(st.sampled_from(["m.room.member", "m.room.name"]), st.sampled_from(["", "@a:b", "@c:d"]))
STATES = st.dictionaries(KEYS, st.sampled_from(["$1", "$2", "$3"]), max_size=5)


@given(STATES, st.integers(1, 4))
def test_states_that_agree_are_their_own_outcome(state: dict[tuple[str, str], str], copies: int) -> None:
    states = [dict(state) for _ in range(copies)]
    assert settle(states) == state
    assert conflicts(states) == frozenset()


@given(st.lists(STATES, max_size=4), st.randoms(use_true_random=False))
def test_states_settle_exactly_when_nothing_conflicts_in_whatever_order(
    states: list[dict[tuple[str, str], str]], chance: random.Random
) -> None:
    shuffled = chance.sample(states, len(states))
    assert (settle(states) is None) is bool(conflicts(states))
    assert settle(states) == settle(shuffled)
    assert conflicts(states) == conflicts(shuffled)


def test_no_state_is_an_empty_room() -> None:
    assert settle([]) == {}


def test_a_key_that_one_state_lacks_conflicts() -> None:
    name, member = ("m.room.name", ""), ("m.room.member", "@a:b")
    assert conflicts([{name: "$1", member: "$2"}, {name: "$1"}]) == {member}
    assert settle([{name: "$1", member: "$2"}, {name: "$1"}]) is None
