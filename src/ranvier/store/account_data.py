"""Account data: what clients keep for a user, globally or by room. Contents are JSON texts."""

from collections.abc import Sequence
from typing import NamedTuple

from ranvier.store import tuples
from ranvier.store.database import Reader, Transaction


class AccountData(NamedTuple):
    """One piece; `room_id` is None for what is not about a room."""

    room_id: str | None
    type: str
    content: str


async def write(transaction: Transaction, user_id: str, room_id: str | None, kind: str, content: str) -> None:
    """Put a piece in the place of the one before."""
    await transaction.insert(
        "account_data",
        "user_id, room_id, type, content",
        [(user_id, room_id or "", kind, content)],
        "(user_id, room_id, type) DO UPDATE SET content = excluded.content",
    )


async def delete(transaction: Transaction, user_id: str, room_id: str | None, kind: str) -> int:
    """Remove a piece; answers how many there were."""
    return await transaction.execute(
        "DELETE FROM account_data WHERE user_id = $1 AND room_id = $2 AND type = $3", user_id, room_id or "", kind
    )


async def read(reader: Reader, user_id: str, room_id: str | None, kind: str) -> str | None:
    """One piece's content."""
    return await reader.fetch_value(  # type: ignore[no-any-return]
        "SELECT content FROM account_data WHERE user_id = $1 AND room_id = $2 AND type = $3",
        user_id,
        room_id or "",
        kind,
    )


async def of_user(reader: Reader, user_id: str) -> list[AccountData]:
    """All that is not about a room."""
    rows = await reader.fetch(
        "SELECT type, content FROM account_data WHERE user_id = $1 AND room_id = ''", user_id
    )
    return [AccountData(None, row[0], row[1]) for row in rows]


async def of_rooms(reader: Reader, user_id: str, room_ids: Sequence[str]) -> list[AccountData]:
    """All that is about these rooms."""
    rows = await reader.fetch(
        "SELECT room_id, type, content FROM account_data WHERE user_id = $1 AND room_id = ANY($2)",
        user_id,
        list(room_ids),
    )
    return [AccountData(row[0], row[1], row[2]) for row in rows]


async def changed(
    reader: Reader, user_id: str, pieces: Sequence[tuple[str | None, str]]
) -> list[AccountData]:
    """Some pieces, by room and type, as they stand."""
    found = []
    for portion in tuples.slices([(room or "", kind) for room, kind in dict.fromkeys(pieces)]):
        table, values = tuples.table_of(portion, ("TEXT", "TEXT"), first=2)
        rows = await reader.fetch(
            f"WITH given (room_id, type) AS ({table}) "  # noqa: S608
            "SELECT DISTINCT a.room_id, a.type, a.content FROM given g "
            "JOIN account_data a ON a.user_id = $1 AND a.room_id = g.room_id AND a.type = g.type",
            user_id,
            *values,
        )
        found += [AccountData(row[0] or None, row[1], row[2]) for row in rows]
    return found
