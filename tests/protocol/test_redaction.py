"""Redaction: which content survives in which room version."""

from typing import Any

import pytest
from tests.protocol.room_script import ALL_VERSIONS

from ranvier.protocol.redaction import redact, redact_content
from ranvier.protocol.room_versions import ROOM_VERSIONS

SINCE = {version: int(version) for version in ALL_VERSIONS}


def survivors(version: str, type: str, content: dict[str, Any]) -> dict[str, Any]:
    return redact_content(type, content, ROOM_VERSIONS[version])


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_a_redacted_message_keeps_nothing(version: str) -> None:
    assert survivors(version, "m.room.message", {"body": "x", "membership": "join"}) == {}


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_a_redacted_event_keeps_its_membership(version: str) -> None:
    content = {"membership": "join", "displayname": "A", "join_authorised_via_users_server": "@a:b"}
    expected = {"membership": "join"}
    if SINCE[version] >= 9:
        expected["join_authorised_via_users_server"] = "@a:b"
    assert survivors(version, "m.room.member", content) == expected


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_of_a_third_party_invite_what_was_signed_is_kept_since_version_11(version: str) -> None:
    content = {"membership": "invite", "third_party_invite": {"display_name": "A", "signed": {"token": "t"}}}
    expected: dict[str, Any] = {"membership": "invite"}
    if SINCE[version] >= 11:
        expected["third_party_invite"] = {"signed": {"token": "t"}}
    assert survivors(version, "m.room.member", content) == expected
    without_signed = survivors(version, "m.room.member", {"third_party_invite": {"display_name": "A"}})
    assert without_signed == ({"third_party_invite": {}} if SINCE[version] >= 11 else {})
    assert survivors(version, "m.room.member", {"third_party_invite": "x"}) == {}


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_a_create_event_keeps_its_creator_and_since_version_11_all(version: str) -> None:
    content = {"creator": "@a:b", "room_version": version, "m.federate": False}
    assert survivors(version, "m.room.create", content) == (
        content if SINCE[version] >= 11 else {"creator": "@a:b"}
    )


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_join_rules_keep_whom_they_allow_since_version_8(version: str) -> None:
    content = {"join_rule": "restricted", "allow": [], "x": 1}
    kept = {"join_rule", "allow"} if SINCE[version] >= 8 else {"join_rule"}
    assert set(survivors(version, "m.room.join_rules", content)) == kept


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_power_levels_keep_all_but_notifications_and_before_version_11_invite(version: str) -> None:
    names = "ban events events_default kick redact state_default users users_default"
    content = dict.fromkeys([*names.split(), "invite", "notifications", "x"], 1)
    kept = {*names.split(), "invite"} if SINCE[version] >= 11 else set(names.split())
    assert set(survivors(version, "m.room.power_levels", content)) == kept


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_aliases_are_kept_before_version_6(version: str) -> None:
    kept = {"aliases": []} if SINCE[version] < 6 else {}
    assert survivors(version, "m.room.aliases", {"aliases": [], "x": 1}) == kept


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_history_visibility_is_kept_and_a_redactions_target_since_version_11(version: str) -> None:
    visibility = {"history_visibility": "shared"}
    assert survivors(version, "m.room.history_visibility", {**visibility, "x": 1}) == visibility
    kept = {"redacts": "$a"} if SINCE[version] >= 11 else {}
    assert survivors(version, "m.room.redaction", {"redacts": "$a", "reason": "x"}) == kept


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_top_level_keys_are_kept_by_version(version: str) -> None:
    always = [
        "event_id",
        "type",
        "room_id",
        "sender",
        "state_key",
        "content",
        "hashes",
        "signatures",
        "depth",
        "prev_events",
        "auth_events",
        "origin_server_ts",
    ]
    before_11 = ["prev_state", "origin", "membership"]
    pdu = dict.fromkeys([*always, *before_11, "unsigned", "redacts", "x"], "value")
    kept = set(always) | (set(before_11) if SINCE[version] < 11 else set())
    assert set(redact(pdu, ROOM_VERSIONS[version])) == kept


def test_content_of_a_wrong_type_becomes_empty() -> None:
    for content in (None, [], "x", 5):
        assert redact({"type": "m.room.member", "content": content}, ROOM_VERSIONS["11"])["content"] == {}
    assert redact({"type": ["m.room.create"], "content": {"a": 1}}, ROOM_VERSIONS["11"])["content"] == {}
