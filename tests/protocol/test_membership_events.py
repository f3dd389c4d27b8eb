"""Membership events that servers hand each other: `send_join`, `send_leave`, `send_knock`, `invite`."""

from typing import Any

import pytest
from tests.protocol.room_script import ALICE, ALL_VERSIONS, BOB, CAROL, Room

from ranvier.protocol.membership_events import check_handed_in, check_invite, read_invite_state
from ranvier.protocol.refusal import Refusal
from ranvier.protocol.room_versions import ROOM_VERSIONS

every_version = pytest.mark.parametrize("version", ALL_VERSIONS)


def refused(*arguments: Any, **named: Any) -> None:
    check, *rest = arguments
    with pytest.raises(Refusal) as refusal:
        check(*rest, **named)
    assert refusal.value.errcode == "M_INVALID_PARAM"


@every_version
@pytest.mark.parametrize("membership", ["join", "leave", "knock"])
def test_a_server_hands_in_its_own_users_memberships_only(version: str, membership: str) -> None:
    room = Room(version)
    place = {"room_id": room.create.room_id, "origin": "two.example"}

    def event(
        type: str = "m.room.member", is_now: Any = membership, sender: str = CAROL, key: str = CAROL
    ) -> Any:
        return room.event(type, {"membership": is_now}, sender=sender, state_key=key)

    check_handed_in(event(), membership, **place)
    refused(check_handed_in, event(type="m.room.name"), membership, **place)
    refused(check_handed_in, event(is_now="invite"), membership, **place)
    refused(check_handed_in, event(is_now=None), membership, **place)
    refused(check_handed_in, event(sender=ALICE, key=ALICE), membership, **place)
    refused(check_handed_in, event(key="@dave:two.example"), membership, **place)
    refused(check_handed_in, event(), membership, **{**place, "room_id": "!other:one.example"})


@every_version
def test_an_invite_is_from_the_origin_to_a_user_of_ours(version: str) -> None:
    room = Room(version)
    place = {"room_id": room.create.room_id, "origin": "one.example", "server_name": "two.example"}

    def event(is_now: str = "invite", sender: str = ALICE, key: str = CAROL) -> Any:
        return room.event("m.room.member", {"membership": is_now}, sender=sender, state_key=key)

    check_invite(event(), **place)
    refused(check_invite, event(is_now="join"), **place)
    refused(check_invite, event(sender=CAROL), **place)
    refused(check_invite, event(key=BOB), **place)
    refused(check_invite, event(key="carol:two.example"), **place)
    refused(check_invite, room.event("m.room.member", {"membership": "invite"}), **place)
    refused(check_invite, event(), **{**place, "room_id": "!other:one.example"})


@every_version
def test_an_invites_state_is_of_the_room_and_has_its_create_event(version: str) -> None:
    room = Room(version)
    room.join_rule("knock")
    state = [event.pdu for event in room.state.values()]
    found = read_invite_state(state, room.version, room.create.room_id)
    assert [event.event_id for event in found] == [event.event_id for event in room.state.values()]
    refused(read_invite_state, state[1:], room.version, room.create.room_id)
    refused(read_invite_state, state, room.version, "!other:one.example")
    refused(read_invite_state, [*state, room.event("m.room.message").pdu], room.version, room.create.room_id)
    stripped = {"type": "m.room.name", "state_key": "", "sender": ALICE, "content": {}}
    for bad in (None, {}, "x", [None], [*state, stripped]):
        refused(read_invite_state, bad, room.version, room.create.room_id)


def test_the_room_of_a_version_12_create_event_is_its_own_id() -> None:
    room, other = Room("12"), Room("12", creator=CAROL)
    assert room.create.room_id != other.create.room_id
    refused(read_invite_state, [other.create.pdu], ROOM_VERSIONS["12"], room.create.room_id)
