"""What is told of rooms to those outside, and to whom."""

from typing import Any

import pytest
from tests.protocol.room_script import ALL_VERSIONS

from ranvier.protocol.room_summaries import (
    may_be_shown,
    may_be_shown_to_server,
    published_room,
    room_summary,
)
from ranvier.protocol.room_versions import ROOM_VERSIONS

ROOM = "!ol19s:bleecker.street"
FULL: dict[str, dict[str, Any]] = {
    "m.room.create": {"type": "m.space", "creator": "@a:b"},
    "m.room.name": {"name": "CHEESE"},
    "m.room.topic": {"topic": "Tasty tasty cheese"},
    "m.room.avatar": {"url": "mxc://bleecker.street/CHEDDARandBRIE"},
    "m.room.canonical_alias": {"alias": "#cheese:bleecker.street"},
    "m.room.join_rules": {
        "join_rule": "restricted",
        "allow": [{"type": "m.room_membership", "room_id": "!upstream:example.org"}],
    },
    "m.room.history_visibility": {"history_visibility": "world_readable"},
    "m.room.guest_access": {"guest_access": "can_join"},
    "m.room.encryption": {"algorithm": "m.megolm.v1.aes-sha2"},
}
EMPTY: dict[str, dict[str, Any]] = {"m.room.create": {}}


def test_a_summary_tells_what_the_room_has_set() -> None:
    assert room_summary(ROOM, ROOM_VERSIONS["10"], FULL, 37) == {
        "room_id": ROOM,
        "room_type": "m.space",
        "name": "CHEESE",
        "topic": "Tasty tasty cheese",
        "avatar_url": "mxc://bleecker.street/CHEDDARandBRIE",
        "canonical_alias": "#cheese:bleecker.street",
        "join_rule": "restricted",
        "allowed_room_ids": ["!upstream:example.org"],
        "world_readable": True,
        "guest_can_join": True,
        "num_joined_members": 37,
        "encryption": "m.megolm.v1.aes-sha2",
        "room_version": "10",
    }


def test_a_summary_of_a_bare_room_has_what_is_required_and_its_true_join_rule() -> None:
    assert room_summary(ROOM, ROOM_VERSIONS["12"], EMPTY, 1) == {
        "room_id": ROOM,
        "num_joined_members": 1,
        "world_readable": False,
        "guest_can_join": False,
        "join_rule": "invite",
        "room_version": "12",
    }


def test_the_directory_tells_neither_version_nor_allowed_rooms() -> None:
    assert published_room(ROOM, FULL, 1).keys().isdisjoint({"room_version", "allowed_room_ids", "encryption"})


def test_allowed_rooms_are_only_told_where_the_rule_means_something() -> None:
    assert "allowed_room_ids" not in room_summary(ROOM, ROOM_VERSIONS["7"], FULL, 1)
    rules = {**FULL["m.room.join_rules"], "join_rule": "public"}
    assert "allowed_room_ids" not in room_summary(ROOM, ROOM_VERSIONS["12"], {"m.room.join_rules": rules}, 1)


@pytest.mark.parametrize("value", [None, 5, [], {}, ["m.space"]])
def test_values_of_wrong_types_are_left_out(value: Any) -> None:
    keys = {
        "m.room.create": "type",
        "m.room.name": "name",
        "m.room.topic": "topic",
        "m.room.avatar": "url",
        "m.room.canonical_alias": "alias",
        "m.room.join_rules": "join_rule",
        "m.room.history_visibility": "history_visibility",
        "m.room.guest_access": "guest_access",
        "m.room.encryption": "algorithm",
    }
    contents = {type: {key: value} for type, key in keys.items()}
    bare = room_summary(ROOM, ROOM_VERSIONS["12"], EMPTY, 1)
    assert room_summary(ROOM, ROOM_VERSIONS["12"], contents, 1) == bare


def shown(
    version: str, rule: str, membership: str | None, *, allowed: bool = False, world: bool = False
) -> bool:
    contents = {
        "m.room.join_rules": {"join_rule": rule},
        "m.room.history_visibility": {"history_visibility": "world_readable" if world else "shared"},
    }
    return may_be_shown(ROOM_VERSIONS[version], contents, membership, is_in_allowed_room=allowed)


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_members_and_invited_see_it_others_only_if_they_could_come_in_or_knock(version: str) -> None:
    knocks, restricts = int(version) >= 7, int(version) >= 8
    for rule in ("public", "invite", "knock", "restricted", "knock_restricted", "private"):
        assert shown(version, rule, "join")
        assert shown(version, rule, "invite")
        assert shown(version, rule, None, world=True)
    for membership in (None, "leave", "knock"):
        assert shown(version, "public", membership)
        assert not shown(version, "invite", membership, allowed=True)
        assert not shown(version, "private", membership, allowed=True)
        assert shown(version, "knock", membership) is knocks
        assert shown(version, "restricted", membership, allowed=True) is restricts
        assert not shown(version, "restricted", membership)
        assert shown(version, "knock_restricted", membership) is (int(version) >= 10)


def test_the_banned_see_only_what_all_the_world_reads() -> None:
    assert not shown("12", "public", "ban")
    assert not shown("12", "knock", "ban")
    assert not shown("12", "restricted", "ban", allowed=True)
    assert shown("12", "invite", "ban", world=True)


def test_a_server_sees_what_one_of_its_users_might() -> None:
    version = ROOM_VERSIONS["12"]
    for rule, member, allowed, expected in [
        ("public", False, False, True),
        ("knock", False, False, True),
        ("invite", False, False, False),
        ("invite", True, False, True),
        ("restricted", False, False, False),
        ("restricted", False, True, True),
        ("invite", False, True, False),
    ]:
        contents = {"m.room.join_rules": {"join_rule": rule}}
        seen = may_be_shown_to_server(
            version, contents, has_member_or_invited=member, is_in_allowed_room=allowed
        )
        assert seen is expected
    assert may_be_shown_to_server(version, FULL, has_member_or_invited=False, is_in_allowed_room=False)
