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


async def reads_of(reader: Reader, rooms: Sequence[int], user_id: str) -> list[ReadRow]:
    """How far a user has read rooms, by thread."""
    rows = await reader.fetch(
        "SELECT room, user_id, thread, version, counter FROM read_positions WHERE room = ANY($1) AND user_id = $2",
        list(rooms),
        user_id,
    )
    return [ReadRow(*row) for row in rows]


async def marks_of(reader: Reader, rooms: Sequence[int], user_id: str) -> list[MarkRow]:
    """A user's marks in rooms, the oldest of a room first."""
    rows = await reader.fetch(
        "SELECT room, user_id, version, thread, notify, highlight FROM unread_marks "
        "WHERE room = ANY($1) AND user_id = $2 ORDER BY room, version",
        list(rooms),
        user_id,
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
    # From thread to thread by the index: there is a row for each event that was counted.
    rows = await reader.fetch(
        "WITH RECURSIVE threads (thread) AS ("
        "SELECT MIN(thread) FROM unread_counters WHERE room = $1 UNION ALL "
        "SELECT (SELECT MIN(c.thread) FROM unread_counters c WHERE c.room = $1 AND c.thread > threads.thread) "
        "FROM threads WHERE threads.thread IS NOT NULL), "
        "newest AS (SELECT thread, (SELECT MAX(c.version) FROM unread_counters c "
        "WHERE c.room = $1 AND c.thread = threads.thread) AS version FROM threads WHERE thread IS NOT NULL) "
        "SELECT u.thread, u.counter, u.version FROM newest JOIN unread_counters u "
        "ON u.room = $1 AND u.thread = newest.thread AND u.version = newest.version ORDER BY u.version",
        room,
    )
    return {row[0]: (row[1], row[2]) for row in rows}
