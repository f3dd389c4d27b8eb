"""What the bell says to other processes: where the log went on, by whom, and with which entries if they are few.

On the wire it is JSON, `[previous, first, "sender", entries]`: the log's newest position before, that of the first new
entry, the id of the process that wrote them, and the entries, each `[kind, audience, ref]` at a position one higher
than the last; or their number, where they are too many for a message. PostgreSQL's commit writes the same
(`store/postgres_writing.py`), as it alone knows the positions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

LOG: Final = "log"
"""The topic of the bell."""
LONGEST: Final = 48_000
"""Bytes of a message with entries."""

Row = tuple[int, str, str]
"""Kind, audience, ref."""


@dataclass(frozen=True, slots=True)
class Told:
    """The log went on from `previous` to `position`; `entries` begin at `first`, None where they must be read."""

    previous: int
    first: int
    position: int
    sender: str
    entries: Sequence[Row] | None


def write_ring(previous: int, first: int, sender: str, entries: Sequence[Row]) -> bytes:
    """The message for entries that were committed."""
    body = orjson.dumps([previous, first, sender, entries])
    return body if len(body) <= LONGEST else orjson.dumps([previous, first, sender, len(entries)])


def read_ring(body: bytes) -> Told | None:
    """What a message says; None if it is none of ours."""
    try:
        value = orjson.loads(body)
        previous, first, sender, told = value
        if not (_is_position(previous) and _is_position(first) and isinstance(sender, str)):
            return None
        if _is_position(told):
            return Told(previous, first, first + told - 1, sender, None)
        entries = [_row(one) for one in told]
    except (ValueError, TypeError):
        return None
    return Told(previous, first, first + len(entries) - 1, sender, entries) if entries else None


def _is_position(value: Any) -> bool:
    return type(value) is int and value >= 0


def _row(value: Any) -> Row:
    kind, audience, ref = value
    if type(kind) is not int or not isinstance(audience, str) or not isinstance(ref, str):
        raise ValueError("no entry of the log")
    return kind, audience, ref
