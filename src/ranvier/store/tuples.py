"""Lists of tuples as a table within a statement, for queries that are about many keys of several columns."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, TypeVar

SLICE = 256
"""Rows of a statement at most: its values stay far below what either database takes."""

Column = Literal["TEXT", "BIGINT"]
Tuple = TypeVar("Tuple", bound=Sequence[Any])


def slices(rows: Sequence[Tuple]) -> Iterator[Sequence[Tuple]]:
    """The rows in portions that fit one statement."""
    for start in range(0, len(rows), SLICE):
        yield rows[start : start + SLICE]


def table_of(
    rows: Sequence[Sequence[Any]], columns: Sequence[Column], first: int = 1
) -> tuple[str, list[Any]]:
    """`VALUES (…), (…)` for up to `SLICE` rows, and its values; parameters are numbered from `first`.

    The last row is repeated up to a power of two, so that few different statements exist and each stays
    prepared: only use it where a repeated row does no harm.
    """
    wanted = 1 << (len(rows) - 1).bit_length()
    padded = [*rows, *[rows[-1]] * (wanted - len(rows))]
    texts = []
    for place in range(len(padded)):
        start = first + place * len(columns)
        texts.append("(" + ", ".join(f"CAST(${start + i} AS {c})" for i, c in enumerate(columns)) + ")")
    return "VALUES " + ", ".join(texts), [value for row in padded for value in row]
