"""Canonical JSON (appendices, "Canonical JSON"): one way to write a value, for hashes and signatures.

Events of room versions 1 to 5 may break its rules on numbers, so `check` knows a strict and a lax form. Both
keep integers within 64 bits, the most that the wire encoder can write.
"""

import json
import math
from typing import Any, Final, NoReturn

import orjson

MAX_INTEGER: Final = 2**53 - 1
MAX_NESTING: Final = 200
"""Arrays and objects within each other; orjson writes at most 254."""

_LEAST_64_BIT: Final = -(2**63)
_GREATEST_64_BIT: Final = 2**64 - 1
_CONTAINERS: Final = frozenset({dict, list, tuple})
_OPTIONS: Final = (
    orjson.OPT_SORT_KEYS
    | orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_SUBCLASS
)


class BadJson(ValueError):
    """JSON that cannot be read, or a value that Canonical JSON cannot hold.

    `path` names the place, outermost key first, as far as it is known; the message includes it.
    """

    errcode = "M_BAD_JSON"

    def __init__(self, reason: str, path: tuple[str | int, ...] = ()) -> None:
        self.reason = reason
        self.path = path
        where = ".".join(str(part)[:64] for part in path[:8])
        super().__init__(f"{reason} (at {where!a})" if where else reason)


class NotJson(BadJson):
    """Bytes that are no JSON at all, where `BadJson` alone means JSON of the wrong kind."""

    errcode = "M_NOT_JSON"


def encode(value: Any) -> bytes:
    """The canonical form. Floats, which only old rooms hold, are written as Python's `json` does.

    Raises BadJson for what cannot be written: NaN, lone surrogates, integers beyond 64 bits, keys that are
    not strings, too deep nesting.
    """
    data = encode_checked(value)
    return _encode_slowly(value) if _holds_float(value) else data


def encode_checked(value: Any) -> bytes:
    """`encode`, faster, for a value without floats: one that `check(value, strict=True)` accepted."""
    try:
        return orjson.dumps(value, option=_OPTIONS)
    except TypeError as error:
        raise BadJson(f"This cannot be written as canonical JSON: {error}.") from None


def trim(json: bytes) -> bytes:
    """The same bytes in as much memory as they need, for JSON that is kept.

    What orjson returns holds on to the buffer that it was written in: 4 KiB at least.
    """
    return memoryview(json).tobytes()


def check(value: Any, *, strict: bool, max_nesting: int = MAX_NESTING) -> None:
    """Raises BadJson, with the place, unless the value can be written as Canonical JSON.

    `strict`, as of room version 6, refuses floats and integers beyond ±(2^53-1). Lax accepts finite floats
    and integers of 64 bits.
    """
    least, greatest = (-MAX_INTEGER, MAX_INTEGER) if strict else (_LEAST_64_BIT, _GREATEST_64_BIT)
    try:
        _Check(least, greatest, not strict).walk(value, max_nesting)
    except _Fault as fault:
        raise BadJson(fault.reason, tuple(reversed(fault.path))) from None


def decode(data: bytes, *, lossy_integers: bool = False, max_nesting: int = MAX_NESTING) -> Any:
    """The value that UTF-8 encoded JSON stands for.

    Raises NotJson for what is no JSON (NaN, bad UTF-8 and trailing data included), and BadJson for repeated
    keys, integers beyond 64 bits, and nesting deeper than `max_nesting`. With `lossy_integers` too great
    integers become floats, so that in a batch of events only the one that holds it fails its check.
    """
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise NotJson(f"This is not JSON: {error}.") from None
    try:
        rewritten = orjson.dumps(value)
    except TypeError:
        raise BadJson("Too many arrays and objects within each other.") from None
    # A repeated key loses a colon; nothing else does, unless an escape hid one.
    if data.count(b":") != rewritten.count(b":") or b"\\u003" in data:
        _read_slowly(data)
    # Integers beyond 64 bits were read as floats.
    if not lossy_integers and _holds_float(value):
        _read_slowly(data)
    if rewritten.count(b"[") + rewritten.count(b"{") > max_nesting:
        _check_nesting(value, max_nesting)
    return value


