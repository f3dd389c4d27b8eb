"""The authorisation rule on `m.room.member`, in every room version.

A verdict's number is that of the room version's own list: `numbered` finds it.
"""

from typing import Any

import pytest
from tests.protocol.room_script import (
    ALICE,
    ALL_VERSIONS,
    BOB,
    CAROL,
    IDENTITY_KEY,
    KEY,
    Room,
    rule_of,
    versions_with,
)

from ranvier.protocol import auth_membership, auth_rules, unpadded_base64
from ranvier.protocol.auth_failure import AuthFailure
from ranvier.protocol.events import Event
from ranvier.protocol.room_versions import ROOM_VERSIONS

every_version = pytest.mark.parametrize("version", ALL_VERSIONS)


def numbered(version: str, part: str, rest: str = "") -> str:
    """The number of a part of the rule, as the pages of the room versions print it."""
    section = "4" if version in {"6", "7", "8", "9", "10", "11"} else "5"
    old = {"join": "2", "invite": "3", "leave": "4", "ban": "5", "unknown": "6"}
    seven = {**old, "knock": "6", "unknown": "7"}
    new = {
        "authoriser": "2",
        "join": "3",
        "invite": "4",
        "leave": "5",
        "ban": "6",
        "knock": "7",
        "unknown": "8",
    }
    parts = old if version in {"1", "2", "3", "4", "5", "6"} else seven if version == "7" else new
    return f"{section}.{parts[part]}{rest}"


@pytest.mark.parametrize("membership", [None, 5, ["join"]])
def test_who_never_came_has_left_and_so_has_whose_membership_is_no_text(membership: Any) -> None:
    room = Room("11")
    assert auth_membership.membership_of(room.state, BOB) == "leave"
    room.put("m.room.member", {"membership": membership}, state_key=BOB, sender=BOB)
    assert auth_membership.membership_of(room.state, BOB) == "leave"


# --- joins


@every_version
def test_the_creator_joins_first(version: str) -> None:
    room = Room(version)
    del room.state["m.room.member", ALICE]
    join = {"membership": "join"}
    first = {"prev_events": [room.create.event_id]}
    assert room.check("m.room.member", join, state_key=ALICE, **first) is None
    assert room.check("m.room.member", join, state_key=ALICE) is not None
    assert room.check("m.room.member", join, state_key=BOB, sender=BOB, **first) is not None


@pytest.mark.parametrize("version", versions_with(create_names_creator=True))
def test_before_version_11_the_create_event_says_who_joins_first(version: str) -> None:
    room = Room(version, creator=ALICE)
    room.state["m.room.create", ""].content["creator"] = BOB
    del room.state["m.room.member", ALICE]
    first = {"prev_events": [room.create.event_id]}
    assert room.check("m.room.member", {"membership": "join"}, state_key=BOB, sender=BOB, **first) is None
    assert room.check("m.room.member", {"membership": "join"}, state_key=ALICE, **first) is not None


def test_additional_creators_do_not_join_unasked() -> None:
    room = Room("12", additional_creators=[BOB])
    first = {"prev_events": [room.create.event_id]}
    verdict = room.check("m.room.member", {"membership": "join"}, state_key=BOB, sender=BOB, **first)
    assert rule_of(verdict) == "5.3.7"


@every_version
def test_nobody_joins_for_somebody_else(version: str) -> None:
    room = Room(version)
    room.join_rule("public")
    assert rule_of(room.membership("join", BOB, sender=ALICE)) == numbered(version, "join", ".2")


@every_version
def test_who_is_banned_cannot_join(version: str) -> None:
    room = Room(version)
    room.join_rule("public")
    room.member(BOB, "ban")
    assert rule_of(room.membership("join", BOB)) == numbered(version, "join", ".3")


@every_version
@pytest.mark.parametrize("before", [None, "leave", "knock", "invite", "join"])
@pytest.mark.parametrize(
    "rule", ["public", "invite", "private", "knock", "restricted", "knock_restricted", None]
)
def test_joining_depends_on_the_join_rule_and_on_membership(
    version: str, before: str | None, rule: str | None
) -> None:
    room = Room(version)
    if rule is not None:
        room.join_rule(rule)
    if before is not None:
        room.member(BOB, before)
    room_version = ROOM_VERSIONS[version]
    for_the_invited = {"invite", None}
    for_the_invited |= {"knock"} if room_version.knocking else set()
    for_the_invited |= {"restricted"} if room_version.restricted_joins else set()
    for_the_invited |= {"knock_restricted"} if room_version.knock_restricted_joins else set()
    expected = rule == "public" or (rule in for_the_invited and before in {"invite", "join"})
    verdict = room.membership("join", BOB)
    assert (verdict is None) is expected
    if verdict is not None:
        otherwise = ".7" if room_version.restricted_joins else ".6"
        restricted = rule in for_the_invited and rule in {"restricted", "knock_restricted"}
        assert verdict.rule == numbered(version, "join", ".5.2" if restricted else otherwise)


