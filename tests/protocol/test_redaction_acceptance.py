"""When a redaction takes effect: room version 3, "Handling redactions", and rule 11 before it."""

import pytest
from tests.protocol.room_script import ALICE, ALL_VERSIONS, BOB, CAROL, KEY, Room, build

from ranvier.protocol import events
from ranvier.protocol.events import Event
from ranvier.protocol.power_levels import power_levels_of
from ranvier.protocol.redaction_acceptance import takes_effect
from ranvier.protocol.signing import SigningKey

TWO = SigningKey("two.example", "ed25519:2", b"2" * 32)
DAVE = "@dave:two.example"

every_version = pytest.mark.parametrize("version", ALL_VERSIONS)


def redaction(room: Room, target: Event, sender: str) -> Event:
    signer = KEY if sender.endswith(":one.example") else TWO
    return room.event("m.room.redaction", sender=sender, redacts=target.event_id, signer=signer)


def is_applied(room: Room, event: Event, target: Event) -> bool:
    return takes_effect(
        event, target, power_levels_of(room.create, room.state.get(("m.room.power_levels", "")))
    )


@every_version
def test_who_has_the_power_redacts_all(version: str) -> None:
    room = Room(version)
    room.levels(users={} if room.version.creators_have_infinite_power else {ALICE: 100}, redact=60)
    target = room.event("m.room.message", sender=CAROL, signer=TWO)
    assert is_applied(room, redaction(room, target, ALICE), target)
    assert not is_applied(room, redaction(room, target, BOB), target)


@every_version
def test_a_servers_users_redact_each_other(version: str) -> None:
    room = Room(version)
    target = room.event("m.room.message", sender=CAROL, signer=TWO)
    assert is_applied(room, redaction(room, target, DAVE), target)
    assert is_applied(room, redaction(room, target, CAROL), target)


def test_before_version_3_the_servers_of_the_event_ids_count() -> None:
    room = Room("2")
    target = room.event("m.room.message", sender=CAROL, signer=TWO)
    moved = Event("$x:one.example", room.version, {**target.pdu, "event_id": "$x:one.example"})
    assert not is_applied(
        room, room.event("m.room.redaction", sender=DAVE, redacts=moved.event_id, signer=TWO), moved
    )
    assert is_applied(room, redaction(room, moved, BOB), moved)


@every_version
def test_it_takes_effect_on_the_named_event_of_its_own_room_only(version: str) -> None:
    room = Room(version)
    target = room.event("m.room.message")
    other = room.event("m.room.message", {"body": "other"})
    elsewhere = build(room.version, room_id="!elsewhere:one.example", sender=ALICE)
    assert is_applied(room, redaction(room, target, ALICE), target)
    assert not is_applied(room, redaction(room, other, ALICE), target)
    assert not is_applied(room, redaction(room, elsewhere, ALICE), elsewhere)
    assert not is_applied(room, room.event("m.room.redaction"), target)
    assert not is_applied(room, room.event("m.room.message", {"redacts": target.event_id}), target)


@every_version
def test_a_redacted_redaction_of_an_old_version_names_nothing(version: str) -> None:
    room = Room(version)
    target = room.event("m.room.message")
    redacted = events.redacted(redaction(room, target, ALICE))
    assert is_applied(room, redacted, target) is room.version.redacts_in_content
