"""Users' push rules, and which members of a room have wishes of their own."""

from collections.abc import Sequence

from ranvier.store.database import Database, Reader, Transaction

_IGNORED = "m.ignored_user_list"


async def write(transaction: Transaction, user_id: str, changes: str) -> None:
    """Keep what a user changed (JSON)."""
    await transaction.insert(
        "push_rules",
        "user_id, changes",
        [(user_id, changes)],
        "(user_id) DO UPDATE SET changes = excluded.changes",
    )


async def of(reader: Reader, user_id: str) -> str | None:
    """What a user changed (JSON), if anything."""
    return await reader.fetch_value(  # type: ignore[no-any-return]
        "SELECT changes FROM push_rules WHERE user_id = $1", user_id
    )


async def ignored_by(reader: Reader, user_id: str) -> str | None:
    """The content of the user's list of ignored users (JSON), if there is one."""
    return await reader.fetch_value(  # type: ignore[no-any-return]
        "SELECT content FROM account_data WHERE user_id = $1 AND room_id = '' AND type = $2",
        user_id,
        _IGNORED,
    )


async def invite_permissions(reader: Reader, user_id: str, kinds: Sequence[str]) -> list[str]:
    """The contents (JSON) of what a user says of invites, in account data of these types."""
    rows = await reader.fetch(
        "SELECT content FROM account_data WHERE user_id = $1 AND room_id = '' AND type = ANY($2)",
        user_id,
        list(kinds),
    )
    return [row[0] for row in rows]


_WISHES = (
    "(EXISTS (SELECT 1 FROM push_rules p WHERE p.user_id = m.user_id) "
    "OR EXISTS (SELECT 1 FROM account_data a WHERE a.user_id = m.user_id AND a.room_id = '' AND a.type = $2))"
)


async def members_with_wishes(database: Database, room: int) -> Sequence[str]:
    """The members of a room who changed push rules or ignore anybody: looks at each member."""
    rows = await database.fetch_slowly(
        f"SELECT m.user_id FROM memberships m WHERE m.room = $1 AND m.membership = 'join' AND {_WISHES}",  # noqa: S608
        room,
        _IGNORED,
    )
    return [row[0] for row in rows]


async def with_wishes_among(reader: Reader, room: int, user_ids: Sequence[str]) -> set[str]:
    """The same of some users only."""
    # By user, of whose rooms there are fewer than there may be members: +room keeps the room's index out of it.
    rows = await reader.fetch(
        "SELECT m.user_id FROM memberships m WHERE +m.room = $1 AND m.membership = 'join' "  # noqa: S608
        f"AND m.user_id = ANY($3) AND {_WISHES}",
        room,
        _IGNORED,
        list(user_ids),
    )
    return {row[0] for row in rows}