@every_version
def test_a_join_rule_that_is_no_text_lets_not_even_the_invited_in(version: str) -> None:
    room = Room(version)
    room.member(BOB, "invite")
    for content, expected in (({}, True), ({"join_rule": None}, False), ({"join_rule": ["invite"]}, False)):
        room.put("m.room.join_rules", content)
        assert (room.membership("join", BOB) is None) is expected


@pytest.mark.parametrize("rule", ["restricted", "knock_restricted"])
@pytest.mark.parametrize("version", versions_with(restricted_joins=True))
def test_a_restricted_join_needs_a_member_who_may_invite(version: str, rule: str) -> None:
    room = Room(version)
    room.join_rule(rule)
    room.levels(invite=50, users={BOB: 50, CAROL: 49})
    supported = rule == "restricted" or ROOM_VERSIONS[version].knock_restricted_joins

    def join(authoriser: Any) -> str | None:
        content = {"join_authorised_via_users_server": authoriser}
        return rule_of(room.membership("join", "@dan:three.example", content=content))

    refused = numbered(version, "join", ".5.2") if supported else numbered(version, "join", ".7")
    assert join(BOB) == refused
    room.member(BOB, "join")
    room.member(CAROL, "join")
    assert join(BOB) == (None if supported else refused)
    assert join(CAROL) == refused
    room.member(BOB, "leave")
    assert join(BOB) == refused


@pytest.mark.parametrize("version", ["8", "9", "10", "11", "12"])
@pytest.mark.parametrize("authoriser", ["nobody", "@a", 5, None, []])
@pytest.mark.parametrize("membership", ["join", "leave", "invite"])
def test_an_authorising_user_that_no_server_can_sign_for_is_refused(
    version: str, authoriser: Any, membership: str
) -> None:
    room = Room(version)
    room.join_rule("public")
    room.member(BOB, "join")
    content = {"join_authorised_via_users_server": authoriser}
    verdict = room.membership(membership, BOB, content=content)
    assert rule_of(verdict) == numbered(version, "authoriser", ".1")


@pytest.mark.parametrize("version", versions_with(restricted_joins=False))
def test_before_version_8_nobody_asks_for_an_authorising_user(version: str) -> None:
    room = Room(version)
    room.join_rule("public")
    assert room.membership("join", BOB, content={"join_authorised_via_users_server": 5}) is None


def test_a_creator_of_version_12_may_authorise_restricted_joins_whatever_the_level() -> None:
    room = Room("12")
    room.join_rule("restricted")
    room.levels(invite=2**53 - 1)
    assert room.membership("join", BOB, content={"join_authorised_via_users_server": ALICE}) is None


# --- invites


@every_version
def test_members_invite_if_their_level_is_enough(version: str) -> None:
    room = Room(version)
    room.member(BOB, "join")
    room.levels(invite=50, users={BOB: 49})
    assert rule_of(room.membership("invite", CAROL, sender=BOB)) == numbered(version, "invite", ".5")
    room.levels(invite=50, users={BOB: 50})
    assert room.membership("invite", CAROL, sender=BOB) is None
    room.levels()
    assert room.membership("invite", CAROL, sender=BOB) is None


@every_version
def test_only_members_invite(version: str) -> None:
    room = Room(version)
    for membership in ("leave", "invite", "ban", "knock"):
        room.member(BOB, membership)
        assert rule_of(room.membership("invite", CAROL, sender=BOB)) == numbered(version, "invite", ".2")


@every_version
@pytest.mark.parametrize(
    ("before", "allowed"), [("join", False), ("ban", False), ("leave", True), ("knock", True)]
)
def test_who_is_in_the_room_or_banned_is_not_invited(version: str, before: str, allowed: bool) -> None:
    room = Room(version)
    room.member(CAROL, before)
    verdict = room.membership("invite", CAROL, sender=ALICE)
    assert rule_of(verdict) == (None if allowed else numbered(version, "invite", ".3"))


SIGNED = IDENTITY_KEY.sign_json({"mxid": CAROL, "token": "token"})
PUBLIC_KEY = unpadded_base64.encode(IDENTITY_KEY.public)


def third_party_invite(
    room: Room, signed: Any, *, sender: str = ALICE, target: str = CAROL
) -> AuthFailure | None:
    invite = {"third_party_invite": signed if signed == {} else {"signed": signed}}
    return room.membership("invite", target, sender=sender, content=invite)


