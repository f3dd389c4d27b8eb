"""Mail addresses and telephone numbers that an account is known by."""

from ranvier.store.database import Reader, Row, Transaction


async def owner(reader: Reader, medium: str, address: str) -> str | None:
    """Whose address it is; `address` in its canonical form (mail in lower case, numbers in digits)."""
    sql = "SELECT user_id FROM threepids WHERE medium = $1 AND address = $2"
    return await reader.fetch_value(sql, medium, address)  # type: ignore[no-any-return]


async def of_user(reader: Reader, user_id: str) -> list[Row]:
    """(medium, address, validated_ts, added_ts) of all that the user has."""
    sql = "SELECT medium, address, validated_ts, added_ts FROM threepids WHERE user_id = $1 ORDER BY added_ts, address"
    return list(await reader.fetch(sql, user_id))


async def add(transaction: Transaction, user_id: str, medium: str, address: str, validated_ts: int) -> None:
    """Give the address to the user, from whoever had it."""
    await transaction.insert(
        "threepids",
        "medium, address, user_id, validated_ts, added_ts",
        [(medium, address, user_id, validated_ts, validated_ts)],
        "(medium, address) DO UPDATE SET user_id = excluded.user_id, validated_ts = excluded.validated_ts, "
        "added_ts = excluded.added_ts",
    )


async def remove(transaction: Transaction, user_id: str, medium: str, address: str) -> bool:
    """Take the address away; False if the user did not have it."""
    sql = "DELETE FROM threepids WHERE user_id = $1 AND medium = $2 AND address = $3"
    return await transaction.execute(sql, user_id, medium, address) == 1


async def remove_all(transaction: Transaction, user_id: str) -> None:
    """Take all addresses away."""
    await transaction.execute("DELETE FROM threepids WHERE user_id = $1", user_id)
