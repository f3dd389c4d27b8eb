"""Filters that clients uploaded."""

from ranvier.store.database import Reader


async def read(reader: Reader, user_id: str, filter_id: int) -> str | None:
    """The definition (JSON) of one of the user's filters."""
    return await reader.fetch_value(  # type: ignore[no-any-return]
        "SELECT definition FROM filters WHERE user_id = $1 AND filter_id = $2", user_id, filter_id
    )
