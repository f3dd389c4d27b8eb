"""The conditions of push rules: what they ask of an event, and how they are compiled.

Source: Client-Server API, "Push rules", "Conditions".
"""

import operator
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from ranvier.protocol.globs import Glob, contains_as_words, fold, has_wildcards, is_word, words_of
from ranvier.protocol.property_paths import MISSING, read_property, split_path
from ranvier.protocol.push_rules import OWN_USER_ID, Condition

if TYPE_CHECKING:
    from ranvier.protocol.events import Event

_BODY: Final = ("content", "body")
_MEMBER_COUNT: Final = re.compile(r"(==|<=|>=|<|>)?([0-9]{1,9})", re.ASCII)
_COMPARISONS: Final[dict[str | None, Callable[[int, int], bool]]] = {
    None: operator.eq,
    "==": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}


class PushFacts:
    """What push rules may ask of one event, worked out once for all users whom it may notify.

    `member_count` is the number of joined members of the room. `may_notify` tells whether the sender has the
    power level that the room's `notifications` ask for a key such as `room`.
    """

    __slots__ = ("_folded", "_may_notify", "_root", "_words", "event", "member_count")

    def __init__(self, event: "Event", member_count: int, may_notify: Callable[[str], bool]) -> None:
        self.event = event
        self.member_count = member_count
        self._may_notify = may_notify
        self._root: dict[str, Any] | None = None
        self._folded: dict[tuple[str, ...], str | None] = {}
        self._words: frozenset[str] | None = None

    def read(self, names: tuple[str, ...]) -> Any:
        """The property at the path, or `MISSING`."""
        if self._root is None:
            self._root = _root_of(self.event)
        return read_property(self._root, names)

    def read_folded(self, names: tuple[str, ...]) -> str | None:
        """The property at the path without upper and lower case, None if it is no string."""
        try:
            return self._folded[names]
        except KeyError:
            value = self.read(names)
            folded = fold(value) if isinstance(value, str) else None
            self._folded[names] = folded
            return folded

    def body_words(self) -> frozenset[str]:
        """The words of `content.body`, without upper and lower case."""
        if self._words is None:
            self._words = words_of(self.read_folded(_BODY) or "")
        return self._words

    def sender_may_notify(self, key: str) -> bool:
        """Whether the sender may trigger notifications of this kind, such as `room`."""
        return self._may_notify(key)


def _root_of(event: "Event") -> dict[str, Any]:
    root: dict[str, Any] = {
        "type": event.type,
        "sender": event.sender,
        "room_id": event.room_id,
        "event_id": event.event_id,
        "origin_server_ts": event.origin_server_ts,
        "content": event.content,
    }
    if event.state_key is not None:
        root["state_key"] = event.state_key
    if event.redacts is not None:
        root["redacts"] = event.redacts
    return root


Test = Callable[[PushFacts, str, str | None], bool]
"""A compiled condition: holds it for the event, the user, and the name by which the room knows that user?"""


def compile_condition(condition: Condition) -> Test | None:
    """The test that a condition stands for; None if it matches no event, being unknown or malformed."""
    kind = condition.get("kind")
    compiler = _COMPILERS.get(kind) if isinstance(kind, str) else None
    return None if compiler is None else compiler(condition)


def pin_of(condition: Condition) -> tuple[str, str] | None:
    """What the condition asks for, if that is one type or room: ("type" or "room_id", the folded value)."""
    key, pattern = condition.get("key"), condition.get("pattern")
    if (
        condition.get("kind") != "event_match"
        or key not in ("type", "room_id")
        or not isinstance(pattern, str)
    ):
        return None
    return None if has_wildcards(pattern) else (key, fold(pattern))


def compile_body_test(pattern: str) -> Test:
    """Whether the pattern matches a part of `content.body` that starts and ends at a word boundary."""
    folded = fold(pattern)
    if is_word(folded):
        return lambda facts, user_id, name: folded in facts.body_words()
    glob = Glob(folded)

    def test(facts: PushFacts, user_id: str, name: str | None) -> bool:
        body = facts.read_folded(_BODY)
        return body is not None and glob.occurs_as_words(body)

    return test


def _compile_event_match(condition: Condition) -> Test | None:
    key, pattern = condition.get("key"), condition.get("pattern")
    if not isinstance(key, str):
        return None
    names = split_path(key)
    if pattern is OWN_USER_ID:
        # Matrix IDs that differ only in case are different users, so this one is compared as it is.
        return lambda facts, user_id, name: user_id != "" and facts.read(names) == user_id
    if not isinstance(pattern, str):
        return None
    if names == _BODY:
        return compile_body_test(pattern)
    folded = fold(pattern)
    if not has_wildcards(folded):
        return lambda facts, user_id, name: facts.read_folded(names) == folded
    glob = Glob(folded)

    def test(facts: PushFacts, user_id: str, name: str | None) -> bool:
        value = facts.read_folded(names)
        return value is not None and glob.matches(value)

    return test


def _compile_property_is(condition: Condition) -> Test | None:
    key, value = condition.get("key"), condition.get("value", MISSING)
    if not isinstance(key, str) or not _is_simple(value):
        return None
    names = split_path(key)
    return lambda facts, user_id, name: _is_same(facts.read(names), value)


def _compile_property_contains(condition: Condition) -> Test | None:
    key, value = condition.get("key"), condition.get("value", MISSING)
    if not isinstance(key, str):
        return None
    names = split_path(key)
    if value is OWN_USER_ID:
        return lambda facts, user_id, name: user_id != "" and _contains(facts.read(names), user_id)
    if not _is_simple(value):
        return None
    return lambda facts, user_id, name: _contains(facts.read(names), value)


def _is_simple(value: object) -> bool:
    return value is None or isinstance(value, str | int)


def _is_same(one: object, other: object) -> bool:
    # Python takes True for 1, and 1 for 1.0; JSON does not.
    return type(one) is type(other) and one == other


def _contains(array: object, value: object) -> bool:
    return isinstance(array, list) and any(_is_same(element, value) for element in array)


def _compile_display_name(condition: Condition) -> Test:
    def test(facts: PushFacts, user_id: str, name: str | None) -> bool:
        body = facts.read_folded(_BODY)
        return name is not None and name != "" and body is not None and contains_as_words(body, fold(name))

    return test


def _compile_member_count(condition: Condition) -> Test | None:
    wanted = condition.get("is")
    parsed = _MEMBER_COUNT.fullmatch(wanted) if isinstance(wanted, str) else None
    if parsed is None:
        return None
    compare, count = _COMPARISONS[parsed[1]], int(parsed[2])
    return lambda facts, user_id, name: compare(facts.member_count, count)


def _compile_notification_permission(condition: Condition) -> Test | None:
    key = condition.get("key")
    if not isinstance(key, str):
        return None
    return lambda facts, user_id, name: facts.sender_may_notify(key)


_COMPILERS: Final[dict[str, Callable[[Condition], Test | None]]] = {
    "event_match": _compile_event_match,
    "event_property_is": _compile_property_is,
    "event_property_contains": _compile_property_contains,
    "contains_display_name": _compile_display_name,
    "room_member_count": _compile_member_count,
    "sender_notification_permission": _compile_notification_permission,
}