def _holds_float(value: Any) -> bool:
    if type(value) is float:
        return True
    # The encoder bounded the nesting, so this ends.
    containers = [value] if type(value) in _CONTAINERS else []
    while containers:
        container = containers.pop()
        for item in container.values() if type(container) is dict else container:
            kind = type(item)
            if kind is float:
                return True
            if kind in _CONTAINERS:
                containers.append(item)
    return False


class _Fault(Exception):
    def __init__(self, reason: str) -> None:
        self.reason = reason
        self.path: list[str | int] = []


class _Check:
    __slots__ = ("floats", "greatest", "least")

    def __init__(self, least: int, greatest: int, floats: bool) -> None:
        self.least = least
        self.greatest = greatest
        self.floats = floats

    def walk(self, value: Any, nesting: int) -> None:
        kind = type(value)
        if kind is dict:
            self._walk_members(value.items(), value, nesting)
        elif kind is list:
            self._walk_members(enumerate(value), None, nesting)
        else:
            self._leaf(value, kind)

    def _walk_members(self, members: Any, keys: dict[Any, Any] | None, nesting: int) -> None:
        if nesting <= 0:
            raise _Fault("Too many arrays and objects within each other")
        if keys is not None:
            for key in keys:
                if type(key) is not str:
                    raise _Fault("A key that is not a string")
                if not key.isascii():
                    _check_text(key)
        for key, item in members:
            kind = type(item)
            if kind is str and item.isascii():
                continue
            try:
                if kind is dict:
                    self._walk_members(item.items(), item, nesting - 1)
                elif kind is list:
                    self._walk_members(enumerate(item), None, nesting - 1)
                else:
                    self._leaf(item, kind)
            except _Fault as fault:
                fault.path.append(key)
                raise

    def _leaf(self, value: Any, kind: type) -> None:
        if kind is str:
            _check_text(value)
        elif kind is int:
            if not self.least <= value <= self.greatest:
                raise _Fault("An integer out of range")
        elif kind is float:
            if not self.floats:
                raise _Fault("A number that is not an integer")
            if not math.isfinite(value):
                raise _Fault("A number that is not finite")
        elif kind is not bool and value is not None:
            raise _Fault(f"A value that JSON does not have ({kind.__name__})")


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _Fault("Text with a surrogate code point") from None


def _encode_slowly(value: Any) -> bytes:
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False)
        return text.encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise BadJson(f"This cannot be written as canonical JSON: {error}.") from None


def _read_slowly(data: bytes) -> None:
    """Raises BadJson for a repeated key or an integer beyond 64 bits; the data is known to be JSON."""
    try:
        json.loads(data, object_pairs_hook=_object_of, parse_int=_integer_of, parse_constant=_refuse_constant)
    except RecursionError:
        raise BadJson("Too many arrays and objects within each other.") from None


def _object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise BadJson("A key appears twice in one object.")
    return members


def _integer_of(digits: str) -> int:
    if len(digits) <= 20:
        integer = int(digits)
        if _LEAST_64_BIT <= integer <= _GREATEST_64_BIT:
            return integer
    raise BadJson("An integer beyond 64 bits.")


def _refuse_constant(name: str) -> NoReturn:
    raise NotJson(f"{name} is not JSON.")


def _check_nesting(value: Any, most: int) -> None:
    level = [value] if type(value) in _CONTAINERS else []
    for _ in range(most):
        level = [
            item
            for container in level
            for item in (container.values() if type(container) is dict else container)
            if type(item) in _CONTAINERS
        ]
        if not level:
            return
    raise BadJson("Too many arrays and objects within each other.")
