"""How far the readers of the log have come that keep something of their own from it."""

from ranvier.store.database import Reader, Transaction


async def position(reader: Reader, name: str) -> int | None:
    """The position up to which a follower has taken everything in; None before it has begun."""
    value = await reader.fetch_value("SELECT position FROM followers WHERE name = $1", name)
    return int(value) if value is not None else None


async def set_position(transaction: Transaction, name: str, reached: int) -> None:
    """What lies up to here is taken in."""
    await transaction.insert(
        "followers",
        "name, position",
        [(name, reached)],
        "(name) DO UPDATE SET position = excluded.position",
    )
