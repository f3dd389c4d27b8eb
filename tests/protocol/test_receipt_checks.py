"""What is asked of an event from another server, in the order of "Checks performed on receipt of a PDU"."""

import json
from typing import Any

import pytest
from tests.protocol.room_script import ALICE, ALL_VERSIONS, BOB, CAROL, KEY, Room

from ranvier.protocol import events, unpadded_base64
from ranvier.protocol.events import BadEvent, Event
from ranvier.protocol.policy_server import KEY_ID, PolicyServer, policy_server_of, recommends, signed_by
from ranvier.protocol.receipt_checks import (
    RECEIPT_CHECKS,
    Fate,
    ReceiptFailure,
    check_by_auth_events,
    check_by_policy_server,
    check_format,
    check_hash,
    check_signatures,
    judge,
)
from ranvier.protocol.room_versions import ROOM_VERSIONS
from ranvier.protocol.signing import SigningKey

TWO = SigningKey("two.example", "ed25519:2", b"2" * 32)
POLICY_KEY = SigningKey("policy.example", KEY_ID, b"p" * 32)
POLICY = PolicyServer("policy.example", unpadded_base64.encode(POLICY_KEY.public))
KEYS = {key.server_name: {key.key_id: key.public} for key in (KEY, TWO)}

every_version = pytest.mark.parametrize("version", ALL_VERSIONS)


def by_id(*auth_events: Event) -> dict[str, Event]:
    return {event.event_id: event for event in auth_events}


def message(room: Room, sender: str = ALICE, type: str = "m.room.message", **fields: Any) -> Event:
    """An event with the auth events that its sender needs."""
    selected = [("m.room.member", sender), ("m.room.power_levels", "")]
    if room.version.create_is_auth_event:
        selected.append(("m.room.create", ""))
    auth_events = [room.state[key].event_id for key in selected if key in room.state]
    return room.event(type, {"body": "hello"}, sender=sender, auth_events=auth_events, **fields)


def verdict(room: Room, event: Event, **changes: Any) -> ReceiptFailure | None:
    known = by_id(*room.state.values())
    facts: dict[str, Any] = {"state_before": room.state, "current_state": room.state, **changes}
    return judge(event, auth_events={**known, **facts.pop("auth_events", {})}, **facts)


def changed(pdu: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**json.loads(json.dumps(pdu)), **changes}


def test_the_checks_are_those_of_the_text_with_its_verdicts() -> None:
    assert [check.otherwise for check in RECEIPT_CHECKS] == [
        Fate.DROPPED,
        Fate.DROPPED,
        Fate.REDACTED,
        Fate.REJECTED,
        Fate.REJECTED,
        Fate.SOFT_FAILED,
        Fate.SOFT_FAILED,
    ]
    assert [ReceiptFailure(number, "").fate for number in (2, 4, 5, 6, 7)] == [
        Fate.DROPPED,
        Fate.REJECTED,
        Fate.REJECTED,
        Fate.SOFT_FAILED,
        Fate.SOFT_FAILED,
    ]


@every_version
def test_an_event_without_its_versions_format_is_dropped(version: str) -> None:
    event = message(Room(version))
    assert check_format(event.pdu, ROOM_VERSIONS[version]).event_id == event.event_id
    for broken in ({"depth": "3"}, {"content": None}, {"sender": "alice"}, {"auth_events": {}}):
        with pytest.raises(BadEvent):
            check_format(changed(event.pdu, **broken), ROOM_VERSIONS[version])


@every_version
def test_an_authoriser_that_no_server_can_stand_for_is_bad_format(version: str) -> None:
    room = Room(version)
    content = {"membership": "join", "join_authorised_via_users_server": "nobody"}
    event = room.event("m.room.member", content, sender=BOB, state_key=BOB)
    if room.version.restricted_joins:
        with pytest.raises(BadEvent):
            check_format(event.pdu, room.version)
    else:
        assert check_format(event.pdu, room.version)


@every_version
def test_the_senders_server_must_have_signed(version: str) -> None:
    event = message(Room(version))
    assert check_signatures(event, KEYS) is None
    assert check_signatures(events.redacted(event), KEYS) is None
    for keys in ({}, {"one.example": {}}, {"one.example": {KEY.key_id: TWO.public}}):
        failure = check_signatures(event, keys)
        assert failure is not None
        assert failure.number == 2
        assert "one.example" in failure.reason
    by_carol = message(Room(version), sender=ALICE)
    by_carol.pdu["sender"] = CAROL
    assert check_signatures(events.parse(by_carol.pdu, ROOM_VERSIONS[version]), KEYS) is not None


@every_version
def test_a_wrong_hash_leaves_the_redacted_event(version: str) -> None:
    event = message(Room(version))
    assert check_hash(event) is event
    false = events.parse(changed(event.pdu, content={"body": "something else"}), ROOM_VERSIONS[version])
    assert check_hash(false).content == {}
    assert check_hash(false).event_id == event.event_id


@every_version
def test_an_event_is_accepted_that_all_states_allow(version: str) -> None:
    room = Room(version)
    assert verdict(room, message(room)) is None


@every_version
def test_auth_events_that_do_not_authorise_reject(version: str) -> None:
    room = Room(version)
    failure = verdict(room, room.event("m.room.message"))
    assert failure is not None
    assert (failure.number, failure.fate) == (4, Fate.REJECTED)
    assert failure.rule


