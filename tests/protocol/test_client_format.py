"""Events as clients get them: Client-Server API, "Room event format"."""

from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.protocol.sent_events import ALICE, ROOM, make_event, make_message

from ranvier.protocol.client_format import (
    client_event,
    client_json,
    full_json,
    prune_stripped_state,
    splice_room_id,
    splice_unsigned,
    strip_state,
    unsigned_json,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53) + 1, 2**53 - 1), TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=10,
)


def test_a_message_has_the_properties_of_the_specification_and_no_others() -> None:
    event = make_message("hi", depth=3, unsigned={"age": 7}, origin="example.org", event_id="$x", surplus=1)
    assert client_event(event) == {
        "content": {"msgtype": "m.text", "body": "hi"},
        "event_id": "$x",
        "origin_server_ts": 1_432_735_824_653,
        "sender": ALICE,
        "type": "m.room.message",
    }


def test_a_state_event_shows_its_state_key_even_if_empty() -> None:
    assert client_event(make_event("m.room.topic", {}, state_key=""))["state_key"] == ""
    assert "state_key" not in client_event(make_message("x"))


@pytest.mark.parametrize("version", ["1", "10", "11"])
def test_a_redaction_names_its_target_in_both_places_in_every_version(version: str) -> None:
    content = {"reason": "Spamming"}
    if version == "11":
        event = make_event("m.room.redaction", {**content, "redacts": "$target"}, version=version)
    else:
        event = make_event("m.room.redaction", content, version=version, redacts="$target")
    shaped = client_event(event)
    assert shaped["redacts"] == "$target"
    assert shaped["content"] == {"reason": "Spamming", "redacts": "$target"}
    assert event.content == event.pdu["content"]
    assert ("redacts" in event.content) == (version == "11")


def test_a_redaction_takes_its_target_from_where_its_version_keeps_it() -> None:
    misplaced = make_event("m.room.redaction", {}, version="11", redacts="$target")
    assert "redacts" not in client_event(misplaced)
    old = make_event("m.room.redaction", {"redacts": "$false"}, version="10", redacts="$true")
    assert client_event(old)["redacts"] == client_event(old)["content"]["redacts"] == "$true"


def test_redacts_in_another_event_means_nothing() -> None:
    assert "redacts" not in client_event(make_message("x", version="10", redacts="$target"))


def test_the_json_is_made_once() -> None:
    event = make_message("hi")
    assert client_json(event) is client_json(event)
    assert event.client_json == client_json(event)


@given(st.dictionaries(TEXT, JSON, max_size=4), st.dictionaries(TEXT, JSON, max_size=3), TEXT, st.booleans())
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_spliced_bytes_equal_the_event_shaped_at_once(
    content: dict[str, Any], unsigned: dict[str, Any], room: str, is_state: bool
) -> None:
    event = make_event("m.any", content, state_key="" if is_state else None, room_id="!" + room)
    shaped = client_event(event)
    with_unsigned = splice_unsigned(client_json(event), orjson.dumps(unsigned))
    assert orjson.loads(client_json(event)) == shaped
    assert orjson.loads(with_unsigned) == {**shaped, "unsigned": unsigned}
    assert orjson.loads(splice_room_id(client_json(event), event.room_id)) == {
        **shaped,
        "room_id": "!" + room,
    }
    whole = {**shaped, "room_id": "!" + room, "unsigned": unsigned}
    assert orjson.loads(splice_room_id(with_unsigned, event.room_id)) == whole
    assert orjson.loads(full_json(event, orjson.dumps(unsigned))) == whole
    assert orjson.loads(full_json(event)) == {**shaped, "room_id": "!" + room}


def test_unsigned_says_only_what_is_known() -> None:
    assert unsigned_json() is None
    assert unsigned_json(relations={}) is None
    redaction = full_json(make_event("m.room.redaction", {"redacts": "$x"}))
    json = unsigned_json(
        age=1257,
        transaction_id="t1",
        membership="join",
        prev_content={},
        replaces_state="$before",
        redacted_because=redaction,
        relations={"m.replace": orjson.Fragment(client_json(make_message("new")))},
        room_state=("invite_room_state", [{"type": "m.room.create"}]),
    )
    assert json is not None
    assert orjson.loads(json) == {
        "age": 1257,
        "transaction_id": "t1",
        "membership": "join",
        "prev_content": {},
        "replaces_state": "$before",
        "redacted_because": {
            **client_event(make_event("m.room.redaction", {"redacts": "$x"})),
            "room_id": ROOM,
        },
        "m.relations": {"m.replace": client_event(make_message("new"))},
        "invite_room_state": [{"type": "m.room.create"}],
    }


def test_an_age_of_nothing_is_still_told() -> None:
    assert unsigned_json(age=0) == b'{"age":0}'


NAME = {
    "type": "m.room.name",
    "sender": "@bob:example.org",
    "state_key": "",
    "content": {"name": "Example Room"},
}


def test_stripped_state_has_four_properties() -> None:
    event = make_event("m.room.name", {"name": "Example Room"}, sender="@bob:example.org", state_key="")
    assert strip_state(event) == NAME


def test_stripped_state_from_elsewhere_is_pruned() -> None:
    assert prune_stripped_state({**NAME, "origin_server_ts": 3, "signatures": {}}) == NAME


@pytest.mark.parametrize(
    "received", [None, [], {}, {**NAME, "content": None}, {**NAME, "sender": 3}, {**NAME, "state_key": None}]
)
def test_what_is_no_stripped_state_is_dropped(received: Any) -> None:
    assert prune_stripped_state(received) is None
