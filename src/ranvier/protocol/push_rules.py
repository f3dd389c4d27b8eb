"""Push rules as values: the rules that every user has, and what one user changed about them.

Only the changes belong to a user and are worth storing; the predefined rules come with the specification's
version. `push_rule_changes` edits the value, `push_evaluation` compiles and applies it.

Source: Client-Server API, "Push rules", "Predefined rules" (v1.19; the rules that looked for names in the
body of a message were removed in v1.17). Rules for polls: MSC3930, under its prefix.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

KINDS: Final = ("override", "content", "room", "sender", "underride")
"""The kinds of rules in the order in which they are tried."""

MASTER: Final = ".m.rule.master"
"""The only predefined rule that comes before the user's own."""

OWN_USER_ID: Final = object()
"""In a predefined rule: the Matrix ID of whoever the rule is evaluated for."""

HISTORICAL_ACTIONS: Final = frozenset({"dont_notify", "coalesce"})
"""Actions of old versions, which are to be ignored ("Historical actions")."""

Action = str | Mapping[str, Any]
Condition = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PushRule:
    """One rule. Only content rules have a `pattern`, only override and underride rules `conditions`."""

    rule_id: str
    actions: tuple[Action, ...]
    conditions: tuple[Condition, ...] = ()
    pattern: str | None = None
    enabled: bool = True
    default: bool = False


@dataclass(frozen=True, slots=True)
class DefaultChange:
    """What a user changed about a predefined rule; None leaves it as it is."""

    enabled: bool | None = None
    actions: tuple[Action, ...] | None = None


_NOTIFY: Final = ("notify",)
_NOTIFY_WITH_SOUND: Final = ("notify", {"set_tweak": "sound", "value": "default"})
_NOTIFY_WITH_HIGHLIGHT: Final = ("notify", {"set_tweak": "highlight"})


def _match(key: str, pattern: Any) -> Condition:
    return {"kind": "event_match", "key": key, "pattern": pattern}


_POLLS: Final = "org.matrix.msc3381.poll"


def _predefine_poll(name: str, actions: tuple[Action, ...], kind: str, *conditions: Condition) -> PushRule:
    rule_id = f".org.matrix.msc3930.rule.poll_{name}"
    return PushRule(rule_id, actions, (*conditions, _match("type", f"{_POLLS}.{kind}")), default=True)


def _predefine(
    name: str, actions: tuple[Action, ...], *conditions: Condition, enabled: bool = True
) -> PushRule:
    return PushRule(f".m.rule.{name}", actions, conditions, enabled=enabled, default=True)


_DEFAULT_OVERRIDES: Final = (
    _predefine("master", (), enabled=False),
    _predefine("suppress_notices", (), _match("content.msgtype", "m.notice")),
    _predefine(
        "invite_for_me",
        _NOTIFY_WITH_SOUND,
        _match("type", "m.room.member"),
        _match("content.membership", "invite"),
        _match("state_key", OWN_USER_ID),
    ),
    _predefine("member_event", (), _match("type", "m.room.member")),
    _predefine(
        "is_user_mention",
        (*_NOTIFY_WITH_SOUND, {"set_tweak": "highlight"}),
        {"kind": "event_property_contains", "key": r"content.m\.mentions.user_ids", "value": OWN_USER_ID},
    ),
    _predefine(
        "is_room_mention",
        _NOTIFY_WITH_HIGHLIGHT,
        {"kind": "event_property_is", "key": r"content.m\.mentions.room", "value": True},
        {"kind": "sender_notification_permission", "key": "room"},
    ),
    _predefine(
        "tombstone", _NOTIFY_WITH_HIGHLIGHT, _match("type", "m.room.tombstone"), _match("state_key", "")
    ),
    _predefine("reaction", (), _match("type", "m.reaction")),
    _predefine("room.server_acl", (), _match("type", "m.room.server_acl"), _match("state_key", "")),
    _predefine(
        "suppress_edits",
        (),
        {"kind": "event_property_is", "key": r"content.m\.relates_to.rel_type", "value": "m.replace"},
    ),
    _predefine_poll("response", (), "response"),
)

_TWO_MEMBERS: Final[Condition] = {"kind": "room_member_count", "is": "2"}

_DEFAULT_UNDERRIDES: Final = (
    _predefine("call", ("notify", {"set_tweak": "sound", "value": "ring"}), _match("type", "m.call.invite")),
    _predefine(
        "encrypted_room_one_to_one", _NOTIFY_WITH_SOUND, _TWO_MEMBERS, _match("type", "m.room.encrypted")
    ),
    _predefine("room_one_to_one", _NOTIFY_WITH_SOUND, _TWO_MEMBERS, _match("type", "m.room.message")),
    _predefine("message", _NOTIFY, _match("type", "m.room.message")),
    _predefine("encrypted", _NOTIFY, _match("type", "m.room.encrypted")),
    _predefine_poll("start_one_to_one", _NOTIFY_WITH_SOUND, "start", _TWO_MEMBERS),
    _predefine_poll("start", _NOTIFY, "start"),
    _predefine_poll("end_one_to_one", _NOTIFY_WITH_SOUND, "end", _TWO_MEMBERS),
    _predefine_poll("end", _NOTIFY, "end"),
)

