"""Receipts as they stand: the newest of each user, type and thread."""

from collections.abc import Sequence
from typing import NamedTuple

from ranvier.store.database import Reader, Transaction


class ReceiptRow(NamedTuple):
    """A receipt; `thread` is empty where it names none. `ts` is in milliseconds since the epoch."""

    room: int
    user_id: str
    type: str
    thread: str
    event_id: str
    ts: int


_COLUMNS = "room, user_id, type, thread, event_id, ts"


async def write(transaction: Transaction, rows: Sequence[ReceiptRow]) -> None:
    """Put receipts in the place of older ones."""
    await transaction.insert(
        "receipts",
        _COLUMNS,
        rows,
        "(room, user_id, type, thread) DO UPDATE SET event_id = excluded.event_id, ts = excluded.ts",
    )


async def of_room(reader: Reader, room: int, limit: int) -> list[ReceiptRow]:
    """The newest receipts of a room, at most so many."""
    rows = await reader.fetch(
        f"SELECT {_COLUMNS} FROM receipts WHERE room = $1 ORDER BY ts DESC LIMIT $2",  # noqa: S608
        room,
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
