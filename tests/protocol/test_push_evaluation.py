"""Whom an event notifies: Client-Server API, "Push rules"."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.protocol.sent_events import ALICE, BOB, ROOM, make_event, make_message
from tests.protocol.test_globs import naive_match, naive_word_match

from ranvier.protocol import push_rule_changes as changes
from ranvier.protocol.events import Event
from ranvier.protocol.push_audience import concerned_users, default_verdict, find_differing
from ranvier.protocol.push_conditions import PushFacts
from ranvier.protocol.push_evaluation import DEFAULT_RULE_SET, SILENCE, Verdict, compile_rules
from ranvier.protocol.push_rules import KINDS, NO_CHANGES, PushRules, ruleset_json

NOTIFY = ("notify",)
SOUND = {"set_tweak": "sound", "value": "default"}
HIGHLIGHT = {"set_tweak": "highlight"}


def facts_of(event: Event, *, members: int = 10, may_notify: bool = False) -> PushFacts:
    return PushFacts(event, members, lambda key: may_notify and key == "room")


def judge(event: Event, rules: PushRules = NO_CHANGES, *, name: str | None = None, **facts: Any) -> Verdict:
    return compile_rules(rules).evaluate(facts_of(event, **facts), BOB, name)


def with_rule(kind: str, rule_id: str, actions: list[Any] | None = None, **more: Any) -> PushRules:
    return changes.put_rule(NO_CHANGES, kind, rule_id, {"actions": actions or [], **more})


def mentioning(*user_ids: Any, **more: Any) -> dict[str, Any]:
    return {"msgtype": "m.text", "body": "hi", "m.mentions": {"user_ids": list(user_ids)}, **more}


def test_a_message_notifies_without_sound_or_highlight() -> None:
    verdict = judge(make_message("hello"))
    assert (verdict.notify, verdict.highlight, verdict.actions) == (True, False, NOTIFY)
    assert verdict.rule_id == ".m.rule.message"


def test_ones_own_message_does_not_notify() -> None:
    assert judge(make_message("hello", sender=BOB)) is SILENCE


@pytest.mark.parametrize("type", ["m.room.message", "m.room.encrypted"])
def test_a_message_between_two_sounds(type: str) -> None:
    event = make_event(type, {"body": "x"})
    assert judge(event, members=2).actions == ("notify", SOUND)
    assert judge(event, members=2).tweaks() == {"sound": "default"}
    assert judge(event, members=3).actions == NOTIFY


def test_a_mention_highlights_and_sounds() -> None:
    verdict = judge(make_event(content=mentioning("@carol:example.org", BOB)))
    assert verdict.actions == ("notify", SOUND, HIGHLIGHT)
    assert verdict.highlight
    assert verdict.tweaks() == {"sound": "default", "highlight": True}


@pytest.mark.parametrize(
    "mentions",
    [{"user_ids": [ALICE]}, {"user_ids": BOB}, {"user_ids": [[BOB], None]}, [BOB], None, {"room": BOB}],
)
def test_what_is_no_mention_does_not_highlight(mentions: Any) -> None:
    assert not judge(make_event(content={"body": "@bob", "m.mentions": mentions})).highlight


def test_a_name_in_the_body_is_no_mention() -> None:
    assert not judge(
        make_message("bob: Bobby, @bob:example.org @room"), name="Bobby", may_notify=True
    ).highlight


@pytest.mark.parametrize(
    ("room", "may_notify", "highlight"),
    [(True, True, True), (True, False, False), (1, True, False), ("true", True, False)],
)
def test_the_whole_room_is_mentioned_only_by_those_who_may(
    room: Any, may_notify: bool, highlight: bool
) -> None:
    event = make_event(content={"body": "x", "m.mentions": {"room": room}})
    assert judge(event, may_notify=may_notify).highlight is highlight


def test_a_mention_in_a_notice_is_suppressed() -> None:
    assert not judge(make_event(content=mentioning(BOB, msgtype="m.notice"))).notify


def test_an_edit_notifies_only_whom_it_mentions() -> None:
    relates_to = {"rel_type": "m.replace", "event_id": "$x"}
    assert not judge(make_event(content=mentioning(ALICE, **{"m.relates_to": relates_to}))).notify
    assert judge(make_event(content=mentioning(BOB, **{"m.relates_to": relates_to}))).highlight


def test_an_invite_notifies_the_invited_alone() -> None:
    invite = make_event("m.room.member", {"membership": "invite"}, state_key=BOB)
    assert judge(invite).actions == ("notify", SOUND)
    assert not DEFAULT_RULE_SET.evaluate(facts_of(invite), "@carol:example.org").notify
    assert not judge(make_event("m.room.member", {"membership": "join"}, state_key=BOB)).notify


def test_user_ids_that_differ_in_case_are_different_users() -> None:
    invite = make_event("m.room.member", {"membership": "invite"}, state_key=BOB.replace("bob", "Bob"))
    assert not judge(invite).notify


@pytest.mark.parametrize(
    ("type", "state_key", "notify", "highlight"),
    [
        ("m.room.tombstone", "", True, True),
        ("m.room.tombstone", None, False, False),
        ("m.reaction", None, False, False),
        ("m.room.server_acl", "", False, False),
        ("m.call.invite", None, True, False),
        ("m.room.topic", "", False, False),
    ],
)
def test_other_events_notify_as_the_predefined_rules_say(
    type: str, state_key: str | None, notify: bool, highlight: bool
) -> None:
    verdict = judge(make_event(type, {"body": "x"}, state_key=state_key))
    assert (verdict.notify, verdict.highlight) == (notify, highlight)


def test_the_master_rule_silences_even_own_rules() -> None:
    rules = with_rule("override", "mine", ["notify"])
    assert judge(make_message("x"), rules).rule_id == "mine"
    rules = changes.set_enabled(rules, "override", ".m.rule.master", True)
    assert judge(make_message("x"), rules).actions == ()


def test_a_disabled_rule_never_matches() -> None:
    rules = changes.set_enabled(with_rule("room", ROOM), "room", ROOM, False)
    assert judge(make_message("x"), rules).notify


def test_the_kinds_are_tried_in_their_order() -> None:
    rules = NO_CHANGES
    for kind, rule_id in (
        ("underride", "u"),
        ("sender", ALICE),
        ("room", ROOM),
        ("content", "c"),
        ("override", "o"),
    ):
        rules = changes.put_rule(rules, kind, rule_id, {"actions": [{"set_tweak": kind}], "pattern": "tea"})
    event = make_message("time for tea")
    for kind, rule_id in (
        ("override", "o"),
        ("content", "c"),
        ("room", ROOM),
        ("sender", ALICE),
        ("underride", "u"),
    ):
        assert judge(event, rules).actions == ({"set_tweak": kind},)
        rules = changes.delete_rule(rules, kind, rule_id)
    assert judge(event, rules).rule_id == ".m.rule.message"


def test_the_first_of_two_rules_that_match_decides() -> None:
    rules = with_rule("content", "tea", ["notify", HIGHLIGHT], pattern="tea")
    rules = changes.put_rule(rules, "content", "time", {"actions": [], "pattern": "time"}, after="tea")
    assert judge(make_message("It's time for tea"), rules).rule_id == "tea"
    rules = changes.put_rule(rules, "content", "tea", {"actions": ["notify"], "pattern": "tea"}, after="time")
    assert judge(make_message("It's time for tea"), rules).rule_id == "time"


@pytest.mark.parametrize(
    ("value", "highlight"),
    [({}, True), ({"value": True}, True), ({"value": False}, False), ({"value": "yes"}, False)],
)
def test_a_highlight_without_a_value_is_one(value: dict[str, Any], highlight: bool) -> None:
    rules = with_rule("room", ROOM, ["notify", {"set_tweak": "highlight", **value}])
    assert judge(make_message("x"), rules).highlight is highlight


def test_there_is_no_highlight_without_a_notification() -> None:
    assert not judge(make_message("x"), with_rule("room", ROOM, [HIGHLIGHT])).highlight


@pytest.mark.parametrize(
    ("key", "pattern", "matches"),
    [
        ("content.topic", "lunc?*", True),
        ("content.topic", "LUNCH*", True),
        ("content.topic", "lunc", False),
        ("content.topic", " lunch*", False),
        ("content.absent", "*", False),
        ("content.number", "*", False),
        ("content.body", "TEA", True),
        ("content.body", "te", False),
        ("content.body", "me*for", False),
        ("content.body", "for*tea", True),
        (r"content.m\.dotted", "yes", True),
        ("content.m.dotted", "yes", False),
        ("type", "m.room.*", True),
        ("type", "M.ROOM.TOPIC", True),
        ("type", "m.room", False),
        ("room_id", ROOM, True),
        ("room_id", "!other:example.org", False),
        ("sender", "@ALICE:*", True),
        ("state_key", "", True),
        ("event_id", "$event", True),
        ("unsigned.age", "*", False),
    ],
)
def test_event_match_compares_one_property(key: str, pattern: str, matches: bool) -> None:
    event = make_event(
        "m.room.topic",
        {"topic": "Lunch plans", "body": "time for tea", "number": 3, "m.dotted": "yes"},
        state_key="",
    )
    condition = {"kind": "event_match", "key": key, "pattern": pattern}
    assert (
        judge(event, with_rule("override", "x", ["notify"], conditions=[condition])).rule_id == "x"
    ) is matches


@pytest.mark.parametrize(
    ("kind", "key", "value", "matches"),
    [
        ("event_property_is", r"content.m\.federate", True, True),
        ("event_property_is", r"content.m\.federate", 1, False),
        ("event_property_is", r"content.m\.federate", "true", False),
        ("event_property_is", "content.null", None, True),
        ("event_property_is", "content.absent", None, False),
        ("event_property_is", "content.one", 1, True),
        ("event_property_is", "content.one", True, False),
        ("event_property_is", "content.float", 1, False),
        ("event_property_is", "content.Text", "Text", True),
        ("event_property_is", "content.Text", "text", False),
        ("event_property_contains", "content.list", "#myroom:example.com", True),
        ("event_property_contains", "content.list", ":example.com", False),
        ("event_property_contains", "content.list", 1, False),
        ("event_property_contains", "content.list", True, True),
        ("event_property_contains", "content.list", None, True),
        ("event_property_contains", "content.Text", "Text", False),
    ],
)
def test_properties_are_compared_exactly(kind: str, key: str, value: Any, matches: bool) -> None:
    content = {
        "m.federate": True,
        "null": None,
        "one": 1,
        "float": 1.0,
        "Text": "Text",
        "list": ["#myroom:example.com", True, None, {"a": 1}],
    }
    rules = with_rule("override", "x", ["notify"], conditions=[{"kind": kind, "key": key, "value": value}])
    assert (judge(make_event("org.example.any", content), rules).rule_id == "x") is matches


@pytest.mark.parametrize(
    ("body", "name", "matches"),
    [
        ("Hi Bob!", "bob", True),
        ("Hi Bobby!", "Bob", False),
        ("I love C*", "c*", True),
        ("I love C++", "c*", False),
        ("Hi !", "", False),
        ("Hi None", None, False),
        ("Hi Bob Smith.", "bob smith", True),
    ],
)
def test_a_display_name_is_found_literally(body: str, name: str | None, matches: bool) -> None:
    rules = with_rule("override", "x", ["notify"], conditions=[{"kind": "contains_display_name"}])
    assert compile_rules(rules).needs_display_name
    assert (judge(make_message(body), rules, name=name).rule_id == "x") is matches


@pytest.mark.parametrize(
    ("wanted", "counts"),
    [("2", {2}), ("==2", {2}), ("<2", {0, 1}), (">2", {3, 4}), ("<=2", {0, 1, 2}), (">=2", {2, 3, 4})],
)
def test_members_are_counted_as_the_condition_says(wanted: str, counts: set[int]) -> None:
    rules = with_rule("override", "x", ["notify"], conditions=[{"kind": "room_member_count", "is": wanted}])
    matched = {count for count in range(5) if judge(make_message("x"), rules, members=count).rule_id == "x"}
    assert matched == counts


def test_a_rule_with_an_unknown_condition_never_matches() -> None:
    conditions = [{"kind": "event_match", "key": "type", "pattern": "*"}, {"kind": "org.example.moon_phase"}]
    assert (
        judge(make_message("x"), with_rule("override", "x", conditions=conditions)).rule_id
        == ".m.rule.message"
    )


def test_a_rule_that_wants_two_types_at_once_never_matches() -> None:
    conditions = [
        {"kind": "event_match", "key": "type", "pattern": p} for p in ("m.room.topic", "m.room.message")
    ]
    assert (
        judge(make_message("x"), with_rule("override", "x", conditions=conditions)).rule_id
        == ".m.rule.message"
    )


def test_a_silenced_room_matters_in_that_room_alone() -> None:
    muted = {"kind": "event_match", "key": "room_id", "pattern": "!muted:x"}
    rules = with_rule("override", "!muted:x", conditions=[muted])
    rules = changes.put_rule(rules, "room", "!other:x", {"actions": []})
    rule_set = compile_rules(rules)
    assert [rule_set.may_differ_in(room) for room in ("!muted:x", "!other:x", ROOM)] == [True, True, False]
    assert compile_rules(with_rule("sender", ALICE)).may_differ_in(ROOM)
    assert compile_rules(with_rule("content", "x", pattern="x")).may_differ_in(ROOM)
    assert not DEFAULT_RULE_SET.may_differ_in(ROOM)


# A transcription of the specification's text that works on the rules as clients see them, without any haste.


def naive_property(event: dict[str, Any], key: str) -> Any:
    value: Any = event
    for name in key.replace(r"\.", "\0").split("."):
        if not isinstance(value, dict) or name.replace("\0", ".") not in value:
            return ...
        value = value[name.replace("\0", ".")]
    return value


def naive_condition(
    condition: dict[str, Any], event: dict[str, Any], name: str | None, room: dict[str, Any]
) -> bool:
    kind = condition["kind"]
    if kind == "contains_display_name":
        body = event["content"].get("body")
        return bool(name) and isinstance(body, str) and naive_word_match(str(name).lower(), body.lower())
    if kind == "room_member_count":
        wanted = condition["is"]
        sign = wanted.rstrip("0123456789")
        count, number = room["members"], int(wanted.removeprefix(sign))
        return {"<": count < number, ">": count > number, "<=": count <= number, ">=": count >= number}.get(
            sign, count == number
        )
    if kind == "sender_notification_permission":
        return condition["key"] == "room" and room["may_notify"]
    value = naive_property(event, condition["key"]) if "key" in condition else ...
    if kind == "event_match":
        if not isinstance(value, str):
            return False
        pattern = condition["pattern"].lower()
        if condition["key"] == "content.body":
            return naive_word_match(pattern, value.lower())
        return naive_match(pattern, value.lower())
    if kind == "event_property_is":
        return type(value) is type(condition["value"]) and value == condition["value"]
    if kind == "event_property_contains":
        return isinstance(value, list) and any(
            type(item) is type(condition["value"]) and item == condition["value"] for item in value
        )
    return False


def naive_evaluation(
    rules: PushRules, event: dict[str, Any], user_id: str, name: str | None, room: dict[str, Any]
) -> tuple[Any, ...]:
    if event["sender"] == user_id:
        return ()
    shown = ruleset_json(rules, user_id)
    for kind in KINDS:
        for rule in shown[kind]:
            conditions = rule.get("conditions", [])
            if kind == "content":
                conditions = [{"kind": "event_match", "key": "content.body", "pattern": rule["pattern"]}]
            elif kind == "room":
                conditions = [{"kind": "event_property_is", "key": "room_id", "value": rule["rule_id"]}]
            elif kind == "sender":
                conditions = [{"kind": "event_property_is", "key": "sender", "value": rule["rule_id"]}]
            if rule["enabled"] and all(naive_condition(c, event, name, room) for c in conditions):
                return tuple(rule["actions"])
    return ()


USERS = [ALICE, BOB, "@carol:example.org", "@dan:example.org"]
USER = st.sampled_from(USERS)
ROOMS = st.sampled_from([ROOM, "!other:example.org"])
TYPES = [
    "m.room.message",
    "m.room.encrypted",
    "m.room.member",
    "m.reaction",
    "m.room.tombstone",
    "org.example.x",
]
KEYS = [
    "type",
    "room_id",
    "sender",
    "state_key",
    "content.body",
    "content.msgtype",
    r"content.m\.mentions.room",
]
PATTERN = st.one_of(
    st.text("ab *?", max_size=4),
    st.sampled_from([*TYPES, *USERS, ROOM, "m.*", "M.Room.Message", "*example.org", ""]),
)
VALUE = st.sampled_from([None, True, False, 0, 1, "", "m.text", "m.room.message", *USERS])
CONDITION = st.one_of(
    st.fixed_dictionaries({"kind": st.just("event_match"), "key": st.sampled_from(KEYS), "pattern": PATTERN}),
    st.fixed_dictionaries(
        {
            "kind": st.sampled_from(["event_property_is", "event_property_contains"]),
            "key": st.sampled_from([*KEYS, r"content.m\.mentions.user_ids", "content.absent"]),
            "value": VALUE,
        }
    ),
    st.fixed_dictionaries(
        {"kind": st.just("room_member_count"), "is": st.sampled_from(["2", "==3", "<3", ">2", ">=2"])}
    ),
    st.sampled_from(
        [
            {"kind": "contains_display_name"},
            {"kind": "sender_notification_permission", "key": "room"},
            {"kind": "org.example.unknown"},
        ]
    ),
)
ACTIONS = st.sampled_from([[], ["notify"], ["notify", HIGHLIGHT], ["notify", SOUND]])
PREDEFINED = st.sampled_from([(kind, r.rule_id) for kind in KINDS for r in NO_CHANGES.of_kind(kind)])


@st.composite
def rule_changes(draw: st.DrawFn) -> PushRules:
    rules = NO_CHANGES
    for _ in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from(KINDS))
        rule_id = draw({"room": ROOMS, "sender": USER}.get(kind, st.sampled_from(["r1", "r2", "r3"])))
        body = {
            "actions": draw(ACTIONS),
            "conditions": draw(st.lists(CONDITION, max_size=3)),
            "pattern": draw(st.text("ab *?", max_size=4)),
        }
        rules = changes.put_rule(rules, kind, rule_id, body)
        rules = changes.set_enabled(rules, kind, rule_id, draw(st.booleans()) or draw(st.booleans()))
    for kind, rule_id in draw(st.lists(PREDEFINED, max_size=2)):
        rules = changes.set_enabled(rules, kind, rule_id, draw(st.booleans()))
        if draw(st.booleans()):
            rules = changes.set_actions(rules, kind, rule_id, {"actions": draw(ACTIONS)})
    return rules


@st.composite
def sent_events(draw: st.DrawFn) -> Event:
    content: dict[str, Any] = {}
    if draw(st.booleans()):
        content["body"] = draw(st.one_of(st.text("abAB \n", max_size=8), st.just(3)))
    if draw(st.booleans()):
        content["msgtype"] = draw(st.sampled_from(["m.text", "m.notice", "M.Notice"]))
    if draw(st.booleans()):
        user_ids = draw(st.one_of(st.lists(st.one_of(USER, VALUE), max_size=2), VALUE))
        content["m.mentions"] = {"user_ids": user_ids, "room": draw(VALUE)}
    if draw(st.booleans()):
        content["membership"] = draw(st.sampled_from(["invite", "join"]))
    if draw(st.integers(0, 4)) == 0:
        content["m.relates_to"] = {"rel_type": "m.replace", "event_id": "$x"}
    state_key = draw(st.one_of(st.none(), st.just(""), USER))
    return make_event(
        draw(st.sampled_from(TYPES)), content, sender=draw(USER), state_key=state_key, room_id=draw(ROOMS)
    )


ROOM_FACTS = st.fixed_dictionaries({"members": st.integers(1, 4), "may_notify": st.booleans()})
NAMES = st.sampled_from([None, "", "a", "ab", "B a"])


@given(rule_changes(), sent_events(), USER, NAMES, ROOM_FACTS)
@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_evaluation_says_what_the_specification_says(
    rules: PushRules, event: Event, user_id: str, name: str | None, room: dict[str, Any]
) -> None:
    verdict = compile_rules(rules).evaluate(facts_of(event, **room), user_id, name)
    assert verdict.actions == naive_evaluation(rules, event.pdu | {"event_id": "$event"}, user_id, name, room)
    assert verdict.notify == ("notify" in verdict.actions)


@given(st.lists(rule_changes(), min_size=4, max_size=4), sent_events(), ROOM_FACTS, NAMES)
@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_all_members_get_their_verdict_though_few_are_asked(
    rules: list[PushRules], event: Event, room: dict[str, Any], name: str | None
) -> None:
    members = dict(zip(USERS, rules, strict=True))
    rule_sets = {user_id: compile_rules(changed) for user_id, changed in members.items()}
    facts = facts_of(event, **room)
    with_own_rules = [user_id for user_id in USERS if rule_sets[user_id].may_differ_in(event.room_id)]
    concerned = concerned_users(facts, USERS.__contains__, with_own_rules)
    differing = find_differing(facts, concerned, rule_sets, lambda user_id: name)
    shared = default_verdict(facts)
    assert event.sender not in concerned
    for user_id, changed in members.items():
        if user_id != event.sender:
            wanted = naive_evaluation(changed, event.pdu | {"event_id": "$event"}, user_id, name, room)
            assert differing.get(user_id, shared).actions == wanted


def test_in_a_great_room_only_the_mentioned_are_asked() -> None:
    event = make_event(content=mentioning(BOB, "@stranger:elsewhere.org", ALICE, 3))
    concerned = concerned_users(facts_of(event), {ALICE, BOB, "@carol:example.org"}.__contains__, ())
    assert concerned == {BOB}
    assert default_verdict(facts_of(event)).actions == NOTIFY


def test_an_empty_mention_is_nobodys() -> None:
    assert not default_verdict(facts_of(make_event(content=mentioning("")))).highlight


def test_an_invite_concerns_the_invited_and_those_with_rules_of_their_own() -> None:
    facts = facts_of(make_event("m.room.member", {"membership": "invite"}, state_key=BOB))
    concerned = concerned_users(facts, {ALICE, BOB}.__contains__, ["@carol:example.org", ALICE])
    assert concerned == {BOB, "@carol:example.org"}
    differing = find_differing(facts, concerned, {}, lambda user_id: None)
    assert {user_id: verdict.rule_id for user_id, verdict in differing.items()} == {
        BOB: ".m.rule.invite_for_me"
    }
