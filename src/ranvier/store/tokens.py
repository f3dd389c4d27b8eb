"""Access, refresh and single-purpose tokens. Only their SHA-256 is stored."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ranvier.store.database import Reader, Transaction

Purpose = Literal["login", "openid"]


@dataclass(frozen=True, slots=True)
class AccessToken:
    """An access token with the facts of its user that every request needs.

    `supersedes` is the refresh token that falls when this token is first used.
    """

    user_id: str
    device_id: str | None
    expires_ts: int | None
    refresh_hash: bytes | None
    supersedes: bytes | None
    admin: bool
    guest: bool
    shadow_banned: bool
    locked: bool
    suspended: bool


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A refresh token; times are milliseconds since the epoch, `None` is never."""

    user_id: str
    device_id: str
    replaces: bytes | None
    expires_ts: int | None
    session_expires_ts: int | None


async def find_access(reader: Reader, digest: bytes) -> AccessToken | None:
    """The access token with that hash, of a user who is not deactivated."""
    row = await reader.fetch_row(
        "SELECT t.user_id, t.device_id, t.expires_ts, t.refresh_hash, r.replaces, "
        "u.admin, u.guest, u.shadow_banned, u.locked, u.suspended FROM access_tokens t "
        "JOIN users u ON u.user_id = t.user_id LEFT JOIN refresh_tokens r ON r.hash = t.refresh_hash "
        "WHERE t.hash = $1 AND u.deactivated = $2",
        digest,
        False,
    )
    return AccessToken(*row[:5], *map(bool, row[5:])) if row is not None else None


async def add_access(
    transaction: Transaction,
    digest: bytes,
    user_id: str,
    device_id: str | None,
    *,
    expires_ts: int | None,
    refresh_hash: bytes | None = None,
    puppeted_by: str | None = None,
) -> None:
    """Give out an access token."""
    row = (digest, user_id, device_id, refresh_hash, puppeted_by, expires_ts)
    columns = "hash, user_id, device_id, refresh_hash, puppeted_by, expires_ts"
    await transaction.insert("access_tokens", columns, [row])


async def find_refresh(reader: Reader, digest: bytes) -> RefreshToken | None:
    """The refresh token with that hash."""
    row = await reader.fetch_row(
        "SELECT user_id, device_id, replaces, expires_ts, session_expires_ts FROM refresh_tokens WHERE hash = $1",
        digest,
    )
    return RefreshToken(*row) if row is not None else None


async def add_refresh(transaction: Transaction, digest: bytes, token: RefreshToken) -> None:
    """Give out a refresh token."""
    row = (
        digest,
        token.user_id,
        token.device_id,
        token.replaces,
        token.expires_ts,
        token.session_expires_ts,
    )
    columns = "hash, user_id, device_id, replaces, expires_ts, session_expires_ts"
    await transaction.insert("refresh_tokens", columns, [row])


async def retire_refresh(transaction: Transaction, digest: bytes) -> list[bytes]:
    """Take a refresh token back, and the access tokens that came with it; answers their hashes."""
    found = await transaction.fetch("SELECT hash FROM access_tokens WHERE refresh_hash = $1", digest)
    await transaction.execute("DELETE FROM access_tokens WHERE refresh_hash = $1", digest)
    await transaction.execute("DELETE FROM refresh_tokens WHERE hash = $1", digest)
    await transaction.execute("UPDATE refresh_tokens SET replaces = NULL WHERE replaces = $1", digest)
    return [bytes(row[0]) for row in found]


async def successors(reader: Reader, digest: bytes) -> list[bytes]:
    """The refresh tokens that were got for this one and not used yet."""
    rows = await reader.fetch("SELECT hash FROM refresh_tokens WHERE replaces = $1", digest)
    return [bytes(row[0]) for row in rows]


async def remove_access(transaction: Transaction, digest: bytes) -> None:
    """Take one access token back."""
    await transaction.execute("DELETE FROM access_tokens WHERE hash = $1", digest)


async def remove_of_devices(transaction: Transaction, user_id: str, device_ids: Sequence[str]) -> list[bytes]:
    """Take back all tokens of some devices; answers the hashes of the access tokens among them."""
    ids = list(device_ids)
    found = await transaction.fetch(
        "SELECT hash FROM access_tokens WHERE user_id = $1 AND device_id = ANY($2)", user_id, ids
    )
    for table in ("access_tokens", "refresh_tokens"):
        sql = f"DELETE FROM {table} WHERE user_id = $1 AND device_id = ANY($2)"  # noqa: S608
        await transaction.execute(sql, user_id, ids)
    return [bytes(row[0]) for row in found]


async def remove_all(transaction: Transaction, user_id: str, *, kept: bytes = b"") -> None:
    """Take back all tokens of a user, of whatever sort; `kept` is the hash of an access token that stays."""
    await transaction.execute("DELETE FROM access_tokens WHERE user_id = $1 AND hash <> $2", user_id, kept)
    await transaction.execute(
        "DELETE FROM refresh_tokens WHERE user_id = $1 AND hash NOT IN "
        "(SELECT refresh_hash FROM access_tokens WHERE user_id = $1 AND refresh_hash IS NOT NULL)",
        user_id,
    )
    await transaction.execute("DELETE FROM purpose_tokens WHERE user_id = $1", user_id)


async def confirm(transaction: Transaction, digest: bytes, now: int) -> None:
    """The user went through interactive authentication with this access token."""
    await transaction.execute("UPDATE access_tokens SET confirmed_ts = $2 WHERE hash = $1", digest, now)


async def confirmed(reader: Reader, digest: bytes) -> int | None:
    """When that last was."""
    sql = "SELECT confirmed_ts FROM access_tokens WHERE hash = $1"
    return await reader.fetch_value(sql, digest)  # type: ignore[no-any-return]


async def add_purpose(
    transaction: Transaction, digest: bytes, purpose: Purpose, user_id: str, expires_ts: int, now: int
) -> None:
    """Give out a token for one purpose; those that expired are forgotten by the way."""
    await transaction.execute("DELETE FROM purpose_tokens WHERE expires_ts <= $1", now)
    row = (digest, purpose, user_id, expires_ts)
    await transaction.insert("purpose_tokens", "hash, purpose, user_id, expires_ts", [row])


async def find_purpose(reader: Reader, digest: bytes, purpose: Purpose, now: int) -> str | None:
    """The user that such a token stands for."""
    sql = "SELECT user_id FROM purpose_tokens WHERE hash = $1 AND purpose = $2 AND expires_ts > $3"
    return await reader.fetch_value(sql, digest, purpose, now)  # type: ignore[no-any-return]


async def take_purpose(transaction: Transaction, digest: bytes, purpose: Purpose, now: int) -> str | None:
    """Like `find_purpose`, and the token is spent."""
    user_id = await find_purpose(transaction, digest, purpose, now)
    await transaction.execute("DELETE FROM purpose_tokens WHERE hash = $1 AND purpose = $2", digest, purpose)
    return user_id
