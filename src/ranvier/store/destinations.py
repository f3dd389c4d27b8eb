"""Other servers that did not answer: since when, and how long they are left alone."""

from collections.abc import Sequence
from typing import NamedTuple

from ranvier.store.database import Reader, Transaction


class Failing(NamedTuple):
    """Since when it fails and when it was last tried (milliseconds since the epoch); then it is left alone for
    `wait_ms`, which chance made of `base_ms`."""

    destination: str
    since_ts: int
    tried_ts: int
    base_ms: int
    wait_ms: int


_COLUMNS = ", ".join(Failing._fields)


async def read_failing(reader: Reader, limit: int) -> list[Failing]:
    """Those that fail, the ones tried last first."""
    rows = await reader.fetch(
        f"SELECT {_COLUMNS} FROM destinations ORDER BY tried_ts DESC LIMIT $1",  # noqa: S608
        limit,
    )
    return [Failing(*row) for row in rows]


async def save(transaction: Transaction, failing: Failing) -> None:
    """Keep what is known of one."""
    await transaction.insert(
        "destinations",
        _COLUMNS,
        [failing],
        "(destination) DO UPDATE SET since_ts = excluded.since_ts, tried_ts = excluded.tried_ts, "
        "base_ms = excluded.base_ms, wait_ms = excluded.wait_ms",
    )


async def forget(transaction: Transaction, names: Sequence[str]) -> None:
    """They are there again, or forgotten for lack of room."""
    await transaction.execute("DELETE FROM destinations WHERE destination = ANY($1)", list(names))
