"""The exactly-once checker finds every kind of fault."""

import pytest
from bench.arrivals import Arrivals, WrongCount, expect_equal
from hypothesis import given
from hypothesis import strategies as st


def _arrivals(sent: list[tuple[str, str]], arrived: list[tuple[str, str]]) -> Arrivals:
    arrivals = Arrivals("messages")
    for identifier, content in sent:
        arrivals.send(identifier, content)
    for identifier, content in arrived:
        arrivals.arrive(identifier, content)
    return arrivals


SENT = [("$a", "one"), ("$b", "two"), ("$c", "three")]


def test_what_arrives_once_each_in_any_order_passes() -> None:
    assert _arrivals(SENT, SENT[::-1]).check() == "3 messages found exactly once"


def test_a_lost_message_is_found() -> None:
    with pytest.raises(WrongCount, match=r"\$b is missing"):
        _arrivals(SENT, [SENT[0], SENT[2]]).check()


def test_a_doubled_message_is_found() -> None:
    with pytest.raises(WrongCount, match=r"\$c arrived 2 times"):
        _arrivals(SENT, [*SENT, SENT[2]]).check()


def test_a_message_that_nobody_sent_is_found() -> None:
    with pytest.raises(WrongCount, match=r"\$x arrived but was never answered for"):
        _arrivals(SENT, [*SENT, ("$x", "one")]).check()


def test_a_changed_message_is_found() -> None:
    with pytest.raises(WrongCount, match="arrived as 'won', but was sent as 'one'"):
        _arrivals(SENT, [("$a", "won"), *SENT[1:]]).check()


def test_one_id_for_two_sendings_is_found() -> None:
    with pytest.raises(WrongCount, match="two different sendings"):
        _arrivals([*SENT, ("$a", "one")], SENT).check()


@given(st.lists(st.integers(0, 5)), st.lists(st.integers(0, 5)))
def test_the_check_passes_exactly_when_both_lists_hold_the_same_without_repetition(
    sent: list[int], arrived: list[int]
) -> None:
    arrivals = _arrivals([(str(n), "") for n in sent], [(str(n), "") for n in arrived])
    if len(set(sent)) == len(sent) and sorted(sent) == sorted(arrived):
        arrivals.check()
    else:
        with pytest.raises(WrongCount):
            arrivals.check()


def test_an_unequal_count_says_what_was_found_and_expected() -> None:
    with pytest.raises(WrongCount, match="members: found 3, expected 4"):
        expect_equal("members", 3, 4)
    expect_equal("members", 4, 4)
