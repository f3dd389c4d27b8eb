"""Deciding by push rules whether an event notifies a user.

A user's rules are compiled once, and found by the event's type, room and sender rather than tried in turn, so
that hundreds of silenced rooms cost nothing in the others.

Source: Client-Server API, "Push rules".
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ranvier.protocol.globs import fold
from ranvier.protocol.push_conditions import PushFacts, Test, compile_body_test, compile_condition, pin_of
from ranvier.protocol.push_rules import NO_CHANGES, Action, PushRule, PushRules, keep_known_actions


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an event means for a user: the actions of the first rule that matched, and what follows from them.

    `rule_id` is None if no rule matched, which means no notification.
    """

    notify: bool
    highlight: bool
    actions: tuple[Action, ...]
    rule_id: str | None

    def tweaks(self) -> dict[str, Any]:
        """The tweaks for the push gateway, by name."""
        tweaks: dict[str, Any] = {}
        for action in self.actions:
            if isinstance(action, Mapping):
                name = action["set_tweak"]
                if "value" in action:
                    tweaks[name] = action["value"]
                elif name == "highlight":
                    tweaks[name] = True
        return tweaks


SILENCE: Final = Verdict(False, False, (), None)
"""No rule matched, or the user sent the event."""


def _verdict_of(rule: PushRule) -> Verdict:
    actions = keep_known_actions(rule.actions)
    verdict = Verdict("notify" in actions, False, actions, rule.rule_id)
    highlight = verdict.notify and verdict.tweaks().get("highlight") is True
    return Verdict(verdict.notify, highlight, actions, rule.rule_id)


class _CompiledRule:
    """A rule's remaining tests: what its place in the tables already ensures is not asked again."""

    __slots__ = ("order", "tests", "verdict")

    def __init__(self, order: int, tests: tuple[Test, ...], verdict: Verdict) -> None:
        self.order = order
        self.tests = tests
        self.verdict = verdict


def _first_match(
    rules: Iterable[_CompiledRule], facts: PushFacts, user_id: str, name: str | None
) -> Verdict | None:
    # Plain loops: this runs for each user whom an event may notify, and a generator would double its time.
    for rule in rules:
        for test in rule.tests:
            if not test(facts, user_id, name):
                break
        else:
            return rule.verdict
    return None


def _by_order(rule: _CompiledRule) -> int:
    return rule.order


class _Tier:
    """Override or underride rules: those for one room, for one type of event, and the rest."""

    __slots__ = ("_anywhere", "_by_room", "_by_type")

    def __init__(self, rules: Iterable[PushRule]) -> None:
        self._by_room: dict[str, list[_CompiledRule]] = {}
        self._by_type: dict[str, list[_CompiledRule]] = {}
        self._anywhere: list[_CompiledRule] = []
        for order, rule in enumerate(rules):
            self._add(order, rule)

    def _add(self, order: int, rule: PushRule) -> None:
        pins = {pin[0]: pin for condition in rule.conditions if (pin := pin_of(condition)) is not None}
        pin = pins.get("room_id") or pins.get("type")
        tests = []
        for condition in rule.conditions:
            if pin is not None and pin_of(condition) == pin:
                continue
            test = compile_condition(condition)
            if test is None:
                return  # a condition that can't match makes the rule one that never does
            tests.append(test)
        compiled = _CompiledRule(order, tuple(tests), _verdict_of(rule))
        if pin is None:
            self._anywhere.append(compiled)
        else:
            table = self._by_room if pin[0] == "room_id" else self._by_type
            table.setdefault(pin[1], []).append(compiled)

    def candidates(self, facts: PushFacts) -> list[_CompiledRule]:
        """The rules that the event's type and room do not already rule out, in order."""
        by_room = self._by_room.get(fold(facts.event.room_id)) if self._by_room else None
        by_type = self._by_type.get(fold(facts.event.type))
        if by_room is None:
            if by_type is None:
                return self._anywhere
            if not self._anywhere:
                return by_type
        return sorted([*(by_room or ()), *(by_type or ()), *self._anywhere], key=_by_order)


class RuleSet:
    """One user's enabled rules, compiled. Immutable; users who changed nothing share `DEFAULT_RULE_SET`."""

    __slots__ = (
        "_content",
        "_elsewhere",
        "_override",
        "_rooms",
        "_senders",
        "_underride",
        "needs_display_name",
    )

    def __init__(self, rules: PushRules) -> None:
        enabled = {
            kind: [rule for rule in rules.of_kind(kind) if rule.enabled]
            for kind in ("override", "content", "room", "sender", "underride")
        }
        self._override = _Tier(enabled["override"])
        self._content = tuple(
            _CompiledRule(order, (compile_body_test(rule.pattern),), _verdict_of(rule))
            for order, rule in enumerate(enabled["content"])
            if rule.pattern is not None
        )
        self._rooms = {rule.rule_id: _verdict_of(rule) for rule in enabled["room"]}
        self._senders = {rule.rule_id: _verdict_of(rule) for rule in enabled["sender"]}
        self._underride = _Tier(enabled["underride"])
        self._elsewhere = _rooms_concerned(rules)
        self.needs_display_name = any(
            condition.get("kind") == "contains_display_name"
            for kind in ("override", "underride")
            for rule in enabled[kind]
            for condition in rule.conditions
        )
        """Whether `evaluate` wants to know the user's display name in the room."""

    def evaluate(self, facts: PushFacts, user_id: str, display_name: str | None = None) -> Verdict:
        """What the event means for this user. One's own events never notify."""
        event = facts.event
        if event.sender == user_id:
            return SILENCE
        return (
            _first_match(self._override.candidates(facts), facts, user_id, display_name)
            or _first_match(self._content, facts, user_id, display_name)
            or self._rooms.get(event.room_id)
            or self._senders.get(event.sender)
            or _first_match(self._underride.candidates(facts), facts, user_id, display_name)
            or SILENCE
        )

    def may_differ_in(self, room_id: str) -> bool:
        """Whether what the user changed can matter in that room; else `DEFAULT_RULE_SET` decides the same."""
        return self._elsewhere is None or fold(room_id) in self._elsewhere


def compile_rules(rules: PushRules) -> RuleSet:
    """The user's rules in the form that decides fast. Keep it until the rules change."""
    return RuleSet(rules) if rules.own or rules.changes else DEFAULT_RULE_SET


def _rooms_concerned(rules: PushRules) -> frozenset[str] | None:
    """The folded IDs of the only rooms in which the user's changes matter; None if they matter everywhere."""
    if rules.changes:
        return None
    rooms = set()
    for kind, rule in _own_enabled(rules):
        if kind == "room":
            rooms.add(fold(rule.rule_id))
            continue
        pins = [pin[1] for condition in rule.conditions if (pin := pin_of(condition)) and pin[0] == "room_id"]
        if not pins:
            return None
        rooms.add(pins[0])
    return frozenset(rooms)


def _own_enabled(rules: PushRules) -> Iterator[tuple[str, PushRule]]:
    for kind, own in rules.own.items():
        for rule in own:
            if rule.enabled:
                yield kind, rule


DEFAULT_RULE_SET: Final = RuleSet(NO_CHANGES)
"""The predefined rules, for all who changed none of them."""
