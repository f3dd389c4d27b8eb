"""Every example and test vector that the specification prints, as facts in `data/`."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.protocol.room_script import ALICE, ALL_VERSIONS, KEY, build
from tests.protocol.sent_events import make_event

from ranvier.protocol import canonical_json, client_format, events, identifiers, signing, unpadded_base64
from ranvier.protocol.events import BadEvent
from ranvier.protocol.identifiers import BadIdentifier
from ranvier.protocol.power_levels import read_level, read_levels
from ranvier.protocol.property_paths import split_path
from ranvier.protocol.push_conditions import PushFacts, compile_condition
from ranvier.protocol.redaction import redact
from ranvier.protocol.relations import relation_of
from ranvier.protocol.room_versions import ROOM_VERSIONS
from ranvier.protocol.server_acl import ServerAcl
from ranvier.protocol.space_hierarchy import child_of

DATA = Path(__file__).parent / "data"


def facts(name: str) -> Any:
    return json.loads((DATA / f"{name}.json").read_text())


VECTORS = facts("vectors")
EVENTS = facts("event_examples")
PDUS = facts("pdu_examples")
REDACTION = facts("redaction_rules")

every_version = pytest.mark.parametrize("version", ALL_VERSIONS)


def test_unpadded_base64() -> None:
    for plain, encoded in VECTORS["base64"]:
        assert unpadded_base64.encode(plain.encode()) == encoded
        assert unpadded_base64.decode(encoded) == plain.encode()


def test_canonical_json() -> None:
    for given, canonical in VECTORS["canonical_json"]:
        value = canonical_json.decode(given.encode())
        canonical_json.check(value, strict=True)
        assert canonical_json.encode(value) == canonical_json.encode_checked(value) == canonical.encode()


def test_numbers_with_exponents_are_for_old_rooms_only() -> None:
    value = canonical_json.decode(b'{"a": -0, "b": 1e10}')
    with pytest.raises(canonical_json.BadJson):
        canonical_json.check(value, strict=True)
    # Other servers write the float as Python does, not as the text's example; the hash has to be theirs.
    assert canonical_json.encode(value) == b'{"a":0,"b":10000000000.0}'


def test_identifiers() -> None:
    for name in VECTORS["server_names"]:
        identifiers.check_server_name(name)
        assert identifiers.parse_user_id(f"@a:{name}") == ("a", name)
    for user_id in VECTORS["user_ids"]:
        identifiers.check_new_user_id(user_id)
        assert identifiers.is_compliant_user_id(user_id)
    for room_id in VECTORS["room_ids"]:
        identifiers.check_room_id(room_id)
        with pytest.raises(BadIdentifier):
            identifiers.check_event_id(room_id)
    for event_id in VECTORS["event_ids"]:
        identifiers.check_event_id(event_id)


def test_property_paths() -> None:
    for path, names in VECTORS["property_paths"]:
        assert split_path(path) == tuple(names)


@pytest.mark.parametrize("kind", ["event_match", "event_property_is", "event_property_contains"])
def test_push_conditions(kind: str) -> None:
    for key, wanted, content, matches in VECTORS[kind]:
        name = "pattern" if kind == "event_match" else "value"
        test = compile_condition({"kind": kind, "key": key, name: wanted})
        assert test is not None
        facts_of = PushFacts(make_event(content=content), 3, lambda key: True)
        assert test(facts_of, ALICE, None) is matches


@every_version
def test_power_levels_of_other_types(version: str) -> None:
    room_version = ROOM_VERSIONS[version]
    for text, level in VECTORS["power_level_texts"]:
        assert read_level(text, room_version) == (level if int(version) < 10 else None)
    for number, level in VECTORS["power_level_floats"]:
        assert read_level(number, room_version) == (level if int(version) < 6 else None)
    users = read_levels(VECTORS["power_levels_as_texts"]["users"], room_version)
    assert users == ({"@example:localhost": 100} if int(version) < 10 else {})


@pytest.mark.parametrize("content", [VECTORS["power_levels_as_texts"], VECTORS["power_levels_as_floats"]])
@every_version
def test_power_levels_events_of_other_types_travel_where_they_are_allowed(version: str, content: Any) -> None:
    room_version = ROOM_VERSIONS[version]
    if room_version.strict_json and content is VECTORS["power_levels_as_floats"]:
        with pytest.raises(BadEvent):
            build(room_version, type="m.room.power_levels", state_key="", content=content)
        return
    event = build(room_version, type="m.room.power_levels", state_key="", content=content)
    assert events.parse(json.loads(event.pdu_json), room_version).event_id == event.event_id


@every_version
def test_example_pdus_have_the_format_of_their_version(version: str) -> None:
    pdu = PDUS[version]
    event = events.parse(pdu, ROOM_VERSIONS[version])
    assert event.room_id == pdu["room_id"]
    assert len(event.prev_events) == len(pdu["prev_events"])
    assert not signing.content_hash_matches(event.pdu)
    assert events.redacted(event).event_id == event.event_id
    assert "unsigned" not in event.pdu


@pytest.mark.parametrize(
    ("of", "then"), [("1", "3"), ("3", "1"), ("12", "1"), ("1", "12"), ("2", "11"), ("11", "2")]
)
def test_example_pdus_of_another_format_are_refused(of: str, then: str) -> None:
    with pytest.raises(BadEvent):
        events.parse(PDUS[of], ROOM_VERSIONS[then])


@every_version
def test_redaction_keeps_what_the_versions_page_lists_and_nothing_else(version: str) -> None:
    room_version, listed = ROOM_VERSIONS[version], REDACTION[version]
    anything = ["sender", "prev_state", "origin", "membership", "unsigned", "redacts", "age_ts", "x", "m.y"]
    pdu = {key: key for key in [*listed["top_level"], *anything]}
    pdu["content"] = {}
    assert sorted(redact(pdu, room_version)) == listed["top_level"]
    all_keys = {key for keys in listed["content"].values() for key in keys} | {
        "x",
        "aliases",
        "invite",
        "redacts",
    }
    all_keys -= {"*"}
    types = {type for rules in REDACTION.values() for type in rules["content"]}
    for type in types | {"m.room.message", "m.room.topic"}:
        kept = redact({**pdu, "type": type, "content": dict.fromkeys(all_keys, 1)}, room_version)["content"]
        expected = listed["content"].get(type, [])
        assert sorted(kept) == (sorted(all_keys) if expected == ["*"] else expected)


@every_version
@pytest.mark.parametrize("name", EVENTS)
def test_example_events_can_be_sent_shown_and_redacted(version: str, name: str) -> None:
    example, room_version = EVENTS[name], ROOM_VERSIONS[version]
    event = build(
        room_version,
        type=example["type"],
        content=example["content"],
        state_key=example.get("state_key"),
        redacts=example.get("redacts"),
        origin_server_ts=example["origin_server_ts"],
        prev_events=[] if example["type"] == "m.room.create" else ["$previous:one.example"],
    )
    parsed = events.parse(json.loads(event.pdu_json), room_version)
    assert parsed.event_id == event.event_id
    assert signing.content_hash_matches(parsed.pdu)
    assert signing.verify_event(parsed.pdu, room_version, KEY.server_name, {KEY.key_id: KEY.public})
    shown = json.loads(client_format.full_json(parsed))
    assert shown["content"].items() >= example["content"].items()
    assert shown["type"] == example["type"]
    assert shown.get("state_key") == example.get("state_key")
    redacted = events.redacted(parsed)
    assert redacted.event_id == event.event_id
    assert redact(redacted.pdu, room_version) == redacted.pdu


def test_example_events_mean_what_they_say() -> None:
    reaction = relation_of(EVENTS["m.reaction"]["content"])
    assert reaction is not None
    assert (reaction.rel_type, reaction.key) == (
        "m.annotation",
        EVENTS["m.reaction"]["content"]["m.relates_to"]["key"],
    )
    acl = ServerAcl(EVENTS["m.room.server_acl"]["content"])
    assert acl.allows("example.org:8448")
    assert not acl.allows("evil.com")
    assert not acl.allows("sub.evil.com:8448")
    assert not acl.allows("1.2.3.4")
    example = EVENTS["m.space.child"]
    child = child_of(make_event("m.space.child", example["content"], state_key=example["state_key"]))
    assert child is not None
    assert child.room_id == example["state_key"]
    redaction = EVENTS["m.room.redaction"]
    for version in ALL_VERSIONS:
        event = build(
            ROOM_VERSIONS[version],
            type="m.room.redaction",
            content={"reason": "x"},
            redacts=redaction["content"]["redacts"],
        )
        assert event.redacts == redaction["content"]["redacts"]
