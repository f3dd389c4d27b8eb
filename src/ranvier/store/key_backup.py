"""Backups of room keys: versions by user, and the encrypted keys in them."""

from collections.abc import Sequence
from typing import NamedTuple

from ranvier.store import tuples
from ranvier.store.database import Reader, Transaction


class BackupRow(NamedTuple):
    """One version of a user's backup; `auth_data` is JSON, `etag` counts changes of its keys."""

    version: int
    algorithm: str
    auth_data: str
    etag: int
    key_count: int


class BackedUpKey(NamedTuple):
    """A room key; `session_data` is JSON."""

    room_id: str
    session_id: str
    first_message_index: int
    forwarded_count: int
    is_verified: bool
    session_data: str


_BACKUP = "version, algorithm, auth_data, etag, key_count"
_KEY = "room_id, session_id, first_message_index, forwarded_count, is_verified, session_data"


async def read_backup(reader: Reader, user_id: str, version: int | None) -> BackupRow | None:
    """A version of a user's backup, or the newest; deleted ones are not there."""
    if version is None:
        row = await reader.fetch_row(
            f"SELECT {_BACKUP} FROM key_backups WHERE user_id = $1 AND deleted = FALSE "  # noqa: S608
            "ORDER BY version DESC LIMIT 1",
            user_id,
        )
    else:
        row = await reader.fetch_row(
            f"SELECT {_BACKUP} FROM key_backups WHERE user_id = $1 AND version = $2 AND deleted = FALSE",  # noqa: S608
            user_id,
            version,
        )
    return BackupRow(*row) if row is not None else None


async def count_backups(reader: Reader, user_id: str) -> int:
    """How many versions a user keeps."""
    return int(
        await reader.fetch_value(
            "SELECT COUNT(*) FROM key_backups WHERE user_id = $1 AND deleted = FALSE", user_id
        )
    )


async def newest_version(reader: Reader, user_id: str) -> int:
    """The greatest version number that the user was ever given; 0 if there was none."""
    return int(
        await reader.fetch_value(
            "SELECT COALESCE(MAX(version), 0) FROM key_backups WHERE user_id = $1", user_id
        )
    )


async def insert_backup(
    transaction: Transaction, user_id: str, version: int, algorithm: str, auth_data: str
) -> bool:
    """A new, empty version; False if another process just gave that number."""
    written = await transaction.insert(
        "key_backups",
        "user_id, version, algorithm, auth_data, etag, key_count, deleted",
        [(user_id, version, algorithm, auth_data, 0, 0, False)],
        "DO NOTHING",
    )
    await transaction.execute(
        "DELETE FROM key_backups WHERE user_id = $1 AND version < $2 AND deleted = TRUE", user_id, version
    )
    return written == 1


async def update_auth_data(transaction: Transaction, user_id: str, version: int, auth_data: str) -> None:
    """Replace what a version says of how its keys are encrypted."""
    await transaction.execute(
        "UPDATE key_backups SET auth_data = $3 WHERE user_id = $1 AND version = $2",
        user_id,
        version,
        auth_data,
    )


async def delete_backup(transaction: Transaction, user_id: str, version: int) -> None:
    """Delete a version with its keys."""
    await transaction.execute(
        "UPDATE key_backups SET deleted = TRUE, auth_data = '{}', key_count = 0 WHERE user_id = $1 AND version = $2",
        user_id,
        version,
    )
    await transaction.execute(
        "DELETE FROM backed_up_keys WHERE user_id = $1 AND version = $2", user_id, version
    )


async def delete_backups(transaction: Transaction, user_id: str) -> None:
    """Forget all backups of a user, as when the account is closed."""
    await transaction.execute("DELETE FROM backed_up_keys WHERE user_id = $1", user_id)
    await transaction.execute("DELETE FROM key_backups WHERE user_id = $1", user_id)


