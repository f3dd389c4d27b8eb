"""Filters that clients uploaded. They never change, so the same definition has the same number."""

from ranvier.store.database import Reader, Transaction

_ATTEMPTS = 5


async def find(reader: Reader, user_id: str, filter_id: int) -> str | None:
    """The definition (JSON)."""
    sql = "SELECT definition FROM filters WHERE user_id = $1 AND filter_id = $2"
    return await reader.fetch_value(sql, user_id, filter_id)  # type: ignore[no-any-return]


async def find_id(reader: Reader, user_id: str, digest: bytes) -> int | None:
    """The number of the definition with that hash."""
    sql = "SELECT filter_id FROM filters WHERE user_id = $1 AND digest = $2"
    return await reader.fetch_value(sql, user_id, digest)  # type: ignore[no-any-return]


async def add(
    transaction: Transaction, user_id: str, digest: bytes, definition: str, most: int
) -> int | None:
    """The number of the definition, a new one if it is not known; `None` if the user has `most` already."""
    for _ in range(_ATTEMPTS):
        known = await find_id(transaction, user_id, digest)
        if known is not None:
            return known
        sql = "SELECT COALESCE(MAX(filter_id) + 1, 0) FROM filters WHERE user_id = $1"
        number = int(await transaction.fetch_value(sql, user_id))
        if number >= most:
            return None
        # Another process may take the number, or add the definition, at the same moment.
        row = (user_id, number, digest, definition)
        columns = "user_id, filter_id, digest, definition"
        if await transaction.insert("filters", columns, [row], "DO NOTHING"):
            return number
    raise RuntimeError("another process kept taking the numbers of this user's filters")


async def remove_all(transaction: Transaction, user_id: str) -> None:
    """Forget all filters of a user."""
    await transaction.execute("DELETE FROM filters WHERE user_id = $1", user_id)
