"""The kinds of value that a key can have: how each is read, described, and printed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from ranvier.config.tree import Fault, Given

SECOND_MS = 1000
_UNITS_MS = {
    "s": SECOND_MS,
    "m": 60 * SECOND_MS,
    "h": 3600 * SECOND_MS,
    "d": 86_400 * SECOND_MS,
    "w": 7 * 86_400 * SECOND_MS,
    "y": 365 * 86_400 * SECOND_MS,
}
_UNITS_BYTES = {"K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
_MAX_INTEGER = 2**53 - 1


class Secret:
    """Text that must not be shown: `repr` and `str` hide it, `reveal` gives it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret('…')"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash((Secret, self._text))


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A bucket: `burst_count` calls at once, refilled by `per_second`."""

    per_second: float
    burst_count: int


class Kind(Protocol):
    """What a value may be; `read` raises Fault with what mends it, `description` is for people."""

    @property
    def description(self) -> str: ...

    def read(self, given: Given) -> Any: ...


def _shown(given: Given) -> str:
    text = repr(given.plain())
    return text if len(text) <= 60 else text[:57] + "..."


def _misfit(given: Given, wanted: str) -> Fault:
    return Fault(given.place, f"this must be {wanted}, but it is {_shown(given)}")


@dataclass(frozen=True, slots=True)
class Flag:
    """true or false."""

    description: str = "true or false"

    def read(self, given: Given) -> bool:
        if not isinstance(given.value, bool):
            raise _misfit(given, "true or false, without quotes")
        return given.value


@dataclass(frozen=True, slots=True)
class Integer:
    """A whole number between bounds."""

    least: int = 0
    most: int = _MAX_INTEGER

    @property
    def description(self) -> str:
        return f"whole number from {self.least}" + (f" to {self.most}" if self.most < _MAX_INTEGER else "")

    def read(self, given: Given) -> int:
        value = given.value
        if isinstance(value, bool) or not isinstance(value, int) or not self.least <= value <= self.most:
            raise _misfit(given, f"a {self.description}")
        return value


@dataclass(frozen=True, slots=True)
class NumberOrAuto:
    """A whole number between bounds, or the word auto, which is None."""

    least: int
    most: int

    @property
    def description(self) -> str:
        return f"{Integer(self.least, self.most).description}, or auto"

    def read(self, given: Given) -> int | None:
        if given.value == "auto":
            return None
        if isinstance(given.value, str):
            raise _misfit(given, f"a {self.description}")
        return Integer(self.least, self.most).read(given)


@dataclass(frozen=True, slots=True)
class Number:
    """A number that is not negative."""

    description: str = "number"

    def read(self, given: Given) -> float:
        value = given.value
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _MAX_INTEGER:
            raise _misfit(given, "a number that is not negative")
        return float(value)


@dataclass(frozen=True, slots=True)
class Text:
    """Text; `check` returns a sentence when the text is not fit, or None."""

    description: str = "text"
    check: Callable[[str], str | None] | None = None

    def read(self, given: Given) -> str:
        if not isinstance(given.value, str) or not given.value.strip():
            cure = " (put it in quotes)" if isinstance(given.value, int | float) else ""
            raise _misfit(given, f"{self.description}{cure}")
        sentence = self.check(given.value) if self.check is not None else None
        if sentence is not None:
            raise Fault(given.place, sentence)
        return given.value


@dataclass(frozen=True, slots=True)
class SecretText:
    """Text that no log and no complaint shows."""

    description: str = "text, secret"

    def read(self, given: Given) -> Secret:
        if not isinstance(given.value, str) or not given.value.strip():
            raise Fault(given.place, "this must be text that is not empty; put it in quotes")
        return Secret(given.value)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words."""

    options: tuple[str | bool, ...]

    @property
    def description(self) -> str:
        return " | ".join(str(option).lower() for option in self.options)

    def read(self, given: Given) -> str | bool:
        for option in self.options:
            if type(given.value) is type(option) and given.value == option:
                return option
        if str(given.value) in self.options:
            raise Fault(given.place, f"put {given.value} in quotes: '{given.value}'")
        raise _misfit(given, "one of " + self.description)