async def lock_backup(transaction: Transaction, user_id: str, version: int) -> BackupRow | None:
    """A version that no other transaction changes until this one ends."""
    await transaction.execute(
        "UPDATE key_backups SET etag = etag WHERE user_id = $1 AND version = $2", user_id, version
    )
    return await read_backup(transaction, user_id, version)


async def advance(transaction: Transaction, user_id: str, version: int, more: int) -> None:
    """Note that a version's keys changed, and by how many their number grew."""
    await transaction.execute(
        "UPDATE key_backups SET etag = etag + 1, key_count = key_count + $3 WHERE user_id = $1 AND version = $2",
        user_id,
        version,
        more,
    )


async def read_metadata(
    reader: Reader, user_id: str, version: int, names: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], tuple[bool, int, int]]:
    """What decides between two keys of a session, by room and session.

    That is: verified, first message index, forwarded count.
    """
    found = {}
    for portion in tuples.slices(names):
        table, values = tuples.table_of(portion, ("TEXT", "TEXT"), first=3)
        rows = await reader.fetch(
            "SELECT room_id, session_id, is_verified, first_message_index, forwarded_count "  # noqa: S608
            f"FROM backed_up_keys WHERE user_id = $1 AND version = $2 AND (room_id, session_id) IN ({table})",
            user_id,
            version,
            *values,
        )
        for room_id, session_id, is_verified, index, count in rows:
            found[room_id, session_id] = (bool(is_verified), index, count)
    return found


async def write_keys(
    transaction: Transaction, user_id: str, version: int, keys: Sequence[BackedUpKey]
) -> None:
    """Keep keys, in place of older ones of the same sessions."""
    await transaction.insert(
        "backed_up_keys",
        f"user_id, version, {_KEY}",
        [(user_id, version, *key) for key in keys],
        "(user_id, version, room_id, session_id) DO UPDATE SET "
        "first_message_index = excluded.first_message_index, forwarded_count = excluded.forwarded_count, "
        "is_verified = excluded.is_verified, session_data = excluded.session_data",
    )


async def delete_keys(
    transaction: Transaction, user_id: str, version: int, room_id: str | None, session_id: str | None
) -> int:
    """Delete the keys of a version, of a room, or of one session; answers how many there were."""
    condition, values = _where(user_id, version, room_id, session_id)
    return await transaction.execute(f"DELETE FROM backed_up_keys WHERE {condition}", *values)  # noqa: S608


async def read_key(
    reader: Reader, user_id: str, version: int, room_id: str, session_id: str
) -> BackedUpKey | None:
    """One key."""
    condition, values = _where(user_id, version, room_id, session_id)
    row = await reader.fetch_row(f"SELECT {_KEY} FROM backed_up_keys WHERE {condition}", *values)  # noqa: S608
    return _key(row) if row is not None else None


async def read_page(
    reader: Reader, user_id: str, version: int, room_id: str | None, after: tuple[str, str], limit: int
) -> list[BackedUpKey]:
    """The next keys of a version, or of one room in it, in the order of room and session."""
    condition, values = _where(user_id, version, room_id, None)
    n = len(values)
    rows = await reader.fetch(
        f"SELECT {_KEY} FROM backed_up_keys WHERE {condition} "  # noqa: S608
        f"AND (room_id, session_id) > (${n + 1}, ${n + 2}) ORDER BY room_id, session_id LIMIT ${n + 3}",
        *values,
        *after,
        limit,
    )
    return [_key(row) for row in rows]


def _where(
    user_id: str, version: int, room_id: str | None, session_id: str | None
) -> tuple[str, list[str | int]]:
    condition: str = "user_id = $1 AND version = $2"
    values: list[str | int] = [user_id, version]
    if room_id is not None:
        values.append(room_id)
        condition += " AND room_id = $3"
    if session_id is not None:
        values.append(session_id)
        condition += f" AND session_id = ${len(values)}"
    return condition, values


def _key(row: Sequence[object]) -> BackedUpKey:
    key = BackedUpKey(*row)  # type: ignore[arg-type]
    return key._replace(is_verified=bool(key.is_verified))