@every_version
@pytest.mark.parametrize(
    "keys",
    [
        {"public_key": PUBLIC_KEY},
        {"public_key": PUBLIC_KEY + "="},
        {"public_key": PUBLIC_KEY.replace("+", "-").replace("/", "_")},
        {"public_keys": [{"public_key": PUBLIC_KEY}]},
        {"public_key": "not a key", "public_keys": [None, {}, {"public_key": 5}, {"public_key": PUBLIC_KEY}]},
    ],
)
def test_a_third_party_invite_counts_if_one_of_its_keys_signed(version: str, keys: dict[str, Any]) -> None:
    room = Room(version)
    room.put("m.room.third_party_invite", keys, state_key="token")
    assert third_party_invite(room, SIGNED) is None


@every_version
def test_a_third_party_invite_fails_at_each_of_its_conditions(version: str) -> None:
    room = Room(version)
    refused = {number: numbered(version, "invite", f".1.{number}") for number in range(1, 9)}
    assert rule_of(third_party_invite(room, SIGNED)) == refused[5]
    room.put("m.room.third_party_invite", {"public_key": PUBLIC_KEY}, state_key="token")
    assert third_party_invite(room, SIGNED) is None
    assert rule_of(third_party_invite(room, {})) == refused[2]
    assert rule_of(third_party_invite(room, "text")) == refused[2]
    assert rule_of(third_party_invite(room, {"mxid": CAROL})) == refused[3]
    assert rule_of(third_party_invite(room, {"mxid": CAROL, "token": ["token"]})) == refused[3]
    assert rule_of(third_party_invite(room, SIGNED, target=BOB)) == refused[4]
    assert rule_of(third_party_invite(room, SIGNED, sender=BOB)) == refused[6]
    assert rule_of(third_party_invite(room, {**SIGNED, "more": 1})) == refused[8]
    assert rule_of(third_party_invite(room, KEY.sign_json({"mxid": CAROL, "token": "token"}))) == refused[8]
    for signatures in (None, [], {"id": None}, {"id": {"ed25519:0": 1}}, {"id": {"rsa:0": "A"}}):
        assert rule_of(third_party_invite(room, {**SIGNED, "signatures": signatures})) == refused[8]
    room.member(CAROL, "ban")
    assert rule_of(third_party_invite(room, SIGNED)) == refused[1]


def test_a_third_party_invite_with_endless_keys_is_not_tried_forever() -> None:
    room = Room("11")
    wrong = {"public_key": unpadded_base64.encode(KEY.public)}
    most = auth_membership.MAX_INVITE_VERIFICATIONS
    room.put("m.room.third_party_invite", {"public_keys": [wrong] * (most - 1) + [{"public_key": PUBLIC_KEY}]},
             state_key="token")  # fmt: skip
    assert third_party_invite(room, SIGNED) is None
    room.put("m.room.third_party_invite", {"public_keys": [wrong] * most + [{"public_key": PUBLIC_KEY}]},
             state_key="token")  # fmt: skip
    assert rule_of(third_party_invite(room, SIGNED)) == "4.4.1.8"


def test_what_cannot_be_written_was_signed_by_nobody() -> None:
    room = Room("1")
    room.put("m.room.third_party_invite", {"public_key": PUBLIC_KEY}, state_key="token")
    invite = room.event("m.room.member", {}, state_key=CAROL)
    signed = {"membership": "invite", "third_party_invite": {"signed": {**SIGNED, "more": float("nan")}}}
    unwritable = Event(invite.event_id, room.version, {**invite.pdu, "content": signed})
    assert rule_of(auth_rules.check(unwritable, room.state)) == "5.3.1.8"


# --- leaving, kicking, unbanning


@every_version
@pytest.mark.parametrize("before", [None, "leave", "ban", "knock", "invite", "join"])
def test_one_leaves_what_one_is_in_or_invited_to(version: str, before: str | None) -> None:
    room = Room(version)
    if before is not None:
        room.member(BOB, before)
    allowed = before in {"invite", "join"} or (before == "knock" and ROOM_VERSIONS[version].knocking)
    assert rule_of(room.membership("leave", BOB)) == (None if allowed else numbered(version, "leave", ".1"))


@every_version
def test_only_members_kick(version: str) -> None:
    room = Room(version)
    room.levels(users={BOB: 100})
    room.member(CAROL, "join")
    assert rule_of(room.membership("leave", CAROL, sender=BOB)) == numbered(version, "leave", ".2")