DEFAULTS: Final[Mapping[str, tuple[PushRule, ...]]] = {
    "override": _DEFAULT_OVERRIDES,
    "content": (),
    "room": (),
    "sender": (),
    "underride": _DEFAULT_UNDERRIDES,
}
"""The predefined rules by kind, the most important first."""


@dataclass(frozen=True, slots=True)
class PushRules:
    """All that one user's rules differ by from the predefined ones.

    `own` holds the user's rules by kind, the most important first; `changes` those predefined rules that were
    switched or given other actions, by kind and rule_id.
    """

    own: Mapping[str, tuple[PushRule, ...]] = field(default_factory=dict)
    changes: Mapping[tuple[str, str], DefaultChange] = field(default_factory=dict)

    def of_kind(self, kind: str) -> tuple[PushRule, ...]:
        """All rules of a kind as they hold for this user, in the order in which they are tried."""
        defaults = tuple(self._apply_change(kind, rule) for rule in DEFAULTS[kind])
        own = self.own.get(kind, ())
        if defaults and defaults[0].rule_id == MASTER:
            return (defaults[0], *own, *defaults[1:])
        return own + defaults

    def find(self, kind: str, rule_id: str) -> PushRule | None:
        """The rule as it holds for this user, if there is one."""
        for rule in self.of_kind(kind):
            if rule.rule_id == rule_id:
                return rule
        return None

    def _apply_change(self, kind: str, rule: PushRule) -> PushRule:
        change = self.changes.get((kind, rule.rule_id))
        if change is None:
            return rule
        return PushRule(
            rule.rule_id,
            rule.actions if change.actions is None else change.actions,
            rule.conditions,
            rule.pattern,
            rule.enabled if change.enabled is None else change.enabled,
            default=True,
        )


NO_CHANGES: Final = PushRules()
"""The rules of a user who never touched them."""


def keep_known_actions(actions: Iterable[Action]) -> tuple[Action, ...]:
    """The actions without the historical ones, which mean nothing."""
    return tuple(
        action for action in actions if not (isinstance(action, str) and action in HISTORICAL_ACTIONS)
    )


def rule_json(kind: str, rule: PushRule, user_id: str) -> dict[str, Any]:
    """The rule as its owner's clients see it."""
    shown: dict[str, Any] = {
        "rule_id": rule.rule_id,
        "default": rule.default,
        "enabled": rule.enabled,
        "actions": list(rule.actions),
    }
    if kind in ("override", "underride"):
        shown["conditions"] = [
            {key: user_id if value is OWN_USER_ID else value for key, value in condition.items()}
            for condition in rule.conditions
        ]
    elif kind == "content":
        shown["pattern"] = rule.pattern
    return shown


def ruleset_json(rules: PushRules, user_id: str) -> dict[str, list[dict[str, Any]]]:
    """The whole `global` rule set as its owner's clients see it."""
    return {kind: [rule_json(kind, rule, user_id) for rule in rules.of_kind(kind)] for kind in KINDS}


def changes_json(rules: PushRules) -> dict[str, Any]:
    """The user's changes as a JSON object to be stored; `parse_changes` reads it."""
    defaults: dict[str, dict[str, Any]] = {}
    for (kind, rule_id), change in rules.changes.items():
        entry: dict[str, Any] = {}
        if change.enabled is not None:
            entry["enabled"] = change.enabled
        if change.actions is not None:
            entry["actions"] = list(change.actions)
        defaults.setdefault(kind, {})[rule_id] = entry
    return {
        "own": {kind: [_own_json(rule) for rule in own] for kind, own in rules.own.items()},
        "defaults": defaults,
    }


def _own_json(rule: PushRule) -> dict[str, Any]:
    stored: dict[str, Any] = {"rule_id": rule.rule_id, "actions": list(rule.actions), "enabled": rule.enabled}
    if rule.conditions:
        stored["conditions"] = list(rule.conditions)
    if rule.pattern is not None:
        stored["pattern"] = rule.pattern
    return stored


def parse_changes(stored: Mapping[str, Any]) -> PushRules:
    """The value that `changes_json` wrote. Changes to rules that are no longer predefined fall away."""
    own = {
        kind: tuple(
            PushRule(
                rule["rule_id"],
                tuple(rule["actions"]),
                tuple(rule.get("conditions", ())),
                rule.get("pattern"),
                rule["enabled"],
            )
            for rule in rules
        )
        for kind, rules in stored.get("own", {}).items()
    }
    changes = {}
    for kind, entries in stored.get("defaults", {}).items():
        known = {rule.rule_id for rule in DEFAULTS[kind]}
        for rule_id, entry in entries.items():
            if rule_id in known:
                actions = entry.get("actions")
                changes[kind, rule_id] = DefaultChange(
                    entry.get("enabled"), None if actions is None else tuple(actions)
                )
    return PushRules(own, changes)
