"""Join rules by room version, and the rooms that a restricted one names."""

from typing import Any

import pytest
from tests.protocol.room_script import ALL_VERSIONS

from ranvier.protocol.invite_permission import judge_invite
from ranvier.protocol.join_rules import (
    MAX_ALLOWED_ROOMS,
    allowed_rooms,
    is_restricted,
    known_join_rules,
    takes_knocks,
)
from ranvier.protocol.room_versions import ROOM_VERSIONS

KNOCKS = {"7", "8", "9", "10", "11", "12"}
RESTRICTS = KNOCKS - {"7"}
BOTH = RESTRICTS - {"8", "9"}


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_each_room_version_knows_the_join_rules_of_the_feature_matrix(version: str) -> None:
    room_version = ROOM_VERSIONS[version]
    expected = {"public", "invite"}
    expected |= {"knock"} if version in KNOCKS else set()
    expected |= {"restricted"} if version in RESTRICTS else set()
    expected |= {"knock_restricted"} if version in BOTH else set()
    assert known_join_rules(room_version) == expected
    assert takes_knocks({"join_rule": "knock"}, room_version) is (version in KNOCKS)
    assert takes_knocks({"join_rule": "knock_restricted"}, room_version) is (version in BOTH)
    assert is_restricted({"join_rule": "restricted"}, room_version) is (version in RESTRICTS)
    assert is_restricted({"join_rule": "knock_restricted"}, room_version) is (version in BOTH)


@pytest.mark.parametrize(
    "content", [None, {}, {"join_rule": None}, {"join_rule": ["knock"]}, {"join_rule": "x"}]
)
def test_a_rule_that_is_not_there_or_not_understood_lets_nobody_in(content: Any) -> None:
    assert not takes_knocks(content, ROOM_VERSIONS["12"])
    assert not is_restricted(content, ROOM_VERSIONS["12"])
    assert allowed_rooms(content) == []


def test_only_conditions_that_are_understood_count() -> None:
    allow: list[Any] = [
        {"type": "m.room_membership", "room_id": "!a:b"},
        {"type": "m.room_membership", "room_id": "!c", "more": 1},
        {"type": "m.room_membership", "room_id": 5},
        {"type": "m.room_membership", "room_id": "#a:b"},
        {"type": "m.room_membership", "room_id": "!\0:b"},
        {"type": "m.room_membership"},
        {"type": "org.other", "room_id": "!d:b"},
        {"room_id": "!e:b"},
        "!f:b",
        None,
    ]
    assert allowed_rooms({"allow": allow}) == ["!a:b", "!c"]
    assert allowed_rooms({"allow": {"type": "m.room_membership", "room_id": "!a:b"}}) == []
    many = [{"type": "m.room_membership", "room_id": f"!{number}"} for number in range(1000)]
    assert len(allowed_rooms({"allow": many})) == MAX_ALLOWED_ROOMS


def test_only_the_word_block_blocks_invites() -> None:
    assert judge_invite({"default_action": "block", "more": 1}, "@a:x") == "block"
    others: list[Any] = [{}, None, "block", ["block"], {"default_action": None}, {"default_action": "Block"}]
    for content in [*others, {"default_action": "allow"}, {"default_action": ["block"]}]:
        assert judge_invite(content, "@a:x") == "allow"


def test_users_and_then_servers_are_allowed_ignored_or_blocked_in_this_order() -> None:
    """MSC4155."""
    rules = {
        "allowed_users": ["@friend:evil.org", None, 7],
        "ignored_users": ["@friend:*", "@meek:quiet.org"],
        "ignored_servers": ["quiet.*", "good.org"],
        "blocked_users": ["@loud?:quiet.org", "@meek:*", "@s*:good.org"],
        "blocked_servers": ["evil.org", "quiet.org"],
        "allowed_servers": ["good.org", None],
    }
    verdicts = {
        user: judge_invite(rules, user)
        for user in (
            "@friend:evil.org",
            "@x:evil.org",
            "@meek:quiet.org",
            "@loud1:quiet.org",
            "@y:quiet.org",
            "@spam:good.org",
            "@y:good.org",
        )
    }
    assert list(verdicts.values()) == ["allow", "block", "ignore", "block", "ignore", "block", "allow"]
    assert judge_invite({"blocked_servers": "evil.org"}, "@x:evil.org") == "allow"