@every_version
@pytest.mark.parametrize(
    ("sender_level", "target_level", "allowed"),
    [(49, 0, False), (50, 0, True), (50, 49, True), (50, 50, False)],
)
def test_kicking_takes_the_kick_level_and_more_than_the_target(
    version: str, sender_level: int, target_level: int, allowed: bool
) -> None:
    room = Room(version)
    room.member(BOB, "join")
    room.member(CAROL, "join")
    room.levels(users={BOB: sender_level, CAROL: target_level})
    verdict = room.membership("leave", CAROL, sender=BOB)
    assert rule_of(verdict) == (None if allowed else numbered(version, "leave", ".5"))


@every_version
def test_unbanning_takes_the_ban_level_and_the_kick_level(version: str) -> None:
    room = Room(version)
    room.member(BOB, "join")
    room.member(CAROL, "ban")
    room.levels(ban=60, kick=40, users={BOB: 50})
    assert rule_of(room.membership("leave", CAROL, sender=BOB)) == numbered(version, "leave", ".3")
    room.levels(ban=40, kick=60, users={BOB: 50})
    assert rule_of(room.membership("leave", CAROL, sender=BOB)) == numbered(version, "leave", ".5")
    room.levels(ban=50, kick=50, users={BOB: 50})
    assert room.membership("leave", CAROL, sender=BOB) is None


# --- bans


@every_version
@pytest.mark.parametrize(
    ("sender_level", "target_level", "allowed"), [(49, 0, False), (50, 49, True), (50, 50, False)]
)
def test_banning_takes_the_ban_level_and_more_than_the_target(
    version: str, sender_level: int, target_level: int, allowed: bool
) -> None:
    room = Room(version)
    room.member(BOB, "join")
    room.levels(users={BOB: sender_level, CAROL: target_level})
    verdict = room.membership("ban", CAROL, sender=BOB)
    assert rule_of(verdict) == (None if allowed else numbered(version, "ban", ".3"))
    room.member(BOB, "leave")
    assert rule_of(room.membership("ban", CAROL, sender=BOB)) == numbered(version, "ban", ".1")


def test_nobody_kicks_or_bans_a_creator_of_version_12() -> None:
    room = Room("12", additional_creators=[BOB])
    room.member(BOB, "join")
    room.member(CAROL, "join")
    room.levels(users={CAROL: 2**53 - 1})
    for creator in (ALICE, BOB):
        assert rule_of(room.membership("leave", creator, sender=CAROL)) == "5.5.5"
        assert rule_of(room.membership("ban", creator, sender=CAROL)) == "5.6.3"
    assert rule_of(room.membership("ban", BOB, sender=ALICE)) == "5.6.3"
    assert room.membership("ban", CAROL, sender=BOB) is None


# --- knocks


@every_version
@pytest.mark.parametrize("rule", ["knock", "knock_restricted", "invite", "public", "restricted"])
def test_knocking_depends_on_the_join_rule(version: str, rule: str) -> None:
    room = Room(version)
    room.join_rule(rule)
    room_version = ROOM_VERSIONS[version]
    allowed = (rule == "knock" and room_version.knocking) or (
        rule == "knock_restricted" and room_version.knock_restricted_joins
    )
    refused = numbered(version, "knock", ".1") if room_version.knocking else numbered(version, "unknown")
    assert rule_of(room.membership("knock", BOB)) == (None if allowed else refused)


@pytest.mark.parametrize("version", versions_with(knocking=True))
def test_one_knocks_for_oneself_from_outside(version: str) -> None:
    room = Room(version)
    room.join_rule("knock")
    assert rule_of(room.membership("knock", BOB, sender=ALICE)) == numbered(version, "knock", ".2")
    for before in ("ban", "invite", "join"):
        room.member(BOB, before)
        assert rule_of(room.membership("knock", BOB)) == numbered(version, "knock", ".4")
    for before in ("leave", "knock"):
        room.member(BOB, before)
        assert room.membership("knock", BOB) is None


# --- the rest


@every_version
@pytest.mark.parametrize("membership", ["x", "", 5, [], {}, True])
def test_other_memberships_are_unknown(version: str, membership: Any) -> None:
    assert rule_of(Room(version).membership(membership, ALICE)) == numbered(version, "unknown")


@every_version
def test_a_membership_needs_a_state_key_and_a_membership(version: str) -> None:
    room = Room(version)
    section = numbered(version, "join").partition(".")[0]
    assert rule_of(room.check("m.room.member", {"membership": "join"})) == f"{section}.1"
    assert rule_of(room.check("m.room.member", {}, state_key=ALICE)) == f"{section}.1"


@pytest.mark.parametrize(("membership", "reason"), [("join", "already in the room"), ("ban", "banned")])
def test_a_refused_invite_says_whether_the_user_is_in_the_room_or_banned(
    membership: str, reason: str
) -> None:
    room = Room("11")
    room.member(BOB, membership)
    failure = room.membership("invite", BOB, sender=ALICE)
    assert failure is not None
    assert reason in failure.reason
