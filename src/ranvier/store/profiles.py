"""Profiles of local users: two fields that everybody knows, and any others as JSON."""

from typing import Any

import orjson

from ranvier.store.database import Reader, Transaction

COLUMNS = ("displayname", "avatar_url")
"""Fields with a column of their own."""


async def read(reader: Reader, user_id: str) -> dict[str, Any]:
    """All fields of the user's profile; none if there is no such user."""
    row = await reader.fetch_row(
        "SELECT displayname, avatar_url, fields FROM profiles WHERE user_id = $1", user_id
    )
    if row is None:
        return {}
    known = {name: value for name, value in zip(COLUMNS, row, strict=False) if value is not None}
    fields: dict[str, Any] = orjson.loads(row[2])
    return known | fields


async def write(transaction: Transaction, user_id: str, profile: dict[str, Any]) -> None:
    """Make this the whole profile."""
    fields = {name: value for name, value in profile.items() if name not in COLUMNS}
    row = (user_id, profile.get("displayname"), profile.get("avatar_url"), orjson.dumps(fields).decode())
    await transaction.insert(
        "profiles",
        "user_id, displayname, avatar_url, fields",
        [row],
        "(user_id) DO UPDATE SET displayname = excluded.displayname, avatar_url = excluded.avatar_url, "
        "fields = excluded.fields",
    )


async def read_many(reader: Reader, user_ids: list[str]) -> dict[str, tuple[str | None, str | None]]:
    """Display name and avatar of local users, by user."""
    rows = await reader.fetch(
        "SELECT user_id, displayname, avatar_url FROM profiles WHERE user_id = ANY($1)", user_ids
    )
    return {row[0]: (row[1], row[2]) for row in rows}


async def remove(transaction: Transaction, user_id: str) -> None:
    """Forget the profile."""
    await transaction.execute("DELETE FROM profiles WHERE user_id = $1", user_id)