@dataclass(frozen=True, slots=True)
class Duration:
    """Milliseconds, or a number with s, m, h, d, w or y; None where it may be without end."""

    endless: bool = False

    @property
    def description(self) -> str:
        return "duration (30s, 5m, 2h, 7d, 4w, 1y)" + (", or infinity" if self.endless else "")

    def read(self, given: Given) -> int | None:
        value = given.value
        if self.endless and value in ("infinity", None):
            return None
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_INTEGER:
            return value
        match = re.fullmatch(r"(\d{1,15})([smhdwy]?)", value) if isinstance(value, str) else None
        if match is None:
            raise _misfit(given, f"a {self.description}")
        milliseconds = int(match[1]) * (_UNITS_MS[match[2]] if match[2] else 1)
        if milliseconds > _MAX_INTEGER:
            raise _misfit(given, "a shorter duration")
        return milliseconds


@dataclass(frozen=True, slots=True)
class Size:
    """Bytes (or a count), or a number with K, M, G or T, each 1024 times the one before."""

    description: str = "size (512K, 50M, 2G)"

    def read(self, given: Given) -> int:
        value = given.value
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_INTEGER:
            return value
        match = re.fullmatch(r"(\d{1,15})([KMGT]?)(?:i?B)?", value) if isinstance(value, str) else None
        if match is None:
            raise _misfit(given, f"a {self.description}")
        return int(match[1]) * _UNITS_BYTES.get(match[2], 1)


@dataclass(frozen=True, slots=True)
class Rate:
    """`per_second` and `burst_count` of a rate limit."""

    description: str = "per_second: number, burst_count: number"

    def read(self, given: Given) -> RateLimit:
        entries = given.value
        if not isinstance(entries, dict) or set(entries) != {"per_second", "burst_count"}:
            raise _misfit(given, "a block with `per_second` and `burst_count`")
        return RateLimit(
            per_second=Number().read(entries["per_second"]),
            burst_count=int(Number().read(entries["burst_count"])),
        )


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of one kind of item."""

    item: Kind
    most: int = 1000

    @property
    def description(self) -> str:
        return f"list of: {self.item.description}"

    def read(self, given: Given) -> tuple[Any, ...]:
        if not isinstance(given.value, list):
            raise _misfit(given, "a list (lines that begin with `- `)")
        if len(given.value) > self.most:
            raise Fault(given.place, f"this list has more than {self.most} items")
        return tuple(self.item.read(item) for item in given.value)


@dataclass(frozen=True, slots=True)
class Free:
    """A block whose keys this program doesn't judge."""

    description: str = "block"

    def read(self, given: Given) -> dict[str, Any]:
        if not isinstance(given.value, dict):
            raise _misfit(given, "a block of `key: value` lines")
        plain: dict[str, Any] = given.plain()
        return plain


@dataclass(frozen=True, slots=True)
class Key:
    """A key of the configuration.

    `default` is YAML as one would write it (None: there is none), `doc` says what the key does, `example` is
    what the sample shows instead of the default. Nothing else in the program knows a key's default.
    """

    name: str
    kind: Kind | Block | Blocks
    default: Any = None
    doc: str = ""
    example: Any = None
    required: bool = False


@dataclass(frozen=True, slots=True)
class Block:
    """Keys below a key."""

    keys: tuple[Key, ...]
    description: str = "block"


@dataclass(frozen=True, slots=True)
class Blocks:
    """A list of blocks with the same keys."""

    keys: tuple[Key, ...]
    description: str = "list of blocks"


@dataclass(frozen=True, slots=True)
class Section:
    """Keys that belong together in the sample and the manual."""

    title: str
    keys: tuple[Key, ...]


def with_names(keys: tuple[Key, ...], prefix: str = "") -> Iterator[tuple[str, Key]]:
    """All keys with their dotted names, a block before what stands in it."""
    for key in keys:
        name = prefix + key.name
        yield name, key
        if isinstance(key.kind, Block):
            yield from with_names(key.kind.keys, f"{name}.")
        elif isinstance(key.kind, Blocks):
            yield from with_names(key.kind.keys, f"{name}[].")
