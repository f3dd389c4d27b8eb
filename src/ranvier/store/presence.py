"""What is kept of presence: status messages. Everything else passes away with the process."""

from collections.abc import Sequence
from typing import NamedTuple

from ranvier.store.database import Database, Reader, Transaction


class Stored(NamedTuple):
    """A user's status message, and when they set it (ms since the epoch)."""

    status_msg: str
    set_ts: int


async def find(reader: Reader, user_id: str) -> Stored | None:
    """What is kept of a user."""
    row = await reader.fetch_row("SELECT status_msg, set_ts FROM presence WHERE user_id = $1", user_id)
    return Stored(row[0], row[1]) if row is not None else None


async def write(transaction: Transaction, user_id: str, status_msg: str, now: int) -> None:
    """Keep a status message."""
    await transaction.insert(
        "presence",
        "user_id, status_msg, set_ts",
        [(user_id, status_msg, now)],
        "(user_id) DO UPDATE SET status_msg = excluded.status_msg, set_ts = excluded.set_ts",
    )


async def remove(transaction: Transaction, user_id: str) -> None:
    """Keep nothing of a user."""
    await transaction.execute("DELETE FROM presence WHERE user_id = $1", user_id)


async def of_rooms(database: Database, rooms: Sequence[int], limit: int) -> dict[str, Stored]:
    """What is kept of members of these rooms, the newest first."""
    rows = await database.fetch_slowly(
        "SELECT user_id, status_msg, set_ts FROM presence WHERE user_id IN "
        "(SELECT user_id FROM memberships WHERE room = ANY($1) AND membership = 'join') "
        "ORDER BY set_ts DESC LIMIT $2",
        list(rooms),
        limit,
    )
    return {row[0]: Stored(row[1], row[2]) for row in rows}


async def joined_rooms(reader: Reader, user_ids: Sequence[str]) -> dict[str, list[int]]:
    """The rooms that users are in, by user; those in none are left out."""
    rows = await reader.fetch(
        "SELECT user_id, room FROM memberships WHERE user_id = ANY($1) AND membership = 'join'",
        list(user_ids),
    )
    found: dict[str, list[int]] = {}
    for user_id, room in rows:
        found.setdefault(user_id, []).append(room)
    return found
