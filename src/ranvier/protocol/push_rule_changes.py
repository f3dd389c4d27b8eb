"""Editing push rules: each operation takes a user's rules and gives the new ones, or raises a `Refusal`.

Source: Client-Server API, "Push Rules: API".
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import orjson

from ranvier.protocol.push_rules import (
    DEFAULTS,
    KINDS,
    Action,
    Condition,
    DefaultChange,
    PushRule,
    PushRules,
)
from ranvier.protocol.refusal import Refusal, bad_json, invalid_param, not_found

MAX_OWN_RULES: Final = 1_000
"""Rules that a user may add, of all kinds together."""
MAX_CONDITIONS: Final = 16
"""Conditions of one rule."""
MAX_ACTIONS: Final = 16
"""Actions of one rule."""
MAX_TEXT: Final = 512
"""Characters of a rule_id, pattern, property path or value."""
MAX_BYTES: Final = 4_096
"""Size of a rule's actions, or of one of its conditions, as JSON."""

_MEMBER_COUNT: Final = re.compile(r"(==|<=|>=|<|>)?[0-9]{1,9}", re.ASCII)
_MAX_INTEGER: Final = 2**53 - 1
_KEYED_CONDITIONS: Final = frozenset(
    {"event_match", "event_property_is", "event_property_contains", "sender_notification_permission"}
)


def find_rule(rules: PushRules, kind: str, rule_id: str) -> PushRule:
    """The rule, as it holds for the user. Refuses with M_NOT_FOUND if there is none."""
    _check_kind(kind)
    rule = rules.find(kind, rule_id)
    if rule is None:
        raise not_found(f"There is no push rule {rule_id!r} of the kind {kind!r}.")
    return rule


def put_rule(
    rules: PushRules,
    kind: str,
    rule_id: str,
    body: Mapping[str, Any],
    *,
    before: str | None = None,
    after: str | None = None,
) -> PushRules:
    """Adds a rule, or changes one of the user's own.

    A new rule is enabled and the most important of its kind, unless `before` or `after` names the own rule
    that it is to stand next to (`before` counts if both are given). A changed rule stays enabled or disabled
    as it was, and stays in its place unless it is moved.
    """
    _check_kind(kind)
    _check_new_id(rule_id)
    own = rules.own.get(kind, ())
    existing = next((rule for rule in own if rule.rule_id == rule_id), None)
    if existing is None and sum(map(len, rules.own.values())) >= MAX_OWN_RULES:
        raise Refusal(
            "M_RESOURCE_LIMIT_EXCEEDED", f"There may be at most {MAX_OWN_RULES} push rules of one's own."
        )
    rule = PushRule(
        rule_id,
        _parse_actions(body),
        _parse_conditions(body) if kind in ("override", "underride") else (),
        _parse_pattern(body) if kind == "content" else None,
        enabled=existing.enabled if existing else True,
    )
    return _with_own(rules, kind, _place(own, rule, before, after))


def delete_rule(rules: PushRules, kind: str, rule_id: str) -> PushRules:
    """Removes one of the user's own rules. Predefined ones can only be disabled: refused as not found."""
    rule = find_rule(rules, kind, rule_id)
    if rule.default:
        raise not_found(f"{rule_id!r} is a predefined push rule: it can be disabled, but not deleted.")
    return _with_own(rules, kind, tuple(rule for rule in rules.own[kind] if rule.rule_id != rule_id))


def set_enabled(rules: PushRules, kind: str, rule_id: str, enabled: object) -> PushRules:
    """Switches a rule on or off."""
    rule = find_rule(rules, kind, rule_id)
    if not isinstance(enabled, bool):
        raise bad_json("`enabled` must be true or false.")
    return _with_rule(rules, kind, replace(rule, enabled=enabled))


