"""Who may see an event: Client-Server API, "Room History Visibility"."""

from itertools import product

import pytest
from tests.protocol.sent_events import ALICE, BOB, make_event, make_message

from ranvier.protocol.history_visibility import (
    allows,
    may_see,
    may_server_see,
    may_server_see_event,
    membership_with,
    read_membership,
    read_visibility,
)

VISIBILITIES = ("world_readable", "shared", "invited", "joined")
MEMBERSHIPS = ("join", "invite", "knock", "leave", "ban")


@pytest.mark.parametrize(
    ("visibility", "membership", "since"), list(product(VISIBILITIES, MEMBERSHIPS, (True, False)))
)
def test_a_message_is_seen_as_the_table_says(visibility: str, membership: str, since: bool) -> None:
    seen = {
        "world_readable": set(product(MEMBERSHIPS, (True, False))),
        "shared": {("join", False), *product(MEMBERSHIPS, (True,))},
        "invited": set(product(("join", "invite"), (True, False))),
        "joined": set(product(("join",), (True, False))),
    }[visibility]
    expected = (membership, since) in seen
    assert allows(visibility, membership, joined_since=since) is expected
    assert may_see(make_message("x"), BOB, visibility, membership, joined_since=since) is expected


@pytest.mark.parametrize(
    "content", [None, {}, {"history_visibility": "everyone"}, {"history_visibility": ["joined"]}]
)
def test_a_visibility_that_is_not_understood_is_shared(content: dict[str, object] | None) -> None:
    assert read_visibility(content) == "shared"


def test_who_has_no_membership_has_left() -> None:
    assert read_membership(None) == "leave"
    assert read_membership({"membership": 3}) == "leave"
    assert membership_with(make_message("x"), BOB, None) == "leave"


@pytest.mark.parametrize(
    ("before", "after"),
    [("world_readable", "joined"), ("joined", "world_readable"), ("world_readable", None)],
)
def test_a_change_of_visibility_is_seen_if_either_side_allows(before: str, after: str | None) -> None:
    content = {} if after is None else {"history_visibility": after}
    change = make_event("m.room.history_visibility", content, state_key="")
    assert may_see(change, BOB, before, "leave", joined_since=False)
    assert not may_see(make_message("x"), BOB, "joined", "leave", joined_since=False)


def test_a_change_between_closed_visibilities_stays_closed() -> None:
    change = make_event("m.room.history_visibility", {"history_visibility": "invited"}, state_key="")
    assert not may_see(change, BOB, "joined", "leave", joined_since=True)
    assert may_see(change, BOB, "joined", "invite", joined_since=False)


def test_an_event_of_that_type_that_is_no_state_of_the_room_changes_nothing() -> None:
    for state_key in (None, "other"):
        event = make_event(
            "m.room.history_visibility", {"history_visibility": "world_readable"}, state_key=state_key
        )
        assert not may_see(event, BOB, "joined", "leave", joined_since=False)


@pytest.mark.parametrize(
    ("before", "after", "seen"),
    [
        ("leave", "join", True),
        ("invite", "join", True),
        ("join", "leave", True),
        ("join", "ban", True),
        ("leave", "invite", False),
        ("invite", "leave", False),
        ("leave", "ban", False),
    ],
)
def test_ones_own_join_and_leave_are_always_seen(before: str, after: str, seen: bool) -> None:
    member = make_event("m.room.member", {"membership": after}, sender=ALICE, state_key=BOB)
    assert may_see(member, BOB, "joined", before, joined_since=False) is seen
    assert membership_with(member, BOB, before) == after


def test_ones_own_invite_is_seen_where_the_invited_may_see() -> None:
    invite = make_event("m.room.member", {"membership": "invite"}, sender=ALICE, state_key=BOB)
    assert may_see(invite, BOB, "invited", "leave", joined_since=False)
    declined = make_event("m.room.member", {"membership": "leave"}, sender=BOB, state_key=BOB)
    assert may_see(declined, BOB, "invited", "invite", joined_since=False)


def test_the_membership_of_others_shows_nothing() -> None:
    member = make_event("m.room.member", {"membership": "join"}, sender=ALICE, state_key=ALICE)
    assert not may_see(member, BOB, "joined", "leave", joined_since=False)
    assert membership_with(member, BOB, "invite") == "invite"


@pytest.mark.parametrize(
    ("visibility", "memberships", "seen"),
    [
        ("world_readable", (), True),
        ("shared", ("leave",), True),
        ("invited", ("leave", "invite"), True),
        ("invited", ("leave",), False),
        ("joined", ("invite",), False),
        ("joined", ("leave", "join"), True),
    ],
)
def test_a_server_sees_what_one_of_its_users_may(
    visibility: str, memberships: tuple[str, ...], seen: bool
) -> None:
    assert may_server_see(visibility, memberships) is seen


HERE, ELSEWHERE = "@anna:here.example", "@eve:elsewhere.example"


def may_server_see_message(visibility: str, *memberships: str) -> bool:
    return may_server_see_event(make_message("x"), "here.example", visibility, memberships)


@pytest.mark.parametrize("visibility", ["world_readable", "shared"])
def test_an_open_history_is_open_to_every_server_in_the_room(visibility: str) -> None:
    assert may_server_see_message(visibility)
    assert may_server_see_message(visibility, "leave", "ban")


@pytest.mark.parametrize(
    ("memberships", "if_invited", "if_joined"),
    [
        ((), False, False),
        (("leave", "ban", "knock"), False, False),
        (("invite",), True, False),
        (("leave", "join"), True, True),
    ],
)
def test_a_closed_history_is_for_servers_with_users_who_were_there(
    memberships: tuple[str, ...], if_invited: bool, if_joined: bool
) -> None:
    assert may_server_see_message("invited", *memberships) is if_invited
    assert may_server_see_message("joined", *memberships) is if_joined


def test_a_server_sees_what_its_own_users_sent() -> None:
    leave = make_event("m.room.member", {"membership": "leave"}, sender=HERE, state_key=HERE)
    assert may_server_see_event(leave, "here.example", "joined", ["invite"])
    assert not may_server_see_event(leave, "third.example", "joined", ["invite"])


def test_a_server_sees_the_events_that_bring_its_users_in_and_out() -> None:
    def seen(membership: str, before: str, visibility: str, state_key: str = HERE) -> bool:
        event = make_event("m.room.member", {"membership": membership}, sender=ELSEWHERE, state_key=state_key)
        return may_server_see_event(event, "here.example", visibility, [before])

    assert seen("invite", "leave", "invited")
    assert not seen("invite", "leave", "joined")
    assert seen("leave", "join", "joined")
    assert seen("ban", "invite", "invited")
    assert not seen("ban", "leave", "invited")
    assert not seen("join", "leave", "joined", state_key=ELSEWHERE)


def test_a_server_sees_a_change_of_visibility_if_it_may_before_or_after() -> None:
    def seen(before: str, after: str) -> bool:
        content = {"history_visibility": after}
        event = make_event("m.room.history_visibility", content, sender=ELSEWHERE, state_key="")
        return may_server_see_event(event, "here.example", before, [])

    assert seen("joined", "shared")
    assert seen("shared", "joined")
    assert not seen("invited", "joined")
