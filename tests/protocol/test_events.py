"""Events: parsing, building, naming, limits."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.protocol.json_values import LAX_JSON, STRICT_OBJECTS, WILD_OBJECTS
from tests.protocol.room_script import ALICE, ALL_VERSIONS, BOB, CAROL, KEY, Room, build, versions_with

from ranvier.protocol import auth_rules, canonical_json, events, signing
from ranvier.protocol.events import BadEvent
from ranvier.protocol.redaction import redact
from ranvier.protocol.room_versions import ROOM_VERSIONS
from ranvier.protocol.signing import SigningKey

OTHER_KEY = SigningKey("two.example", "ed25519:2", b"2" * 32)

# A create event of a public room, and its ID as the room's servers agree on it.
PUBLIC_CREATE = json.loads(
    '{"auth_events":[],"prev_events":[],"type":"m.room.create","room_id":"!uXDCzlYgCTHtiWCkEx:jki.re",'
    '"sender":"@erikj:jki.re","content":{"room_version":"5","predecessor":{"room_id":'
    '"!gdRMqOrTFdOCYHNwOo:half-shot.uk","event_id":"$LP7ROBc4b+cMc1UE9haIz8q5AK2AIW4eJ90FfKLvyZI"},'
    '"creator":"@erikj:jki.re"},"depth":1,"prev_state":[],"state_key":"","origin":"jki.re",'
    '"origin_server_ts":1560284621137,"hashes":{"sha256":"IX6zuNiJpJPNf70BLleL3HSCpjKeq9Uhu7uUpyDjBmc"},'
    '"signatures":{"jki.re":{"ed25519:auto":'
    '"O4IyFfF2PPtGp5uaDm8t57dZbdh8vc8Q64LgCwvzYRVItAMI0uisfiAFaxkVT7MRpzh6N2QNN5NMRXZKmgPYDA"}},'
    '"unsigned":{"age":1321650}}'
)


@pytest.mark.parametrize(
    ("version", "event_id"),
    [
        ("3", "$RrGxF28UrHLmoASHndYb9Jb/1SFww2ptmtur9INS438"),
        ("4", "$RrGxF28UrHLmoASHndYb9Jb_1SFww2ptmtur9INS438"),
        ("5", "$RrGxF28UrHLmoASHndYb9Jb_1SFww2ptmtur9INS438"),
    ],
)
def test_a_real_event_gets_the_id_that_others_gave_it(version: str, event_id: str) -> None:
    assert events.parse(PUBLIC_CREATE, ROOM_VERSIONS[version]).event_id == event_id


def test_a_real_event_matches_its_content_hash() -> None:
    assert signing.content_hash_matches(PUBLIC_CREATE)


@pytest.mark.parametrize("version", ALL_VERSIONS)
@given(content=STRICT_OBJECTS, state_key=st.none() | st.text("abc@:", max_size=9))
def test_what_is_built_parses_to_the_same_event_and_verifies(
    version: str, content: dict[str, Any], state_key: str | None
) -> None:
    room_version = ROOM_VERSIONS[version]
    event = build(
        room_version,
        type="x",
        content=content,
        state_key=state_key,
        auth_events=["$a:b"],
        prev_events=["$b:c"],
    )
    again = events.parse(json.loads(event.pdu_json), room_version)
    assert again.event_id == event.event_id
    assert again.pdu == event.pdu
    assert again.pdu_json == event.pdu_json == canonical_json.encode(event.pdu)
    assert (again.prev_events, again.auth_events) == (("$b:c",), ("$a:b",))
    assert again.state_key == state_key
    assert again.content == content
    assert signing.content_hash_matches(event.pdu)
    keys = {KEY.key_id: KEY.public}
    assert signing.verify_event(event.pdu, room_version, KEY.server_name, keys)
    parsed = events.parse(json.loads(event.pdu_json), room_version)
    # What parsing kept, what is made anew, and what signing signed.
    for _ in range(2):
        assert events.signed_bytes(parsed) == signing.signed_bytes(redact(event.pdu, room_version))
    assert events.content_hash_matches(parsed)
    assert not events.content_hash_matches(events.parse({**event.pdu, "x": "y"}, room_version))
    assert signing.verify_event(events.redacted(event).pdu, room_version, KEY.server_name, keys)


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_a_redacted_event_keeps_its_name(version: str) -> None:
    event = build(ROOM_VERSIONS[version], content={"body": "secret"})
    redacted = events.redacted(event)
    assert redacted.event_id == event.event_id
    assert redacted.content == {}
    assert events.parse(json.loads(redacted.pdu_json), ROOM_VERSIONS[version]).event_id == event.event_id


@pytest.mark.parametrize("version", ALL_VERSIONS)
@given(pdu=WILD_OBJECTS)
def test_parsing_raises_nothing_but_bad_event_and_what_passes_can_be_authorised(
    version: str, pdu: dict[str, Any]
) -> None:
    room_version = ROOM_VERSIONS[version]
    room = Room("11")
    plausible = {**build(room_version, state_key="").pdu, **pdu}
    for candidate in (pdu, plausible):
        try:
            event = events.parse(copy.deepcopy(candidate), room_version)
        except BadEvent as error:
            assert str(error)
            continue
        assert event.pdu_json
        verdict = auth_rules.check(event, room.state)
        assert verdict is None or (verdict.rule and verdict.reason)
        auth_rules.check(event, {})
        auth_rules.check_auth_events(event, {})


@pytest.mark.parametrize("pdu", [None, 1, "x", [], [{}]])
def test_what_is_no_object_is_no_event(pdu: Any) -> None:
    with pytest.raises(BadEvent):
        events.parse(pdu, ROOM_VERSIONS["11"])
    with pytest.raises(BadEvent):
        events.complete(pdu, ROOM_VERSIONS["11"], KEY)


@pytest.mark.parametrize("version", ["1", "3", "6", "11", "12"])
@pytest.mark.parametrize(
    "change",
    [
        {"type": 1}, {"type": None}, {"sender": "alice"}, {"sender": "@alice:one example"}, {"room_id": 5},
        {"room_id": "#a:b"}, {"state_key": None}, {"state_key": 1}, {"content": []}, {"content": None},
        {"depth": -1}, {"depth": "1"}, {"depth": True}, {"depth": 2**63}, {"origin_server_ts": "now"},
        {"origin_server_ts": 1.5}, {"hashes": {}}, {"hashes": {"sha256": 1}}, {"signatures": []},
        {"signatures": {"a": 1}}, {"signatures": {"a": {"b": 1}}}, {"prev_events": {}}, {"prev_events": [1]},
        {"auth_events": ["!a"]}, {"auth_events": [["$a"]]}, {"prev_events": [["$a:b", "hash"]]},
        {"type": "t" * 256}, {"state_key": "s" * 256}, {"sender": "@" + "s" * 255 + ":b"}, {"room_id": "!" + "r" * 255},
        {"unsigned": None}, {"unsigned": []}, {"unsigned": "x"},
    ],
    ids=repr,
)  # fmt: skip
def test_a_field_of_a_wrong_form_makes_no_event(version: str, change: dict[str, Any]) -> None:
    pdu = build(ROOM_VERSIONS[version], state_key="").pdu
    events.parse(pdu, ROOM_VERSIONS[version])
    with pytest.raises(BadEvent):
        events.parse({**pdu, **change}, ROOM_VERSIONS[version])


@pytest.mark.parametrize("version", ["1", "3", "12"])
@pytest.mark.parametrize(
    "key",
    [
        "type", "sender", "room_id", "content", "depth", "origin_server_ts", "hashes", "signatures", "prev_events",
        "auth_events",
    ],
)  # fmt: skip
def test_a_missing_field_makes_no_event(version: str, key: str) -> None:
    pdu = build(ROOM_VERSIONS[version]).pdu
    with pytest.raises(BadEvent):
        events.parse({name: value for name, value in pdu.items() if name != key}, ROOM_VERSIONS[version])


@pytest.mark.parametrize("version", ["1", "3"])
def test_references_are_bounded(version: str) -> None:
    room_version = ROOM_VERSIONS[version]
    most = build(room_version, prev_events=["$a:b"] * 20, auth_events=["$a:b"] * 10)
    assert len(events.parse(most.pdu, room_version).prev_events) == 20
    for key in ("prev_events", "auth_events"):
        with pytest.raises(BadEvent):
            events.parse(
                {**most.pdu, key: most.pdu["prev_events"] + most.pdu["prev_events"][:1]}, room_version
            )
        with pytest.raises(BadEvent):
            build(room_version, **{key: ["$a:b"] * 21})


def sized(size: int) -> dict[str, Any]:
    """Content that makes an event of this many bytes."""
    rest = len(build(ROOM_VERSIONS["11"], content={"body": ""}).pdu_json)
    return {"body": "x" * (size - rest)}


def test_an_event_has_at_most_65536_bytes() -> None:
    event = build(ROOM_VERSIONS["11"], content=sized(65_536))
    assert len(event.pdu_json) == 65_536
    assert events.parse(event.pdu, ROOM_VERSIONS["11"]).event_id == event.event_id
    with pytest.raises(BadEvent) as caught:
        build(ROOM_VERSIONS["11"], content=sized(65_537))
    assert caught.value.errcode == "M_TOO_LARGE"
    with pytest.raises(BadEvent):
        events.parse({**event.pdu, "x": 1}, ROOM_VERSIONS["11"])


@pytest.mark.parametrize("version", versions_with(event_id_is_hash=True))
def test_an_event_that_is_named_by_its_hash_holds_no_name(version: str) -> None:
    pdu = build(ROOM_VERSIONS[version]).pdu
    with pytest.raises(BadEvent):
        events.parse({**pdu, "event_id": "$x:one.example"}, ROOM_VERSIONS[version])


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_depth_is_capped_where_all_servers_take_it(version: str) -> None:
    assert build(ROOM_VERSIONS[version], depth=2**53 - 1).depth == 2**53 - 1
    assert build(ROOM_VERSIONS[version], depth=2**60).depth == 2**53 - 1


@pytest.mark.parametrize("key", ["type", "state_key"])
def test_255_bytes_are_the_limit_for_new_events_in_every_version(key: str) -> None:
    for version in ROOM_VERSIONS.values():
        build(version, **{key: "é" * 127})
        with pytest.raises(BadEvent) as caught:
            build(version, **{key: "é" * 128})
        assert caught.value.errcode == "M_TOO_LARGE"


@pytest.mark.parametrize("version", ALL_VERSIONS)
@pytest.mark.parametrize(
    ("key", "before", "after"),
    [
        ("state_key", "", ""),
        ("type", "", ""),
        ("sender", "@", ":one.example"),
        ("room_id", "!", ":one.example"),
    ],
)
def test_a_limit_exceeded_in_bytes_alone_rejects_in_old_rooms(
    version: str, key: str, before: str, after: str
) -> None:
    room_version = ROOM_VERSIONS[version]

    def pdu(characters: int) -> dict[str, Any]:
        text = before + "é" * (characters - len(before) - len(after)) + after
        return {**build(room_version, state_key="").pdu, key: text}

    fitting = events.parse(pdu(127), room_version)
    assert events.exceeded_limit(fitting) is None
    if version in versions_with(strict_byte_limits=True):
        with pytest.raises(BadEvent):
            events.parse(pdu(255), room_version)
        return
    event = events.parse(pdu(255), room_version)
    assert events.exceeded_limit(event) == key
    failure = auth_rules.check_auth_events(event, {})
    assert failure is not None
    assert failure.rule == "0"
    with pytest.raises(BadEvent):
        events.parse(pdu(256), room_version)


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ({"a": [0, 1.5]}, "a.1"),
        ({"a": {"b": 2**53}}, "a.b"),
        ({"a": "\ud800"}, "a"),
        ({"\udc00": 1}, "surrogate"),
        ({"a": float("nan")}, "a"),
    ],
)
def test_content_that_canonical_json_cannot_hold_is_refused_with_its_place(
    content: dict[str, Any], place: str
) -> None:
    for version in versions_with(strict_json=True):
        with pytest.raises(BadEvent, match=place) as caught:
            build(ROOM_VERSIONS[version], content=content)
        assert caught.value.errcode == "M_BAD_JSON"


def test_nesting_of_new_content_is_bounded() -> None:
    deep: dict[str, Any] = {}
    for _ in range(events.MAX_BUILT_NESTING - 1):
        deep = {"a": deep}
    build(ROOM_VERSIONS["11"], content=deep)
    with pytest.raises(BadEvent):
        build(ROOM_VERSIONS["11"], content={"a": deep})


@given(LAX_JSON)
def test_old_rooms_carry_floats_and_great_integers(value: Any) -> None:
    for version in versions_with(strict_json=False):
        event = build(ROOM_VERSIONS[version], content={"value": value})
        again = events.parse(canonical_json.decode(event.pdu_json), ROOM_VERSIONS[version])
        assert again.event_id == event.event_id
        assert signing.content_hash_matches(again.pdu)


def test_new_rooms_drop_events_with_floats() -> None:
    event = build(ROOM_VERSIONS["5"], content={"value": 1.5})
    for version in versions_with(strict_json=True):
        with pytest.raises(BadEvent):
            events.parse(event.pdu, ROOM_VERSIONS[version])


@pytest.mark.parametrize("version", versions_with(references_with_hashes=True))
def test_old_events_carry_the_hashes_of_those_they_refer_to(version: str) -> None:
    room_version = ROOM_VERSIONS[version]
    first = build(room_version)
    second = build(
        room_version,
        prev_events=[first.event_id],
        reference_hashes={first.event_id: events.reference_hash_of(first)},
    )
    assert second.pdu["prev_events"] == [[first.event_id, {"sha256": events.reference_hash_of(first)}]]
    assert second.prev_events == (first.event_id,)
    with pytest.raises(BadEvent, match="reference hash"):
        build(room_version, prev_events=[first.event_id], reference_hashes={})


@pytest.mark.parametrize("version", versions_with(references_with_hashes=True))
def test_old_events_get_ids_of_their_own_on_our_server(version: str) -> None:
    first, second = (build(ROOM_VERSIONS[version], content={"n": n}) for n in (1, 2))
    assert first.event_id != second.event_id
    assert first.event_id.endswith(":one.example")
    assert first.pdu["event_id"] == first.event_id


def test_the_room_id_of_version_12_is_the_id_of_its_create_event() -> None:
    room = Room("12")
    assert room.create.room_id == "!" + room.create.event_id[1:]
    assert "room_id" not in room.create.pdu
    again = events.parse(json.loads(room.create.pdu_json), room.version)
    assert again.room_id == room.create.room_id
    assert room.event("m.room.message").pdu["room_id"] == room.create.room_id


def test_only_the_create_event_of_version_12_may_lack_a_room_id() -> None:
    pdu = Room("12").create.pdu
    for change in ({"type": "m.room.name"}, {"state_key": "x"}):
        with pytest.raises(BadEvent):
            events.parse({**pdu, **change}, ROOM_VERSIONS["12"])
    with pytest.raises(BadEvent):
        build(ROOM_VERSIONS["12"], room_id=None)


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_what_a_redaction_redacts_is_found_wherever_the_version_keeps_it(version: str) -> None:
    room_version = ROOM_VERSIONS[version]
    content = {"reason": "spam"}
    event = build(room_version, type="m.room.redaction", content=content, redacts="$target:one.example")
    assert event.redacts == "$target:one.example"
    assert ("redacts" in event.pdu) is not room_version.redacts_in_content
    assert ("redacts" in event.content) is room_version.redacts_in_content
    assert content == {"reason": "spam"}
    assert events.parse(event.pdu, room_version).redacts == "$target:one.example"
    assert build(room_version, content={"redacts": "$x"}).redacts is None


def test_unsigned_data_of_others_is_dropped() -> None:
    pdu = {**build(ROOM_VERSIONS["11"]).pdu, "unsigned": {"redacted_because": {}}}
    event = events.parse(pdu, ROOM_VERSIONS["11"])
    assert "unsigned" not in event.pdu
    assert b"unsigned" not in event.pdu_json
    assert "unsigned" in pdu


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_a_template_of_another_server_is_completed_as_our_own_event(version: str) -> None:
    room_version = ROOM_VERSIONS[version]
    theirs = build(room_version, type="m.room.member", state_key=ALICE, content={"membership": "join"})
    template = {**theirs.pdu, "origin_server_ts": 5, "unsigned": {"a": 1}}
    event = events.complete(copy.deepcopy(template), room_version, OTHER_KEY)
    assert event.event_id != theirs.event_id
    assert list(event.pdu["signatures"]) == ["two.example"]
    assert "unsigned" not in event.pdu
    assert signing.content_hash_matches(event.pdu)
    assert signing.verify_event(event.pdu, room_version, "two.example", {OTHER_KEY.key_id: OTHER_KEY.public})
    with pytest.raises(BadEvent):
        events.complete({**template, "sender": 1}, room_version, OTHER_KEY)


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_a_second_server_signs_beside_the_first_and_the_name_stays(version: str) -> None:
    room_version = ROOM_VERSIONS[version]
    event = build(room_version, content={"body": "x"})
    both = events.cosigned(event, OTHER_KEY)
    assert both.event_id == event.event_id
    assert set(both.pdu["signatures"]) == {"one.example", "two.example"}
    assert list(event.pdu["signatures"]) == ["one.example"]
    for key in (KEY, OTHER_KEY):
        assert signing.verify_event(both.pdu, room_version, key.server_name, {key.key_id: key.public})


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_the_senders_server_must_sign_and_in_old_rooms_that_of_the_event_id(version: str) -> None:
    event = build(ROOM_VERSIONS[version], sender=CAROL)
    expected = {"two.example"} if ROOM_VERSIONS[version].event_id_is_hash else {"one.example", "two.example"}
    assert events.required_signers(event) == expected


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_a_third_party_invite_needs_no_signature_of_its_senders_server(version: str) -> None:
    content = {"membership": "invite", "third_party_invite": {}}
    event = build(ROOM_VERSIONS[version], type="m.room.member", sender=CAROL, state_key=BOB, content=content)
    assert "two.example" not in events.required_signers(event)


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_the_server_that_authorised_a_restricted_join_must_sign_it(version: str) -> None:
    content = {"membership": "join", "join_authorised_via_users_server": "@a:three.example"}
    event = build(ROOM_VERSIONS[version], type="m.room.member", state_key=ALICE, content=content)
    expected = ROOM_VERSIONS[version].restricted_joins
    assert ("three.example" in events.required_signers(event)) is expected
    for bad in ("nobody", 5):
        event = build(
            ROOM_VERSIONS[version],
            type="m.room.member",
            state_key=ALICE,
            content={**content, "join_authorised_via_users_server": bad},
        )
        if expected:
            with pytest.raises(BadEvent):
                events.required_signers(event)
        else:
            assert events.required_signers(event) == {"one.example"}


def test_an_event_shows_its_names_but_not_its_content() -> None:
    event = build(ROOM_VERSIONS["11"], content={"body": "secret"})
    assert event.event_id in repr(event)
    assert "secret" not in repr(event)


@pytest.mark.parametrize("version", ALL_VERSIONS)
@given(pdu=WILD_OBJECTS)
def test_redaction_is_idempotent_and_leaves_its_input_alone(version: str, pdu: dict[str, Any]) -> None:
    before = repr(pdu)
    once = redact(pdu, ROOM_VERSIONS[version])
    assert redact(once, ROOM_VERSIONS[version]) == once or "nan" in before
    assert repr(pdu) == before
    assert set(once) <= set(pdu) | {"content"}