def set_actions(rules: PushRules, kind: str, rule_id: str, body: Mapping[str, Any]) -> PushRules:
    """Gives a rule, predefined or not, other actions: those under `actions` of the body."""
    rule = find_rule(rules, kind, rule_id)
    return _with_rule(rules, kind, replace(rule, actions=_parse_actions(body)))


def copy_room_rules(rules: PushRules, old_room_id: str, new_room_id: str) -> PushRules:
    """The rules once a room was replaced by another: what the user said of the old room holds for the new one
    too.

    Room rules are copied, and override and underride rules that ask for the old room's ID; those that the
    user already has for the new room stay. Nothing is copied beyond the number of rules that a user may have.
    """
    for kind in ("override", "room", "underride"):
        own = rules.own.get(kind, ())
        known = {rule.rule_id for rule in own}
        for rule in own:
            copied = _for_room(kind, rule, old_room_id, new_room_id)
            full = sum(map(len, rules.own.values())) >= MAX_OWN_RULES
            if copied is not None and copied.rule_id not in known and not full:
                place = _place(rules.own.get(kind, ()), copied, rule.rule_id, None)
                rules = _with_own(rules, kind, place)
    return rules


def _for_room(kind: str, rule: PushRule, old_room_id: str, new_room_id: str) -> PushRule | None:
    if kind == "room":
        return replace(rule, rule_id=new_room_id) if rule.rule_id == old_room_id else None
    pinned = {"kind": "event_match", "key": "room_id", "pattern": old_room_id}
    if pinned not in rule.conditions:
        return None
    rule_id = new_room_id if rule.rule_id == old_room_id else f"{rule.rule_id[:200]}:{new_room_id}"
    conditions = tuple(
        {**condition, "pattern": new_room_id} if condition == pinned else condition
        for condition in rule.conditions
    )
    return replace(rule, rule_id=rule_id, conditions=conditions)


def _with_rule(rules: PushRules, kind: str, changed: PushRule) -> PushRules:
    if not changed.default:
        own = tuple(changed if rule.rule_id == changed.rule_id else rule for rule in rules.own[kind])
        return _with_own(rules, kind, own)
    predefined = next(rule for rule in DEFAULTS[kind] if rule.rule_id == changed.rule_id)
    changes = dict(rules.changes)
    # Only what differs is kept, so that who switches a rule back counts again as one who changed nothing.
    change = DefaultChange(
        None if changed.enabled == predefined.enabled else changed.enabled,
        None if changed.actions == predefined.actions else changed.actions,
    )
    if change == DefaultChange():
        changes.pop((kind, changed.rule_id), None)
    else:
        changes[kind, changed.rule_id] = change
    return replace(rules, changes=changes)


def _with_own(rules: PushRules, kind: str, own: tuple[PushRule, ...]) -> PushRules:
    kinds = {**rules.own, kind: own}
    if not own:
        del kinds[kind]
    return replace(rules, own=kinds)


def _place(
    own: tuple[PushRule, ...], rule: PushRule, before: str | None, after: str | None
) -> tuple[PushRule, ...]:
    """The rules with this one in its place, the most important first."""
    others = [other for other in own if other.rule_id != rule.rule_id]
    neighbour = before if before is not None else after
    if neighbour is None:
        if len(others) == len(own):
            return (rule, *own)
        return tuple(rule if other.rule_id == rule.rule_id else other for other in own)
    for index, other in enumerate(others):
        if other.rule_id == neighbour:
            place = index if before is not None else index + 1
            return (*others[:place], rule, *others[place:])
    raise Refusal(
        "M_UNKNOWN",
        f"before/after rule not found: {neighbour!r} is no other rule of one's own of this kind.",
        status=400,
    )


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        # The kind is a part of the path: another one names no endpoint.
        raise Refusal(
            "M_UNRECOGNIZED", f"{kind!r} is no kind of push rule; the kinds are {', '.join(KINDS)}."
        )


