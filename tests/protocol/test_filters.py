"""Filters: Client-Server API, "Filtering"."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.protocol.sent_events import ALICE, BOB, ROOM, make_event, make_message
from tests.protocol.test_globs import naive_match

from ranvier.protocol.events import Event
from ranvier.protocol.filter_parsing import MAX_LIMIT, parse_filter, parse_room_event_filter
from ranvier.protocol.filters import EVERYTHING, NO_FILTER, FieldProjection
from ranvier.protocol.refusal import Refusal

OTHER = "!other:example.org"
EXAMPLE = {
    "room": {
        "state": {"types": ["m.room.*"], "not_rooms": ["!726s6s6q:example.com"]},
        "timeline": {
            "limit": 10,
            "types": ["m.room.message"],
            "not_rooms": ["!726s6s6q:example.com"],
            "not_senders": ["@spam:example.com"],
        },
        "ephemeral": {
            "types": ["m.receipt", "m.typing"],
            "not_rooms": ["!726s6s6q:example.com"],
            "not_senders": ["@spam:example.com"],
        },
    },
    "presence": {"types": ["m.presence"], "not_senders": ["@alice:example.com"]},
    "event_format": "client",
    "event_fields": ["type", "content", "sender"],
}


def wants(definition: dict[str, Any], event: Event) -> bool:
    return parse_room_event_filter(definition).wants_event(event)


def test_the_example_of_the_specification_means_what_it_says() -> None:
    parsed = parse_filter(EXAMPLE)
    assert parsed.definition == EXAMPLE
    timeline = parsed.room.timeline
    assert timeline.limit_or(20) == 10
    assert timeline.wants_event(make_message("x"))
    assert not timeline.wants_event(make_message("x", sender="@spam:example.com"))
    assert not timeline.wants_event(make_event("m.room.topic"))
    assert not timeline.wants_room("!726s6s6q:example.com")
    assert timeline.wants_room(ROOM)
    assert parsed.room.state.wants_event(make_event("m.room.topic", state_key=""))
    assert parsed.room.ephemeral.wants("m.typing", None, {})
    assert not parsed.room.ephemeral.wants("m.other", None, {})
    assert parsed.presence.wants("m.presence", "@bob:example.com", {})
    assert not parsed.presence.wants("m.presence", "@alice:example.com", {})
    assert parsed.account_data is EVERYTHING
    assert parsed.event_fields is not None


def test_an_empty_filter_wants_everything_but_rooms_left() -> None:
    parsed = parse_filter({})
    assert parsed == NO_FILTER
    assert parsed.room.timeline.wants_all()
    assert not parsed.room.timeline.wants_none()
    assert not parsed.room.include_leave
    assert parsed.room.timeline.limit_or(10) == 10


def test_unknown_keys_are_kept() -> None:
    definition = {"org.example.new": {"deep": [1]}, "room": {"timeline": {"org.example.new": 3}}}
    assert parse_filter(definition).definition == definition


def test_the_filter_of_rooms_covers_all_parts() -> None:
    room = parse_filter({"room": {"rooms": [ROOM, OTHER], "not_rooms": [OTHER], "include_leave": True}}).room
    assert (room.wants_room(ROOM), room.wants_room(OTHER), room.wants_room("!third:x")) == (
        True,
        False,
        False,
    )
    assert room.include_leave


@pytest.mark.parametrize(
    "definition", [{"types": []}, {"senders": []}, {"rooms": []}, {"limit": 0}, {"related_by_rel_types": []}]
)
def test_an_empty_list_wants_nothing(definition: dict[str, Any]) -> None:
    assert parse_room_event_filter(definition).wants_none()


def test_the_excluding_list_wins() -> None:
    both = {"senders": [ALICE, BOB], "not_senders": [ALICE], "types": ["m.*"], "not_types": ["m.room.topic"]}
    assert not wants(both, make_message("x", sender=ALICE))
    assert wants(both, make_message("x", sender=BOB))
    assert not wants(both, make_event("m.room.topic", sender=BOB))


@pytest.mark.parametrize(
    ("pattern", "type", "matches"),
    [
        ("m.room.*", "m.room.message", True),
        ("m.room.*", "m.reaction", False),
        ("*", "anything", True),
        ("*.message", "m.room.message", True),
        ("m.*.message", "m.room.message", True),
        ("m.room.message", "M.room.message", False),
        ("m.room.messag?", "m.room.message", False),
        ("m.?*", "m.room", False),
    ],
)
def test_only_the_star_is_a_wildcard_in_types(pattern: str, type: str, matches: bool) -> None:
    assert wants({"types": [pattern]}, make_event(type)) is matches
    assert wants({"not_types": [pattern]}, make_event(type)) is not matches


def test_a_url_in_the_content_can_be_asked_for_or_excluded() -> None:
    image, text = make_event(content={"url": "mxc://example.org/x"}), make_message("x")
    assert (wants({"contains_url": True}, image), wants({"contains_url": True}, text)) == (True, False)
    assert (wants({"contains_url": False}, image), wants({"contains_url": False}, text)) == (False, True)
    assert (wants({}, image), wants({}, text)) == (True, True)


def test_flags_are_off_unless_given() -> None:
    names = ("lazy_load_members", "include_redundant_members", "unread_thread_notifications")
    for name in names:
        parsed = parse_room_event_filter({name: True})
        assert [getattr(parsed, other) for other in names] == [other == name for other in names]


def test_a_room_filters_keys_mean_nothing_where_there_are_no_rooms() -> None:
    parsed = parse_filter({"presence": {"rooms": [], "contains_url": True, "limit": 5}})
    assert parsed.presence.wants("m.presence", ALICE, {})
    assert parsed.presence.limit == 5


def test_parents_are_wanted_for_a_child_that_fits_in_both() -> None:
    parsed = parse_room_event_filter({"related_by_senders": [ALICE], "related_by_rel_types": ["m.thread"]})
    assert parsed.asks_for_children()
    assert parsed.wants_parent_of([("m.replace", BOB), ("m.thread", ALICE)])
    assert not parsed.wants_parent_of([("m.thread", BOB), ("m.replace", ALICE)])
    assert not parsed.wants_parent_of([])
    assert parse_room_event_filter({}).wants_parent_of([])
    assert parse_room_event_filter({"related_by_rel_types": ["m.thread"]}).wants_parent_of(
        [("m.thread", BOB)]
    )


def test_a_limit_is_bounded() -> None:
    assert parse_room_event_filter({"limit": 10**12}).limit == MAX_LIMIT


@pytest.mark.parametrize(
    ("definition", "errcode"),
    [
        ([], "M_BAD_JSON"),
        (None, "M_BAD_JSON"),
        ({"room": []}, "M_BAD_JSON"),
        ({"room": {"timeline": 3}}, "M_BAD_JSON"),
        ({"presence": []}, "M_BAD_JSON"),
        ({"event_format": "xml"}, "M_INVALID_PARAM"),
        ({"event_format": ["client"]}, "M_INVALID_PARAM"),
        ({"event_fields": "content"}, "M_BAD_JSON"),
        ({"event_fields": [3]}, "M_BAD_JSON"),
        ({"event_fields": ["a"] * 201}, "M_INVALID_PARAM"),
        ({"room": {"rooms": ["#alias:example.org"]}}, "M_INVALID_PARAM"),
        ({"room": {"include_leave": "yes"}}, "M_BAD_JSON"),
        ({"room": {"timeline": {"limit": "10"}}}, "M_BAD_JSON"),
        ({"room": {"timeline": {"limit": True}}}, "M_BAD_JSON"),
        ({"room": {"timeline": {"limit": 1.5}}}, "M_BAD_JSON"),
        ({"room": {"timeline": {"limit": -1}}}, "M_INVALID_PARAM"),
        ({"room": {"timeline": {"types": "m.room.message"}}}, "M_BAD_JSON"),
        ({"room": {"timeline": {"types": ["x" * 513]}}}, "M_INVALID_PARAM"),
        ({"room": {"timeline": {"types": ["x"] * 201}}}, "M_INVALID_PARAM"),
        ({"room": {"timeline": {"lazy_load_members": 1}}}, "M_BAD_JSON"),
        ({"room": {"timeline": {"contains_url": "no"}}}, "M_BAD_JSON"),
        ({"room": {"state": {"senders": ["alice"]}}}, "M_INVALID_PARAM"),
        ({"presence": {"senders": ["@alice;example.org"]}}, "M_INVALID_PARAM"),
        ({"account_data": {"not_senders": [None]}}, "M_BAD_JSON"),
        ({"room": {"ephemeral": {"not_rooms": ["room"]}}}, "M_INVALID_PARAM"),
        ({"room": {"account_data": {"rooms": ["!r:x"] * 2001}}}, "M_INVALID_PARAM"),
    ],
)
def test_a_filter_that_can_not_be_is_refused_with_the_place(definition: Any, errcode: str) -> None:
    with pytest.raises(Refusal) as refused:
        parse_filter(definition)
    assert refused.value.errcode == errcode
    assert refused.value.error.endswith(".")


JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=4),
        st.sampled_from([ALICE, ROOM]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["room", "timeline", "types", "limit", "senders", "rooms", "event_fields", "contains_url"]
            ),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=10,
)


@given(JSON)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_is_sent_is_a_filter_or_refused(definition: Any) -> None:
    try:
        parse_filter(definition)
    except Refusal as refusal:
        assert refusal.errcode in ("M_BAD_JSON", "M_INVALID_PARAM")


TYPES = st.lists(st.text("a.*?", max_size=5), max_size=3)
SENDERS = st.lists(st.sampled_from([ALICE, BOB]), max_size=2)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "types": TYPES,
            "not_types": TYPES,
            "senders": SENDERS,
            "not_senders": SENDERS,
            "contains_url": st.booleans(),
        },
    ),
    st.text("a.?", max_size=5),
    st.sampled_from([ALICE, BOB]),
    st.booleans(),
)
@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_filter_decides_as_the_specification_says(
    definition: dict[str, Any], type: str, sender: str, has_url: bool
) -> None:
    def listed(name: str) -> bool:
        return any(naive_match(pattern, type.replace("?", "q")) for pattern in asked(name))

    def asked(name: str) -> list[str]:
        return [pattern.replace("?", "q") for pattern in definition[name]]

    expected = (
        ("types" not in definition or listed("types"))
        and ("not_types" not in definition or not listed("not_types"))
        and ("senders" not in definition or sender in definition["senders"])
        and sender not in definition.get("not_senders", [])
        and definition.get("contains_url", has_url) == has_url
    )
    event = make_event(type, {"url": "mxc://x/y"} if has_url else {}, sender=sender)
    parsed = parse_room_event_filter(definition)
    assert parsed.wants_event(event) == expected
    if expected:
        assert not parsed.wants_none()
    else:
        assert not parsed.wants_all()


EVENT = {
    "type": "m.room.message",
    "sender": ALICE,
    "content": {"body": "hi", "m.relates_to": {"rel_type": "m.thread", "event_id": "$x"}, "a\\b": 1},
    "unsigned": {"age": 3},
}


@pytest.mark.parametrize(
    ("fields", "left"),
    [
        (["type"], {"type": "m.room.message"}),
        (["content.body"], {"content": {"body": "hi"}}),
        ([r"content.m\.relates_to.rel_type"], {"content": {"m.relates_to": {"rel_type": "m.thread"}}}),
        ([r"content.a\\b"], {"content": {"a\\b": 1}}),
        (["content.m.relates_to"], {}),
        (["content.body", "content"], {"content": EVENT["content"]}),
        (["content", "content.body"], {"content": EVENT["content"]}),
        (["content.body.deeper", "absent", "type.x"], {}),
        (["unsigned.age", "sender"], {"unsigned": {"age": 3}, "sender": ALICE}),
    ],
)
def test_only_the_fields_asked_for_are_left(fields: list[str], left: dict[str, Any]) -> None:
    assert FieldProjection(fields).project(EVENT) == left


def test_no_fields_asked_for_are_all_fields() -> None:
    assert parse_filter({"event_fields": []}).event_fields is None


def test_events_are_told_apart_by_how_they_relate_to_others() -> None:
    """MSC3874."""
    plain = make_message("x")
    threaded, referring = (
        make_event("m.room.message", content={"m.relates_to": {"rel_type": kind, "event_id": "$root"}})
        for kind in ("m.thread", "m.reference")
    )
    events = (plain, threaded, referring)

    def fitting(**definition: list[str]) -> list[bool]:
        named = {f"org.matrix.msc3874.{name}": value for name, value in definition.items()}
        return [wants(named, event) for event in events]

    assert fitting(rel_types=["m.thread"]) == [False, True, False]
    assert fitting(rel_types=["m.thread", "m.reference"]) == [False, True, True]
    assert fitting(not_rel_types=["m.thread"]) == [True, False, True]
    assert fitting(rel_types=["m.thread"], not_rel_types=["m.thread"]) == [False, False, False]
    assert not parse_room_event_filter({"org.matrix.msc3874.rel_types": ["m.thread"]}).wants_all()
    assert parse_room_event_filter({"org.matrix.msc3874.rel_types": []}).wants_none()
