"""What users keep on the server for their clients: by type, for the account as a whole or for one room."""

from collections.abc import Sequence
from dataclasses import dataclass

from ranvier.store import tuples
from ranvier.store.database import Reader, Row, Transaction

_SELECT = "SELECT room_id, type, content FROM account_data WHERE user_id = $1"


@dataclass(frozen=True, slots=True)
class AccountData:
    """One piece; `room_id` is `None` for global data, `content` JSON."""

    room_id: str | None
    type: str
    content: str


def _piece(row: Row) -> AccountData:
    return AccountData(row[0] or None, row[1], row[2])


async def find(reader: Reader, user_id: str, room_id: str | None, kind: str) -> str | None:
    """The content (JSON) of one piece."""
    sql = "SELECT content FROM account_data WHERE user_id = $1 AND room_id = $2 AND type = $3"
    return await reader.fetch_value(sql, user_id, room_id or "", kind)  # type: ignore[no-any-return]


async def of_user(reader: Reader, user_id: str) -> list[AccountData]:
    """All global data of a user."""
    rows = await reader.fetch(_SELECT + " AND room_id = '' ORDER BY type", user_id)
    return [_piece(row) for row in rows]


async def of_rooms(reader: Reader, user_id: str, room_ids: Sequence[str]) -> list[AccountData]:
    """All data of a user for these rooms."""
    if not room_ids:
        return []
    rows = await reader.fetch(
        _SELECT + " AND room_id = ANY($2) AND room_id <> '' ORDER BY room_id, type", user_id, list(room_ids)
    )
    return [_piece(row) for row in rows]


async def everything(reader: Reader, user_id: str) -> list[AccountData]:
    """All data of a user, global and of rooms."""
    return [_piece(row) for row in await reader.fetch(_SELECT + " ORDER BY room_id, type", user_id)]


async def changed(reader: Reader, user_id: str, keys: Sequence[tuple[str | None, str]]) -> list[AccountData]:
    """The pieces with these (room or `None`, type), as they are now; what is gone has an empty content."""
    found: list[AccountData] = []
    wanted = [(room or "", kind) for room, kind in dict.fromkeys(keys)]
    for portion in tuples.slices(wanted):
        table, values = tuples.table_of(portion, ("TEXT", "TEXT"), first=2)
        rows = await reader.fetch(f"{_SELECT} AND (room_id, type) IN ({table})", user_id, *values)
        found += [_piece(row) for row in rows]
    there = {(piece.room_id or "", piece.type) for piece in found}
    return found + [
        AccountData(room or None, kind, "{}") for room, kind in wanted if (room, kind) not in there
    ]


async def count(reader: Reader, user_id: str) -> int:
    """How many pieces the user has."""
    return int(await reader.fetch_value("SELECT COUNT(*) FROM account_data WHERE user_id = $1", user_id))


async def write(transaction: Transaction, user_id: str, room_id: str | None, kind: str, content: str) -> None:
    """Keep a piece (`content` is JSON) in place of the former."""
    await transaction.insert(
        "account_data",
        "user_id, room_id, type, content",
        [(user_id, room_id or "", kind, content)],
        "(user_id, room_id, type) DO UPDATE SET content = excluded.content",
    )


async def remove(transaction: Transaction, user_id: str, room_id: str | None, kind: str) -> bool:
    """Forget a piece; False if there was none."""
    changed = await transaction.execute(
        "DELETE FROM account_data WHERE user_id = $1 AND room_id = $2 AND type = $3",
        user_id,
        room_id or "",
        kind,
    )
    return changed > 0


async def remove_all(transaction: Transaction, user_id: str) -> None:
    """Forget all of a user's data."""
    await transaction.execute("DELETE FROM account_data WHERE user_id = $1", user_id)
