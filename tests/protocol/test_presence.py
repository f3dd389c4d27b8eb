"""What devices and activity make of a user, and what a peer may say of its users."""

from hypothesis import given
from hypothesis import strategies as st

from ranvier.protocol.presence import (
    OFFLINE,
    ONLINE,
    STATES,
    UNAVAILABLE,
    PresenceTimes,
    decide,
    read_updates,
    update_json,
)

TIMES = PresenceTimes(idle=300, active=60, gone=30)
DEVICES = st.lists(st.tuples(st.sampled_from(STATES), st.none() | st.integers(0, 1000)), max_size=4)
ORIGIN = "peer.example"


def said(**changes):
    return {"user_id": f"@a:{ORIGIN}", "presence": "online", "last_active_ago": 5, **changes}


def test_the_most_present_device_decides():
    assert decide([(UNAVAILABLE, None), (ONLINE, None), (OFFLINE, None)], 1000, 1000, TIMES).state == ONLINE
    assert decide([(UNAVAILABLE, None), (OFFLINE, None)], 1000, 1000, TIMES).state == UNAVAILABLE
    assert decide([], 1000, 1000, TIMES) == (OFFLINE, False, None)


def test_a_device_holds_up_to_its_time():
    assert decide([(ONLINE, 1001)], 1000, 1000, TIMES) == (ONLINE, True, 1001)
    assert decide([(ONLINE, 1000)], 1000, 1000, TIMES).state == OFFLINE


def test_who_does_nothing_is_no_longer_active_and_then_idle():
    assert decide([(ONLINE, None)], 1000, 1059, TIMES) == (ONLINE, True, 1060)
    assert decide([(ONLINE, None)], 1000, 1060, TIMES) == (ONLINE, False, 1300)
    assert decide([(ONLINE, None)], 1000, 1300, TIMES) == (UNAVAILABLE, False, None)


@given(DEVICES, st.integers(0, 1000), st.integers(0, 1000))
def test_nothing_changes_before_the_time_that_is_told(devices, last_active, now):
    verdict = decide(devices, last_active, now, TIMES)
    if verdict.until is None:
        later = decide(devices, last_active, now + 10_000, TIMES)
        assert later[:2] == verdict[:2]
    else:
        assert verdict.until > now
        assert decide(devices, last_active, verdict.until - 1, TIMES)[:2] == verdict[:2]


def test_a_peer_speaks_only_for_its_own_users():
    content = {
        "push": [said(), said(user_id="@b:elsewhere.example"), said(user_id="nobody"), said(user_id=7)]
    }
    assert [update.user_id for update in read_updates(content, ORIGIN)] == [f"@a:{ORIGIN}"]


def test_what_a_peer_may_not_say_is_left_out():
    for bad in (
        said(presence="dancing"),
        said(last_active_ago="5"),
        said(last_active_ago=True),
        "text",
        None,
    ):
        assert read_updates({"push": [bad]}, ORIGIN) == []
    assert read_updates({"push": "text"}, ORIGIN) == []
    assert len(read_updates({"push": [said()] * 5000}, ORIGIN)) == 1000
    [update] = read_updates({"push": [said(status_msg="x" * 5000, last_active_ago=-3)]}, ORIGIN)
    assert len(update.presence.status_msg) == 1024
    assert update.last_active_ago == 0


@given(st.sampled_from(STATES), st.none() | st.text(min_size=1, max_size=20).filter(lambda t: "\0" not in t))
def test_what_is_told_to_a_peer_is_what_it_reads(state, status):
    [update] = read_updates({"push": [said(presence=state, status_msg=status)]}, ORIGIN)
    assert read_updates(update_json([update]), ORIGIN) == [update]
