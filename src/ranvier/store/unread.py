"""Counters of what notifies, and how far users have read."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ranvier.store.database import Reader, Transaction


class CounterRow(NamedTuple):
    """The counter of a thread after one version of the room's timeline."""

    room: int
    thread: str
    version: int
    counter: int


class ReadRow(NamedTuple):
    """How far a user has read; an empty `thread` means all of them, `counter` is then the main timeline's."""

    room: int
    user_id: str
    thread: str
    version: int
    counter: int


class MarkRow(NamedTuple):
    """What one event means to one user, beyond what it means to all."""

    room: int
    user_id: str
    version: int
    thread: str
    notify: int
    highlight: int


async def write(
    transaction: Transaction,
    counters: Sequence[CounterRow],
    reads: Iterable[ReadRow],
    marks: Sequence[MarkRow],
) -> None:
    """Write what a batch of events did."""
    await transaction.insert("unread_counters", "room, thread, version, counter", counters)
    await write_reads(transaction, reads)
    await transaction.insert(
        "unread_marks", "room, user_id, version, thread, notify, highlight", marks, "DO NOTHING"
    )


async def write_reads(transaction: Transaction, reads: Iterable[ReadRow]) -> None:
    """Move read positions, never backwards."""
    newest = {(row.room, row.user_id, row.thread): row for row in reads}
    await transaction.insert(
        "read_positions",
        "room, user_id, thread, version, counter",
        list(newest.values()),
        "(room, user_id, thread) DO UPDATE SET version = excluded.version, counter = excluded.counter "
        "WHERE read_positions.version < excluded.version",
    )


async def reads_of(reader: Reader, room: int, user_id: str) -> list[ReadRow]:
    """How far a user has read a room, by thread."""
    rows = await reader.fetch(
        "SELECT room, user_id, thread, version, counter FROM read_positions WHERE room = $1 AND user_id = $2",
        room,
        user_id,
    )
    return [ReadRow(*row) for row in rows]


async def marks_of(reader: Reader, room: int, user_id: str, after: int) -> list[MarkRow]:
    """A user's marks after a version, oldest first."""
    rows = await reader.fetch(
        "SELECT room, user_id, version, thread, notify, highlight FROM unread_marks "
        "WHERE room = $1 AND user_id = $2 AND version > $3 ORDER BY version",
        room,
        user_id,
        after,
    )
    return [MarkRow(*row) for row in rows]


async def drop_marks(
    transaction: Transaction, room: int, user_id: str, thread: str | None, until: int
) -> None:
    """Forget marks that were read; those of all threads where `thread` is None."""
    await transaction.execute(
        "DELETE FROM unread_marks WHERE room = $1 AND user_id = $2 AND version <= $3 "
        "AND (thread = $4 OR $4 = '')",
        room,
        user_id,
        until,
        thread or "",
    )


async def counter_at(reader: Reader, room: int, thread: str, version: int) -> int:
    """The counter of a thread after a version."""
    value = await reader.fetch_value(
        "SELECT counter FROM unread_counters WHERE room = $1 AND thread = $2 AND version <= $3 "
        "ORDER BY version DESC LIMIT 1",
        room,
        thread,
        version,
    )
    return int(value or 0)


async def counters(reader: Reader, room: int) -> dict[str, tuple[int, int]]:
    """The newest counter of each thread of a room, with the version that set it, the newest last."""
    rows = await reader.fetch(
        "SELECT thread, MAX(counter), MAX(version) FROM unread_counters WHERE room = $1 GROUP BY thread ORDER BY 3",
        room,
    )
    return {row[0]: (row[1], row[2]) for row in rows}
