"""The predefined push rules and their editing: Client-Server API, "Predefined rules", "Push Rules: API"."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ranvier.protocol import push_rule_changes as changes
from ranvier.protocol.push_rules import (
    KINDS,
    NO_CHANGES,
    PushRules,
    changes_json,
    keep_known_actions,
    parse_changes,
    rule_json,
    ruleset_json,
)
from ranvier.protocol.refusal import Refusal

ALICE = "@alice:example.org"
QUIET: dict[str, Any] = {"actions": []}
CAKE = {"actions": ["notify"], "pattern": "cake"}


def defined_rules() -> Any:
    text = (Path(__file__).parent / "data" / "default_push_rules.json").read_text()
    return json.loads(text.replace("[the user's Matrix ID]", ALICE))


def ids(rules: PushRules, kind: str) -> list[str]:
    return [rule.rule_id for rule in rules.own.get(kind, ())]


def errcode_of(operation: Any, *arguments: Any, **named: Any) -> str:
    with pytest.raises(Refusal) as refused:
        operation(*arguments, **named)
    assert refused.value.error.endswith(".")
    return refused.value.errcode


def test_the_predefined_rules_are_those_of_the_specification() -> None:
    shown = {
        kind: [rule for rule in rules if not rule["rule_id"].startswith(".org.matrix.")]
        for kind, rules in ruleset_json(NO_CHANGES, ALICE).items()
    }
    defined = defined_rules()
    assert shown == {"content": [], "room": [], "sender": [], **defined}
    assert list(shown) == list(KINDS)


def test_a_poll_notifies_when_it_begins_and_ends_and_not_with_each_answer() -> None:
    """MSC3930."""
    rules = ruleset_json(NO_CHANGES, ALICE)
    polls = {
        rule["rule_id"].removeprefix(".org.matrix.msc3930.rule.poll_"): rule
        for kind in ("override", "underride")
        for rule in rules[kind]
        if "poll" in rule["rule_id"]
    }
    assert list(polls) == ["response", "start_one_to_one", "start", "end_one_to_one", "end"]
    assert [bool(rule["actions"]) for rule in polls.values()] == [False, True, True, True, True]
    assert [len(rule["conditions"]) for rule in polls.values()] == [1, 2, 1, 2, 1]


def test_an_own_override_comes_after_the_master_rule_and_before_all_others() -> None:
    rules = changes.put_rule(NO_CHANGES, "override", "mine", {"actions": [], "conditions": []})
    shown = [rule["rule_id"] for rule in ruleset_json(rules, ALICE)["override"]]
    assert shown[:3] == [".m.rule.master", "mine", ".m.rule.suppress_notices"]


def test_an_own_underride_comes_before_the_predefined_ones() -> None:
    rules = changes.put_rule(NO_CHANGES, "underride", "mine", {"actions": []})
    assert ruleset_json(rules, ALICE)["underride"][0] == {
        "rule_id": "mine",
        "default": False,
        "enabled": True,
        "actions": [],
        "conditions": [],
    }


def test_a_content_rule_shows_its_pattern_and_a_room_rule_nothing_more() -> None:
    rules = changes.put_rule(NO_CHANGES, "content", "nocake", CAKE)
    rules = changes.put_rule(rules, "room", "!room:example.org", QUIET)
    shown = ruleset_json(rules, ALICE)
    basis = {"default": False, "enabled": True}
    assert shown["content"] == [{"rule_id": "nocake", "pattern": "cake", "actions": ["notify"], **basis}]
    assert shown["room"] == [{"rule_id": "!room:example.org", "actions": [], **basis}]


def test_a_new_rule_is_the_most_important_of_its_kind() -> None:
    rules = NO_CHANGES
    for rule_id in ("one", "two", "three"):
        rules = changes.put_rule(rules, "content", rule_id, CAKE)
    assert ids(rules, "content") == ["three", "two", "one"]


@pytest.mark.parametrize(
    ("place", "order"),
    [
        ({"before": "b"}, ["a", "new", "b", "c"]),
        ({"after": "b"}, ["a", "b", "new", "c"]),
        ({"before": "a"}, ["new", "a", "b", "c"]),
        ({"after": "c"}, ["a", "b", "c", "new"]),
        ({"before": "c", "after": "a"}, ["a", "b", "new", "c"]),
    ],
)
def test_a_rule_is_placed_beside_the_one_it_names(place: dict[str, str], order: list[str]) -> None:
    rules = NO_CHANGES
    for rule_id in ("c", "b", "a"):
        rules = changes.put_rule(rules, "content", rule_id, CAKE)
    assert ids(changes.put_rule(rules, "content", "new", CAKE, **place), "content") == order


def test_a_changed_rule_stays_in_its_place_and_disabled() -> None:
    rules = NO_CHANGES
    for rule_id in ("b", "a"):
        rules = changes.put_rule(rules, "content", rule_id, CAKE)
    rules = changes.set_enabled(rules, "content", "b", False)
    rules = changes.put_rule(rules, "content", "b", {"actions": [], "pattern": "lie"})
    assert ids(rules, "content") == ["a", "b"]
    rule = changes.find_rule(rules, "content", "b")
    assert (rule.enabled, rule.pattern, rule.actions) == (False, "lie", ())


def test_a_changed_rule_moves_where_it_is_told() -> None:
    rules = NO_CHANGES
    for rule_id in ("c", "b", "a"):
        rules = changes.put_rule(rules, "content", rule_id, CAKE)
    assert ids(changes.put_rule(rules, "content", "a", CAKE, after="c"), "content") == ["b", "c", "a"]


@pytest.mark.parametrize("neighbour", ["missing", ".m.rule.master", "new"])
def test_a_rule_can_not_be_placed_beside_one_that_is_not_the_users(neighbour: str) -> None:
    body = {"actions": []}
    assert errcode_of(changes.put_rule, NO_CHANGES, "override", "new", body, before=neighbour) == "M_UNKNOWN"


@pytest.mark.parametrize(
    ("kind", "rule_id", "body", "errcode"),
    [
        ("override", ".m.rule.mine", QUIET, "M_INVALID_PARAM"),
        ("override", "a/b", QUIET, "M_INVALID_PARAM"),
        ("override", "a\\b", QUIET, "M_INVALID_PARAM"),
        ("override", "", QUIET, "M_INVALID_PARAM"),
        ("override", "x" * 513, QUIET, "M_INVALID_PARAM"),
        ("device", "x", QUIET, "M_UNRECOGNIZED"),
        ("override", "x", {}, "M_MISSING_PARAM"),
        ("override", "x", {"actions": "notify"}, "M_BAD_JSON"),
        ("override", "x", {"actions": ["shout"]}, "M_INVALID_PARAM"),
        ("override", "x", {"actions": [3]}, "M_INVALID_PARAM"),
        ("override", "x", {"actions": [{"value": True}]}, "M_INVALID_PARAM"),
        ("override", "x", {"actions": ["notify"] * 17}, "M_BAD_JSON"),
        ("override", "x", {"actions": [{"set_tweak": "sound", "value": "x" * 5000}]}, "M_INVALID_PARAM"),
        ("override", "x", {"actions": [], "conditions": {}}, "M_BAD_JSON"),
        ("override", "x", {"actions": [], "conditions": ["is"]}, "M_BAD_JSON"),
        ("override", "x", {"actions": [], "conditions": [{"key": "type"}]}, "M_BAD_JSON"),
        ("override", "x", {"actions": [], "conditions": [{"kind": "x"}] * 17}, "M_BAD_JSON"),
        (
            "override",
            "x",
            {"actions": [], "conditions": [{"kind": "event_match", "key": "type"}]},
            "M_BAD_JSON",
        ),
        (
            "override",
            "x",
            {"actions": [], "conditions": [{"kind": "event_property_is", "key": "type"}]},
            "M_MISSING_PARAM",
        ),
        (
            "override",
            "x",
            {"actions": [], "conditions": [{"kind": "event_property_is", "key": "type", "value": 1.5}]},
            "M_BAD_JSON",
        ),
        (
            "override",
            "x",
            {"actions": [], "conditions": [{"kind": "room_member_count", "is": "=2"}]},
            "M_INVALID_PARAM",
        ),
        ("content", "x", {"actions": []}, "M_MISSING_PARAM"),
        ("content", "x", {"actions": [], "pattern": 3}, "M_BAD_JSON"),
        ("content", "x", {"actions": [], "pattern": "*" * 513}, "M_INVALID_PARAM"),
    ],
)
def test_a_rule_that_can_not_be_is_refused(kind: str, rule_id: str, body: Any, errcode: str) -> None:
    assert errcode_of(changes.put_rule, NO_CHANGES, kind, rule_id, body) == errcode


def test_a_condition_nested_without_end_is_refused() -> None:
    nested: Any = "x"
    for _ in range(600):
        nested = [nested]
    body = {"actions": [], "conditions": [{"kind": "org.example.new", "value": nested}]}
    assert errcode_of(changes.put_rule, NO_CHANGES, "override", "x", body) == "M_BAD_JSON"


def test_a_condition_of_a_kind_yet_unknown_is_kept() -> None:
    condition = {"kind": "org.example.moon_phase", "is": "full"}
    rules = changes.put_rule(NO_CHANGES, "override", "x", {"actions": [], "conditions": [condition]})
    assert ruleset_json(rules, ALICE)["override"][1]["conditions"] == [condition]


def test_historical_actions_are_kept_as_they_were_sent_and_mean_nothing() -> None:
    rules = changes.put_rule(NO_CHANGES, "room", "!r:x", {"actions": ["dont_notify"]})
    rules = changes.set_actions(rules, "override", ".m.rule.reaction", {"actions": ["coalesce", "notify"]})
    assert changes.find_rule(rules, "room", "!r:x").actions == ("dont_notify",)
    assert keep_known_actions(("dont_notify",)) == ()
    assert keep_known_actions(("coalesce", "notify")) == ("notify",)


def test_the_number_of_own_rules_is_bounded() -> None:
    rules = NO_CHANGES
    for number in range(changes.MAX_OWN_RULES):
        rules = changes.put_rule(rules, ("room", "sender")[number % 2], f"r{number}", QUIET)
    assert errcode_of(changes.put_rule, rules, "room", "new", QUIET) == "M_RESOURCE_LIMIT_EXCEEDED"
    assert changes.put_rule(rules, "room", "r0", {"actions": ["notify"]}) != rules
    assert (
        errcode_of(changes.put_rule, changes.delete_rule(rules, "room", "r0"), "room", "r2", {})
        == "M_MISSING_PARAM"
    )


def test_a_deleted_rule_leaves_nothing_behind() -> None:
    rules = changes.put_rule(NO_CHANGES, "sender", "@spam:example.org", QUIET)
    assert changes.delete_rule(rules, "sender", "@spam:example.org") == NO_CHANGES


def test_what_is_not_there_is_not_found() -> None:
    assert errcode_of(changes.delete_rule, NO_CHANGES, "room", "!none:x") == "M_NOT_FOUND"
    assert errcode_of(changes.delete_rule, NO_CHANGES, "override", ".m.rule.master") == "M_NOT_FOUND"
    assert errcode_of(changes.set_enabled, NO_CHANGES, "override", ".m.rule.none", True) == "M_NOT_FOUND"
    assert errcode_of(changes.set_actions, NO_CHANGES, "underride", "none", QUIET) == "M_NOT_FOUND"
    assert errcode_of(changes.find_rule, NO_CHANGES, "content", ".m.rule.master") == "M_NOT_FOUND"


def test_enabled_is_a_boolean_and_nothing_else() -> None:
    assert errcode_of(changes.set_enabled, NO_CHANGES, "override", ".m.rule.master", 1) == "M_BAD_JSON"
    assert errcode_of(changes.set_enabled, NO_CHANGES, "override", ".m.rule.master", None) == "M_BAD_JSON"


def test_a_predefined_rule_can_be_switched_and_switched_back() -> None:
    rules = changes.set_enabled(NO_CHANGES, "override", ".m.rule.master", True)
    assert ruleset_json(rules, ALICE)["override"][0]["enabled"] is True
    assert changes.set_enabled(rules, "override", ".m.rule.master", False) == NO_CHANGES


def test_a_predefined_rule_with_other_actions_keeps_its_conditions() -> None:
    rules = changes.set_actions(NO_CHANGES, "underride", ".m.rule.message", QUIET)
    shown = rule_json("underride", changes.find_rule(rules, "underride", ".m.rule.message"), ALICE)
    assert shown["actions"] == []
    assert shown["default"] is True
    assert shown["conditions"][0]["pattern"] == "m.room.message"
    assert changes.set_actions(rules, "underride", ".m.rule.message", {"actions": ["notify"]}) == NO_CHANGES


def test_rules_for_a_room_follow_its_upgrade() -> None:
    muted = {
        "actions": [],
        "conditions": [
            {"kind": "event_match", "key": "room_id", "pattern": "!old:x"},
            {"kind": "room_member_count", "is": ">2"},
        ],
    }
    rules = changes.put_rule(NO_CHANGES, "room", "!old:x", {"actions": ["notify"]})
    rules = changes.put_rule(rules, "override", "!old:x", muted)
    rules = changes.put_rule(rules, "override", "other", {"actions": []})
    rules = changes.set_enabled(rules, "room", "!old:x", False)
    copied = changes.copy_room_rules(rules, "!old:x", "!new:x")
    assert ids(copied, "room") == ["!new:x", "!old:x"]
    assert ids(copied, "override") == ["other", "!new:x", "!old:x"]
    assert not changes.find_rule(copied, "room", "!new:x").enabled
    assert [c.get("pattern") for c in changes.find_rule(copied, "override", "!new:x").conditions] == [
        "!new:x",
        None,
    ]
    assert changes.copy_room_rules(copied, "!old:x", "!new:x") == copied


def test_a_change_to_a_rule_that_is_no_longer_predefined_falls_away() -> None:
    stored = {"own": {}, "defaults": {"override": {".m.rule.contains_display_name": {"enabled": False}}}}
    assert parse_changes(stored) == NO_CHANGES


KIND = st.sampled_from(KINDS)
RULE_ID = st.sampled_from(["a", "b", "!r:x", ".m.rule.master", ".m.rule.message", ".m.rule.reaction"])
ACTIONS = st.sampled_from(
    [[], ["notify"], ["notify", {"set_tweak": "highlight", "value": False}], ["dont_notify"]]
)
EDIT = st.one_of(
    st.tuples(st.just("put"), KIND, RULE_ID, ACTIONS),
    st.tuples(st.just("delete"), KIND, RULE_ID, st.none()),
    st.tuples(st.just("enable"), KIND, RULE_ID, st.booleans()),
    st.tuples(st.just("act"), KIND, RULE_ID, ACTIONS),
)


def edit(rules: PushRules, name: str, kind: str, rule_id: str, value: Any) -> PushRules:
    try:
        if name == "put":
            return changes.put_rule(
                rules, kind, rule_id, {"actions": value, "pattern": "x", "conditions": []}
            )
        if name == "delete":
            return changes.delete_rule(rules, kind, rule_id)
        if name == "enable":
            return changes.set_enabled(rules, kind, rule_id, value)
        return changes.set_actions(rules, kind, rule_id, {"actions": value})
    except Refusal:
        return rules


@given(st.lists(EDIT, max_size=12))
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_is_edited_is_stored_and_read_back_the_same(edits: list[Any]) -> None:
    rules = NO_CHANGES
    for step in edits:
        rules = edit(rules, *step)
        shown = ruleset_json(rules, ALICE)
        for kind in KINDS:
            rule_ids = [rule["rule_id"] for rule in shown[kind]]
            assert len(set(rule_ids)) == len(rule_ids)
            assert all(rule["default"] == rule["rule_id"].startswith(".") for rule in shown[kind])
    assert parse_changes(json.loads(json.dumps(changes_json(rules)))) == rules
