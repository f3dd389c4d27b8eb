"""Relationships between events: Client-Server API, "Forming relationships between events" and its modules."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.protocol.sent_events import ALICE, BOB, make_event

from ranvier.protocol.events import Event
from ranvier.protocol.relations import (
    Relation,
    ThreadSummary,
    annotation_identity,
    apply_edit,
    bundle_relations,
    find_thread,
    is_annotatable,
    is_valid_edit,
    latest_edit,
    may_root_thread,
    participated,
    relation_of,
    replied_event_of,
    thread_root_of,
)


def relating(rel_type: str, event_id: str = "$original", **more: Any) -> dict[str, Any]:
    return {"m.relates_to": {"rel_type": rel_type, "event_id": event_id, **more}}


ORIGINAL = make_event(content={"body": "I really like cake", "msgtype": "m.text"}, event_id="$original")
NEW_CONTENT = {"body": "I really like *chocolate* cake", "msgtype": "m.text"}


def make_edit(event_id: str = "$edit", **more: Any) -> Event:
    content = {"body": "* cake", "m.new_content": NEW_CONTENT, **relating("m.replace")}
    return make_event(**{"content": content, "event_id": event_id, **more})


def test_a_relationship_names_its_type_and_parent() -> None:
    assert relation_of(relating("org.example.relationship")) == Relation(
        "org.example.relationship", "$original"
    )
    assert relation_of(relating("m.annotation", key="👍")) == Relation("m.annotation", "$original", "👍")


@pytest.mark.parametrize(
    "relates_to",
    [
        None,
        [],
        "m.thread",
        {"rel_type": "m.thread"},
        {"event_id": "$original"},
        {"rel_type": 3, "event_id": "$original"},
        {"rel_type": "", "event_id": "$original"},
        {"rel_type": "x" * 256, "event_id": "$original"},
        {"rel_type": "m.thread", "event_id": "original"},
        {"rel_type": "m.thread", "event_id": "$"},
        {"rel_type": "m.thread", "event_id": "$" + "x" * 255},
        {"rel_type": "m.thread", "event_id": None},
        {"rel_type": "m.annotation", "event_id": "$original"},
        {"rel_type": "m.annotation", "event_id": "$original", "key": 3},
        {"m.in_reply_to": {"event_id": "$original"}},
    ],
)
def test_what_has_not_the_form_of_a_relationship_is_none(relates_to: Any) -> None:
    assert relation_of({"m.relates_to": relates_to}) is None
    assert relation_of({}) is None


JUNK = st.sampled_from(
    [None, True, 3, "", "$x", "m.thread", "m.replace", "m.annotation", [], {}, ["$x"], {"a": 1}]
)
RELATES_TO = st.one_of(
    JUNK,
    st.fixed_dictionaries(
        {},
        optional={
            "rel_type": JUNK,
            "event_id": JUNK,
            "key": JUNK,
            "m.in_reply_to": st.one_of(JUNK, st.fixed_dictionaries({"event_id": JUNK})),
        },
    ),
)


@given(st.fixed_dictionaries({}, optional={"m.relates_to": RELATES_TO, "m.new_content": JUNK, "body": JUNK}))
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_content_is_too_strange_to_be_read(content: dict[str, Any]) -> None:
    relation = relation_of(content)
    assert relation is None or relation.event_id.startswith("$")
    replied = replied_event_of(content)
    assert replied is None or replied.startswith("$")
    assert isinstance(is_valid_edit(ORIGINAL, make_event(content=content)), bool)
    apply_edit(ORIGINAL.content, content)


def test_a_reply_forms_no_relationship_of_its_own() -> None:
    reply = {"m.relates_to": {"m.in_reply_to": {"event_id": "$original"}}}
    assert replied_event_of(reply) == "$original"
    assert may_root_thread(reply)


def test_a_thread_may_hold_a_reply() -> None:
    content = relating(
        "m.thread", "$root", **{"m.in_reply_to": {"event_id": "$target"}, "is_falling_back": True}
    )
    assert replied_event_of(content) == "$target"
    assert thread_root_of(content) == "$root"
    assert not may_root_thread(content)


@pytest.mark.parametrize("event_id", [None, 3, "target", "$" + "x" * 300])
def test_a_reply_to_what_is_no_event_is_none(event_id: Any) -> None:
    assert replied_event_of({"m.relates_to": {"m.in_reply_to": {"event_id": event_id}}}) is None
    assert replied_event_of({"m.relates_to": {"m.in_reply_to": event_id}}) is None


def test_the_thread_of_an_event_is_found_by_its_relationships() -> None:
    relations = {
        "$in": Relation("m.thread", "$root"),
        "$edit": Relation("m.replace", "$in"),
        "$reaction": Relation("m.annotation", "$edit"),
        "$far": Relation("m.reference", "$reaction"),
        "$reaction_to_root": Relation("m.annotation", "$root"),
        "$loop": Relation("m.reference", "$loop"),
    }
    threads = {
        event_id: find_thread(event_id, relations.get) for event_id in [*relations, "$root", "$unknown"]
    }
    assert threads == {
        "$in": "$root",
        "$edit": "$root",
        "$reaction": "$root",
        "$far": "main",
        "$reaction_to_root": "main",
        "$loop": "main",
        "$root": "main",
        "$unknown": "main",
    }


def test_an_edit_by_the_same_sender_is_valid() -> None:
    assert is_valid_edit(ORIGINAL, make_edit())


@pytest.mark.parametrize(
    "wrong",
    [
        {"sender": BOB},
        {"room_id": "!other:example.org"},
        {"type": "m.sticker"},
        {"state_key": ""},
        {"content": {"m.new_content": NEW_CONTENT}},
        {"content": {"m.new_content": NEW_CONTENT, **relating("m.replace", "$other")}},
        {"content": {"m.new_content": NEW_CONTENT, **relating("m.reference")}},
        {"content": {"body": "* cake", **relating("m.replace")}},
        {"content": {"m.new_content": "cake", **relating("m.replace")}},
    ],
)
def test_an_edit_that_breaks_a_rule_is_ignored(wrong: dict[str, Any]) -> None:
    edit = make_edit(**wrong)
    assert not is_valid_edit(ORIGINAL, edit)
    assert latest_edit(ORIGINAL, [edit]) is None


def test_neither_an_edit_nor_a_state_event_can_be_edited() -> None:
    edited = make_event(content=relating("m.replace", "$first"), event_id="$original")
    assert not is_valid_edit(edited, make_edit())
    state = make_event(content={}, state_key="", event_id="$original")
    assert not is_valid_edit(state, make_edit())
    in_thread = make_event(content=relating("m.thread", "$root"), event_id="$original")
    assert is_valid_edit(in_thread, make_edit())


def test_the_new_content_of_an_encrypted_edit_is_inside() -> None:
    original = make_event("m.room.encrypted", {"ciphertext": "x"}, event_id="$original")
    edit = make_edit(type="m.room.encrypted", content={"ciphertext": "y", **relating("m.replace")})
    assert is_valid_edit(original, edit)
    assert not is_valid_edit(original, make_edit())


def test_the_latest_edit_is_the_newest_and_then_the_last_by_name() -> None:
    edits = [
        make_edit("$b", origin_server_ts=2),
        make_edit("$c", origin_server_ts=2),
        make_edit("$a", origin_server_ts=2),
        make_edit("$z", origin_server_ts=1),
        make_edit("$y", origin_server_ts=9, sender=BOB),
    ]
    for order in (edits, edits[::-1]):
        latest = latest_edit(ORIGINAL, order)
        assert latest is not None
        assert latest.event_id == "$c"
    assert latest_edit(ORIGINAL, []) is None


def test_an_edit_overwrites_all_but_the_relationship() -> None:
    original = {"body": "cake", "formatted_body": "<b>cake</b>", **relating("m.thread", "$root")}
    edit = {
        "body": "*",
        "m.new_content": {**NEW_CONTENT, **relating("m.reference", "$x")},
        **relating("m.replace"),
    }
    assert apply_edit(original, edit) == {**NEW_CONTENT, **relating("m.thread", "$root")}
    assert apply_edit({"body": "cake"}, edit) == NEW_CONTENT
    assert apply_edit({"body": "cake"}, {"body": "lie"}) == {"body": "cake"}


def test_the_same_annotation_by_the_same_user_counts_once() -> None:
    reaction = make_event("m.reaction", relating("m.annotation", key="👍"), sender=BOB)
    assert annotation_identity(reaction) == ("$original", BOB, "m.reaction", "👍")
    assert annotation_identity(ORIGINAL) is None
    assert is_annotatable(relating("m.thread"))
    assert not is_annotatable(reaction.content)
    assert not is_annotatable(relating("m.replace"))


def test_aggregations_are_bundled_by_type() -> None:
    edit = {"event_id": "$edit"}
    thread = ThreadSummary({"event_id": "$latest"}, 7, True)
    assert bundle_relations(ORIGINAL, edit=edit, thread=thread, references=["$one", "$two"]) == {
        "m.replace": edit,
        "m.thread": {"latest_event": {"event_id": "$latest"}, "count": 7, "current_user_participated": True},
        "m.reference": {"chunk": [{"event_id": "$one"}, {"event_id": "$two"}]},
    }
    assert bundle_relations(ORIGINAL) == {}


def test_a_redacted_event_shows_no_edit() -> None:
    bundle = bundle_relations(ORIGINAL, redacted=True, edit={"event_id": "$edit"}, references=["$one"])
    assert list(bundle) == ["m.reference"]


def test_a_state_event_shows_no_aggregations() -> None:
    assert bundle_relations(make_event("m.room.topic", {}, state_key=""), references=["$one"]) == {}


def test_who_wrote_the_root_or_in_the_thread_took_part() -> None:
    assert participated(ALICE, ALICE, set())
    assert participated(ALICE, BOB, {ALICE})
    assert not participated(ALICE, BOB, {BOB})
