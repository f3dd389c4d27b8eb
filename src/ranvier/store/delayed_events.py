"""Events that shall be sent later (MSC4140)."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from ranvier.store.database import Reader, Transaction

Outcome = Literal["send", "cancel", "error"]


class DelayedEvent(NamedTuple):
    """One of them; times are milliseconds since the epoch, `content` and `error` JSON.

    `outcome` is None as long as it waits.
    """

    delay_id: str
    user_id: str
    room_id: str
    type: str
    state_key: str | None
    content: str
    delay: int
    running_since: int
    outcome: Outcome | None = None
    event_id: str | None = None
    error: str | None = None
    finalised_ts: int | None = None

    @property
    def due(self) -> int:
        """When it shall be sent."""
        return self.running_since + self.delay


_COLUMNS = ", ".join(DelayedEvent._fields)
_FROM = f"SELECT {_COLUMNS} FROM delayed_events"  # noqa: S608


async def insert(transaction: Transaction, delayed: DelayedEvent) -> None:
    """Schedule it."""
    await transaction.insert("delayed_events", _COLUMNS, [delayed])


async def find(reader: Reader, delay_id: str) -> DelayedEvent | None:
    """One by its id, waiting or not."""
    row = await reader.fetch_row(f"{_FROM} WHERE delay_id = $1", delay_id)
    return DelayedEvent(*row) if row is not None else None


async def waiting(reader: Reader, user_id: str) -> list[DelayedEvent]:
    """All of a user that wait, those first that are due first."""
    rows = await reader.fetch(
        f"{_FROM} WHERE user_id = $1 AND finalised_ts IS NULL ORDER BY running_since + delay, delay_id",
        user_id,
    )
    return [DelayedEvent(*row) for row in rows]


async def finalised(reader: Reader, user_id: str, limit: int) -> list[DelayedEvent]:
    """The newest of a user that are sent, cancelled or failed, in the order in which they would have been due."""
    rows = await reader.fetch(
        f"{_FROM} WHERE user_id = $1 AND finalised_ts IS NOT NULL ORDER BY finalised_ts DESC LIMIT $2",
        user_id,
        limit,
    )
    return sorted((DelayedEvent(*row) for row in rows), key=lambda one: (one.due, one.delay_id))


async def due(reader: Reader, now: int, limit: int) -> list[DelayedEvent]:
    """What is to be sent now, in order."""
    rows = await reader.fetch(
        f"{_FROM} WHERE finalised_ts IS NULL AND running_since + delay <= $1 "
        "ORDER BY running_since + delay, delay_id LIMIT $2",
        now,
        limit,
    )
    return [DelayedEvent(*row) for row in rows]


async def next_due(reader: Reader) -> int | None:
    """When the next is to be sent."""
    value: Any = await reader.fetch_value(
        "SELECT MIN(running_since + delay) FROM delayed_events WHERE finalised_ts IS NULL"
    )
    return value  # type: ignore[no-any-return]


async def restart(transaction: Transaction, delay_id: str, now: int) -> bool:
    """Let its time begin anew; False if it no longer waits."""
    changed = await transaction.execute(
        "UPDATE delayed_events SET running_since = $2 WHERE delay_id = $1 AND finalised_ts IS NULL",
        delay_id,
        now,
    )
    return changed == 1


async def finalise(
    transaction: Transaction,
    delay_id: str,
    outcome: Outcome,
    now: int,
    *,
    event_id: str | None = None,
    error: str | None = None,
) -> bool:
    """Note what became of it; False if that is known already."""
    changed = await transaction.execute(
        "UPDATE delayed_events SET outcome = $2, finalised_ts = $3, event_id = $4, error = $5 "
        "WHERE delay_id = $1 AND finalised_ts IS NULL",
        delay_id,
        outcome,
        now,
        event_id,
        error,
    )
    return changed == 1


async def trim(transaction: Transaction, before: int, limit: int = 500) -> int:
    """Forget a slice of what was finalised before a time; answers how many."""
    rows: Sequence[Any] = await transaction.fetch(
        "SELECT delay_id FROM delayed_events WHERE finalised_ts < $1 LIMIT $2", before, limit
    )
    if not rows:
        return 0
    return await transaction.execute(
        "DELETE FROM delayed_events WHERE delay_id = ANY($1)", [row[0] for row in rows]
    )