def _check_new_id(rule_id: str) -> None:
    if not rule_id:
        raise invalid_param("A push rule needs a rule_id.")
    if rule_id.startswith("."):
        raise invalid_param("A rule_id that starts with a dot is reserved for predefined rules.")
    if "/" in rule_id or "\\" in rule_id:
        raise invalid_param("A rule_id may contain no slash and no backslash.")
    if len(rule_id) > MAX_TEXT:
        raise invalid_param(f"A rule_id may have at most {MAX_TEXT} characters.")


def _parse_actions(body: Mapping[str, Any]) -> tuple[Action, ...]:
    actions = body.get("actions")
    if actions is None:
        raise Refusal("M_MISSING_PARAM", "A push rule needs `actions`; they may be an empty array.")
    if not isinstance(actions, list) or len(actions) > MAX_ACTIONS:
        raise bad_json(f"`actions` must be an array of at most {MAX_ACTIONS} actions.")
    for action in actions:
        _check_action(action)
    _check_size("The actions of a push rule", actions)
    return tuple(actions)


def _check_action(action: object) -> None:
    if isinstance(action, dict):
        if not isinstance(action.get("set_tweak"), str):
            raise invalid_param(
                "An action that is an object must name its tweak as a string under `set_tweak`."
            )
    elif action not in ("notify", "dont_notify", "coalesce"):
        raise invalid_param('An action is "notify" or an object with `set_tweak`.')


def _parse_pattern(body: Mapping[str, Any]) -> str:
    pattern = body.get("pattern")
    if pattern is None:
        raise Refusal("M_MISSING_PARAM", "A content rule needs a `pattern`.")
    return _check_text("pattern", pattern)


def _parse_conditions(body: Mapping[str, Any]) -> tuple[Condition, ...]:
    conditions = body.get("conditions", [])
    if not isinstance(conditions, list) or len(conditions) > MAX_CONDITIONS:
        raise bad_json(f"`conditions` must be an array of at most {MAX_CONDITIONS} conditions.")
    return tuple(_parse_condition(condition) for condition in conditions)


def _parse_condition(condition: object) -> Condition:
    if not isinstance(condition, dict) or not isinstance(condition.get("kind"), str):
        raise bad_json("A condition must be an object with a string under `kind`.")
    kind = condition["kind"]
    if kind in _KEYED_CONDITIONS:
        _check_text("key", condition.get("key"))
    if kind == "event_match":
        _check_text("pattern", condition.get("pattern"))
    elif kind in ("event_property_is", "event_property_contains"):
        _check_value(condition)
    elif kind == "room_member_count":
        count = condition.get("is")
        if not isinstance(count, str) or _MEMBER_COUNT.fullmatch(count) is None:
            raise invalid_param(
                "`is` must be a decimal number, with or without ==, <, >, >= or <= before it."
            )
    _check_size("A condition", condition)
    return condition


def _check_value(condition: Mapping[str, Any]) -> None:
    if "value" not in condition:
        raise Refusal("M_MISSING_PARAM", f"A condition of the kind {condition['kind']} needs a `value`.")
    value = condition["value"]
    if isinstance(value, str):
        _check_text("value", value)
    elif not (value is None or (isinstance(value, int) and abs(value) <= _MAX_INTEGER)):
        raise bad_json("`value` must be a string, an integer within 2^53, a boolean or null.")


def _check_text(name: str, text: object) -> str:
    if not isinstance(text, str):
        raise bad_json(f"`{name}` must be a string.")
    if len(text) > MAX_TEXT:
        raise invalid_param(f"`{name}` may have at most {MAX_TEXT} characters.")
    return text


def _check_size(what: str, value: object) -> None:
    try:
        size = len(orjson.dumps(value))
    except orjson.JSONEncodeError:
        raise bad_json(f"{what} can't be nested so deep.") from None
    if size > MAX_BYTES:
        raise invalid_param(f"{what} may take at most {MAX_BYTES} bytes.")
