"""Receipts as they stand: the newest of each user, type and thread."""

from collections.abc import Sequence
from typing import NamedTuple

from ranvier.store.database import Database, Reader, Transaction


class ReceiptRow(NamedTuple):
    """A receipt; `thread` is empty where it names none. `version` is the event's place in the room's timeline, `ts` in
    milliseconds since the epoch.
    """

    room: int
    user_id: str
    type: str
    thread: str
    event_id: str
    version: int
    ts: int


_COLUMNS = "room, user_id, type, thread, event_id, version, ts"


async def write(transaction: Transaction, row: ReceiptRow) -> bool:
    """Put a receipt in the place of an older one; False if the one that stands is newer."""
    written = await transaction.insert(
        "receipts",
        _COLUMNS,
        [row],
        "(room, user_id, type, thread) DO UPDATE SET event_id = excluded.event_id, version = excluded.version, "
        "ts = excluded.ts WHERE receipts.version <= excluded.version",
    )
    return written == 1


async def of_rooms(
    database: Database, rooms: Sequence[int], user_id: str, private: str, limit: int
) -> list[ReceiptRow]:
    """The newest receipts of rooms, at most so many of each; of the type `private` only the user's own."""
    rows = await database.fetch_slowly(
        f"SELECT {_COLUMNS} FROM (SELECT {_COLUMNS}, ROW_NUMBER() OVER (PARTITION BY room ORDER BY ts DESC) AS place "  # noqa: S608
        "FROM receipts WHERE room = ANY($1) AND (type <> $2 OR user_id = $3)) AS placed WHERE place <= $4",
        list(rooms),
        private,
        user_id,
        limit,
    )
    return [ReceiptRow(*row) for row in rows]


async def of_user(reader: Reader, room: int, user_id: str) -> list[ReceiptRow]:
    """All receipts of one user in a room."""
    rows = await reader.fetch(
        f"SELECT {_COLUMNS} FROM receipts WHERE room = $1 AND user_id = $2",  # noqa: S608
        room,
        user_id,
    )
    return [ReceiptRow(*row) for row in rows]
