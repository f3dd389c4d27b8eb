"""Which state an event cites as what authorises it."""

import pytest
from tests.protocol.room_script import ALICE, ALL_VERSIONS, BOB, Room, rule_of, versions_with

from ranvier.protocol.auth_selection import auth_types, check_auth_events
from ranvier.protocol.events import Event
from ranvier.protocol.room_versions import ROOM_VERSIONS

JOIN = {"membership": "join"}


@pytest.mark.parametrize("version", ALL_VERSIONS)
@pytest.mark.parametrize("state_key", [None, "", BOB])
def test_what_is_no_membership_cites_none_but_the_senders(version: str, state_key: str | None) -> None:
    create = [("m.room.create", "")] if ROOM_VERSIONS[version].create_is_auth_event else []
    selected = auth_types(ROOM_VERSIONS[version], "m.room.topic", ALICE, state_key, JOIN)
    assert selected == [("m.room.power_levels", ""), ("m.room.member", ALICE), *create]


@pytest.mark.parametrize("version", versions_with(restricted_joins=True))
@pytest.mark.parametrize("authoriser", [ALICE, 5, None, ["@a:b"]])
def test_an_authoriser_is_cited_once_and_only_if_it_is_text(version: str, authoriser: object) -> None:
    content = {**JOIN, "join_authorised_via_users_server": authoriser}
    selected = auth_types(ROOM_VERSIONS[version], "m.room.member", ALICE, ALICE, content)
    assert [key for key in selected if key[0] == "m.room.member"] == [("m.room.member", ALICE)]


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_more_than_255_bytes_in_255_characters_are_rejected_where_they_were_not_dropped(version: str) -> None:
    room = Room(version)
    cited = {event.event_id: event for event in room.state.values()}
    fits = room.event("x", state_key="ä" * 127, auth_events=[])
    too_long = Event(fits.event_id, fits.room_version, {**fits.pdu, "state_key": "ä" * 128})
    rejected = rule_of(check_auth_events(too_long, cited)) == "0"
    assert rejected is not room.version.strict_byte_limits
    assert rule_of(check_auth_events(fits, cited)) != "0"
