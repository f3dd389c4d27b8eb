"""Counters of what notifies, and how far users have read."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ranvier.store.database import Reader, Transaction

EVERYONE = ""
"""Whose mark is a redacted event's: it takes back, for every reader, what the event meant."""


HIGHLIGHTS = "+"
"""Before a thread's name: its counter of events that highlight everyone, such as one that mentions the whole room."""


class CounterRow(NamedTuple):
    """A counter of a thread after one version of the room's timeline: of what notifies, or of `HIGHLIGHTS`."""

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
    await transaction.put("unread_counters", "room, thread, version, counter", counters)
    await write_reads(transaction, reads)
    await transaction.put(
        "unread_marks", "room, user_id, version, thread, notify, highlight", marks, "DO NOTHING"
    )


async def counted_at(
    reader: Reader, places: Sequence[tuple[int, str, int]]
) -> dict[tuple[int, str, int], CounterRow]:
    """Of (room, thread, version), those whose event moved the counter, with it."""
    rows = await reader.fetch(
        "SELECT room, thread, version, counter FROM unread_counters "
        "WHERE room = ANY($1) AND thread = ANY($2) AND version = ANY($3)",
        sorted({room for room, _, _ in places}),
        sorted({thread for _, thread, _ in places}),
        sorted({version for _, _, version in places}),
    )
    wanted = set(places)
    found = (CounterRow(*row) for row in rows)
    return {row[:3]: row for row in found if row[:3] in wanted}


async def marks_at(reader: Reader, places: Sequence[tuple[int, int]]) -> dict[tuple[int, int], list[MarkRow]]:
    """The marks of events, by (room, version)."""
    rows = await reader.fetch(
        "SELECT room, user_id, version, thread, notify, highlight FROM unread_marks "
        "WHERE room = ANY($1) AND version = ANY($2)",
        sorted({room for room, _ in places}),
        sorted({version for _, version in places}),
    )
    found: dict[tuple[int, int], list[MarkRow]] = {}
    for row in rows:
        found.setdefault((row[0], row[2]), []).append(MarkRow(*row))
    return found


async def write_reads(transaction: Transaction, reads: Iterable[ReadRow]) -> None:
    """Move read positions, never backwards."""
    newest = {(row.room, row.user_id, row.thread): row for row in reads}
    await transaction.put(
        "read_positions",
        "room, user_id, thread, version, counter",
        # In one order whoever writes, so that no two processes wait for each other.
        sorted(newest.values()),
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
    """A user's marks in rooms, and everyone's on what the user has not read; the oldest of a room first."""
    rows = await reader.fetch(
        "SELECT room, user_id, version, thread, notify, highlight FROM unread_marks "
        "WHERE room = ANY($1) AND user_id = $2 UNION ALL "
        "SELECT m.room, m.user_id, m.version, m.thread, m.notify, m.highlight FROM rooms r "
        "JOIN unread_marks m ON m.room = r.nid AND m.user_id = '' AND m.version > COALESCE(("
        "SELECT p.version FROM read_positions p WHERE p.room = r.nid AND p.user_id = $2 AND p.thread = ''), 0) "
        "WHERE r.nid = ANY($1)",
        list(rooms),
        user_id,
    )
    return sorted((MarkRow(*row) for row in rows), key=lambda mark: (mark.room, mark.version))


async def take_back(transaction: Transaction, room: int, thread: str, version: int) -> None:
    """The event that made a version of the room's timeline was redacted: it counts for nobody any more."""
    places = [(room, thread, version), (room, HIGHLIGHTS + thread, version)]
    counted = await counted_at(transaction, places)
    notify, highlight = (-1 if place in counted else 0 for place in places)
    mark = MarkRow(room, EVERYONE, version, thread, notify, highlight)
    await transaction.insert(
        "unread_marks", "room, user_id, version, thread, notify, highlight", [mark], "DO NOTHING"
    )


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


async def counters(reader: Reader, rooms: Sequence[int]) -> dict[int, dict[str, tuple[int, int]]]:
    """By room, the newest counter of each thread, with the version that set it, the newest last."""
    # From thread to thread by the index: there is a row for each event that was counted.
    rows = await reader.fetch(
        "WITH RECURSIVE threads (room, thread) AS ("
        "SELECT r.nid, (SELECT MIN(c.thread) FROM unread_counters c WHERE c.room = r.nid) "
        "FROM rooms r WHERE r.nid = ANY($1) UNION ALL SELECT threads.room, (SELECT MIN(c.thread) "
        "FROM unread_counters c WHERE c.room = threads.room AND c.thread > threads.thread) "
        "FROM threads WHERE threads.thread IS NOT NULL), "
        "newest AS (SELECT room, thread, (SELECT MAX(c.version) FROM unread_counters c "
        "WHERE c.room = threads.room AND c.thread = threads.thread) AS version FROM threads "
        "WHERE thread IS NOT NULL) "
        "SELECT u.room, u.thread, u.counter, u.version FROM newest JOIN unread_counters u "
        "ON u.room = newest.room AND u.thread = newest.thread AND u.version = newest.version ORDER BY u.version",
        list(rooms),
    )
    found: dict[int, dict[str, tuple[int, int]]] = {room: {} for room in rooms}
    for room, thread, counter, version in rows:
        found[room][thread] = (counter, version)
    return found