@every_version
def test_a_rejected_auth_event_rejects(version: str) -> None:
    room = Room(version)
    event = message(room)
    failure = verdict(room, event, rejected={room.state["m.room.member", ALICE].event_id})
    assert failure is not None
    assert failure.number == 4
    assert failure.rule == f"{room.version.rules.auth_events}.3"


@every_version
def test_the_create_event_of_version_12_need_not_be_named(version: str) -> None:
    room = Room(version)
    event = message(room)
    named = by_id(*room.state.values())
    assert check_by_auth_events(event, named, room.create) is None
    without = check_by_auth_events(event, named, None)
    assert (without is None) is room.version.create_is_auth_event


@every_version
def test_the_state_before_rejects_whom_it_does_not_know(version: str) -> None:
    room = Room(version)
    before = {key: event for key, event in room.state.items() if key != ("m.room.member", ALICE)}
    failure = verdict(room, message(room), state_before=before)
    assert failure is not None
    assert (failure.number, failure.fate) == (5, Fate.REJECTED)


@every_version
def test_who_was_banned_meanwhile_is_soft_failed_if_the_event_is_news(version: str) -> None:
    room = Room(version)
    room.member(BOB, "join")
    event = message(room, sender=BOB)
    before = dict(room.state)
    ban = room.event("m.room.member", {"membership": "ban"}, state_key=BOB)
    now = {**before, ("m.room.member", BOB): ban}
    failure = verdict(room, event, state_before=before, current_state=now)
    assert failure is not None
    assert (failure.number, failure.fate) == (6, Fate.SOFT_FAILED)
    assert verdict(room, event, state_before=before, current_state=None) is None
    # A failure of an earlier check wins: what is rejected is not merely soft-failed.
    rejected = verdict(room, event, state_before=now, current_state=now)
    assert rejected is not None
    assert rejected.number == 5


@every_version
def test_a_policy_server_in_use_must_have_signed(version: str) -> None:
    room = Room(version)
    event = message(room)
    failure = verdict(room, event, policy_server_in_use=POLICY)
    assert failure is not None
    assert (failure.number, failure.fate) == (7, Fate.SOFT_FAILED)
    signed = events.cosigned(event, POLICY_KEY)
    assert signed.event_id == event.event_id
    assert verdict(room, signed, policy_server_in_use=POLICY) is None
    assert verdict(room, signed, current_state=None, policy_server_in_use=POLICY) is None
    # Its key is none of the server's own, so the second check passes it over.
    assert check_signatures(signed, KEYS) is None


@every_version
def test_a_policy_servers_signature_is_by_its_own_name_and_key(version: str) -> None:
    room = Room(version)
    event = message(room)
    others = (
        SigningKey("policy.example", "ed25519:other", b"p" * 32),
        SigningKey("other.example", KEY_ID, b"p" * 32),
        SigningKey("policy.example", KEY_ID, b"q" * 32),
    )
    for key in others:
        assert not recommends(POLICY, events.cosigned(event, key))
    assert not recommends(PolicyServer("policy.example", "not Base64!"), events.cosigned(event, POLICY_KEY))
    assert recommends(POLICY, events.redacted(events.cosigned(event, POLICY_KEY)))


@every_version
def test_only_the_event_that_names_the_policy_server_needs_no_signature(version: str) -> None:
    room = Room(version)
    assert check_by_policy_server(room.event("m.room.policy", state_key=""), POLICY) is None
    for other in (room.event("m.room.policy"), room.event("m.room.policy", state_key="x"), message(room)):
        assert check_by_policy_server(other, POLICY) is not None
        assert check_by_policy_server(other, None) is None


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"via": "policy.example"},
        {"via": 5, "public_keys": {"ed25519": "a"}},
        {"via": "policy.example", "public_keys": "a"},
        {"via": "policy.example", "public_keys": {}},
        {"via": "policy.example", "public_keys": {"ed25519": 5}},
    ],
)
def test_an_invalid_policy_event_names_no_policy_server(content: dict[str, Any]) -> None:
    room = Room("12")
    assert policy_server_of(room.event("m.room.policy", content, state_key="")) is None


def test_a_valid_policy_event_names_server_and_key() -> None:
    content = {"via": "policy.example", "public_keys": {"ed25519": "a", "other": 5}}
    named = policy_server_of(Room("12").event("m.room.policy", content, state_key=""))
    assert named == PolicyServer("policy.example", "a")
    assert policy_server_of(None) is None


@every_version
def test_a_policy_servers_answer_adds_its_signature_and_takes_none_away(version: str) -> None:
    event = message(Room(version))
    by_origin = PolicyServer("one.example", POLICY.public_key)
    key = SigningKey("one.example", KEY_ID, b"p" * 32)
    signature = events.cosigned(event, key).pdu["signatures"]["one.example"][KEY_ID]
    signed = signed_by(by_origin, event, {KEY_ID: signature, KEY.key_id: "another"})
    assert recommends(by_origin, signed)
    assert check_signatures(signed, KEYS) is None
    assert (
        signed.pdu["signatures"]["one.example"][KEY.key_id]
        == event.pdu["signatures"]["one.example"][KEY.key_id]
    )
    assert not recommends(by_origin, event)
    for answer in ({}, {KEY_ID: 5}, {"ed25519:other": signature}):
        assert signed_by(by_origin, event, answer) is event


def test_a_policy_servers_key_may_be_in_the_url_safe_alphabet() -> None:
    event = events.cosigned(message(Room("12")), POLICY_KEY)
    assert recommends(
        PolicyServer("policy.example", unpadded_base64.encode_url_safe(POLICY_KEY.public)), event
    )
