"""Users of this server: what an account is, and what administrators may change of it."""

from dataclasses import dataclass
from typing import Any

from ranvier.store.database import Reader, Transaction

_COLUMNS = (
    "user_id, password_hash, admin, guest, deactivated, erased, locked, suspended, shadow_banned, "
    "user_type, appservice_id, consent, consent_ts, created_ts"
)
FLAGS = frozenset({"admin", "locked", "suspended", "shadow_banned"})
"""The flags that `set_flag` may change; the others are changed by what they stand for."""


@dataclass(frozen=True, slots=True)
class Account:
    """One row of `users`. `password_hash` is never shown to anybody."""

    user_id: str
    password_hash: str | None
    admin: bool
    guest: bool
    deactivated: bool
    erased: bool
    locked: bool
    suspended: bool
    shadow_banned: bool
    user_type: str | None
    appservice_id: str | None
    consent: str | None
    consent_ts: int | None
    created_ts: int


async def find(reader: Reader, user_id: str) -> Account | None:
    """The account, if there is one; deactivated ones are there too."""
    row = await reader.fetch_row(f"SELECT {_COLUMNS} FROM users WHERE user_id = $1", user_id)  # noqa: S608
    return _account(row) if row is not None else None


def _account(row: Any) -> Account:
    return Account(*row[:2], *(bool(flag) for flag in row[2:9]), *row[9:])


async def exists(reader: Reader, user_id: str) -> bool:
    """Whether the name is taken, by whomever: also a deactivated account keeps it for ever."""
    return await reader.fetch_value("SELECT 1 FROM users WHERE user_id = $1", user_id) is not None


async def create(
    transaction: Transaction,
    user_id: str,
    password_hash: str | None,
    created_ts: int,
    *,
    admin: bool = False,
    user_type: str | None = None,
    appservice_id: str | None = None,
    consent: str | None = None,
) -> bool:
    """Add an account; False if the name is taken."""
    consent_ts = created_ts if consent is not None else None
    row = (
        user_id,
        password_hash,
        admin,
        *[False] * 6,
        user_type,
        appservice_id,
        consent,
        consent_ts,
        created_ts,
    )
    return await transaction.insert("users", _COLUMNS, [row], "DO NOTHING") == 1


async def set_password(transaction: Transaction, user_id: str, password_hash: str | None) -> None:
    """Give the account another password, or none."""
    await transaction.execute(
        "UPDATE users SET password_hash = $2 WHERE user_id = $1", user_id, password_hash
    )


async def replace_password(transaction: Transaction, user_id: str, old: str, new: str) -> bool:
    """Store the same password in another form, unless it was changed meanwhile."""
    sql = "UPDATE users SET password_hash = $3 WHERE user_id = $1 AND password_hash = $2"
    return await transaction.execute(sql, user_id, old, new) == 1


async def set_flag(transaction: Transaction, user_id: str, flag: str, value: bool) -> bool:
    """Set one of `FLAGS`; False if there is no such user, or the flag is so already."""
    if flag not in FLAGS:
        raise LookupError(f"{flag!r} is not a flag of an account")
    sql = f"UPDATE users SET {flag} = $2 WHERE user_id = $1 AND {flag} <> $2"  # noqa: S608 - one of FLAGS
    return await transaction.execute(sql, user_id, value) == 1


async def deactivate(transaction: Transaction, user_id: str, erase: bool) -> None:
    """Close the account: no password, and its rooms are still to be left."""
    await transaction.execute(
        "UPDATE users SET deactivated = $2, password_hash = NULL, erased = $3 WHERE user_id = $1",
        user_id,
        True,
        erase,
    )
    await transaction.insert(
        "departures", "user_id, erase", [(user_id, erase)], "(user_id) DO UPDATE SET erase = excluded.erase"
    )


async def reactivate(transaction: Transaction, user_id: str) -> None:
    """Open the account again, without a password."""
    await transaction.execute(
        "UPDATE users SET deactivated = $2, erased = $2 WHERE user_id = $1", user_id, False
    )
    await finish_departure(transaction, user_id)


async def departures(reader: Reader) -> list[str]:
    """Deactivated users who have still to leave their rooms."""
    return [row[0] for row in await reader.fetch("SELECT user_id FROM departures ORDER BY user_id")]


async def finish_departure(transaction: Transaction, user_id: str) -> None:
    """All rooms are left."""
    await transaction.execute("DELETE FROM departures WHERE user_id = $1", user_id)


async def erased_of(reader: Reader, user_ids: list[str]) -> set[str]:
    """Those of the users whose messages newcomers may not see."""
    rows = await reader.fetch(
        "SELECT user_id FROM users WHERE user_id = ANY($1) AND erased = $2", user_ids, True
    )
    return {row[0] for row in rows}


async def rooms_to_leave(reader: Reader, user_id: str) -> list[str]:
    """The rooms that the user is in, is invited to, or asks to be let into."""
    sql = (
        "SELECT room_id FROM memberships WHERE user_id = $1 AND membership IN ('join', 'invite', 'knock') "
        "ORDER BY room_id"
    )
    return [row[0] for row in await reader.fetch(sql, user_id)]


async def share_a_room(reader: Reader, one: str, other: str) -> bool:
    """Whether both are in some room together."""
    sql = (
        "SELECT 1 FROM memberships a JOIN memberships b ON a.room_id = b.room_id "
        "WHERE a.user_id = $1 AND a.membership = 'join' AND b.user_id = $2 AND b.membership = 'join' LIMIT 1"
    )
    return await reader.fetch_value(sql, one, other) is not None


async def guests_in(reader: Reader, room: int) -> list[str]:
    """The guests among a room's members."""
    sql = (
        "SELECT m.user_id FROM memberships m JOIN users u ON u.user_id = m.user_id "
        "WHERE m.room = $1 AND m.membership = 'join' AND u.guest = $2"
    )
    return [row[0] for row in await reader.fetch(sql, room, True)]
