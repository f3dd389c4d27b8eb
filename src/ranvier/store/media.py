"""Content of the repository: what each media id stands for. The bytes lie in files."""

from typing import NamedTuple

from ranvier.store.database import Reader, Transaction


class MediaRow(NamedTuple):
    """Content, or the announcement of it.

    `sha256` (hex) names the file; it is `None` until the content was uploaded, which must happen before `expires_ts`.
    Times are milliseconds since the epoch. `authenticated`: only endpoints that ask for a token serve it.
    """

    media_id: str
    user_id: str
    created_ts: int
    expires_ts: int | None
    uploaded_ts: int | None
    sha256: str | None
    size: int
    content_type: str
    filename: str | None
    authenticated: bool


_COLUMNS = ", ".join(MediaRow._fields)


async def read_media(reader: Reader, media_id: str) -> MediaRow | None:
    """What a media id stands for."""
    row = await reader.fetch_row(f"SELECT {_COLUMNS} FROM media WHERE media_id = $1", media_id)  # noqa: S608
    if row is None:
        return None
    media = MediaRow(*row)
    return media._replace(authenticated=bool(media.authenticated))


async def insert_media(transaction: Transaction, row: MediaRow) -> None:
    """New content, or its announcement."""
    await transaction.insert("media", _COLUMNS, [row])


async def uploaded_bytes(reader: Reader, user_id: str, since: int) -> int:
    """How much a user has uploaded after a time."""
    value = await reader.fetch_value(
        "SELECT SUM(size) FROM media WHERE user_id = $1 AND uploaded_ts > $2", user_id, since
    )
    return int(value or 0)


async def read_pending(reader: Reader, user_id: str, now: int) -> list[int]:
    """When the uploads that a user announced and has not sent yet expire, the first first."""
    rows = await reader.fetch(
        "SELECT expires_ts FROM media WHERE user_id = $1 AND sha256 IS NULL AND expires_ts > $2 ORDER BY expires_ts",
        user_id,
        now,
    )
    return [row[0] for row in rows]


async def delete_expired(transaction: Transaction, user_id: str, now: int) -> None:
    """Forget announcements of a user that nothing followed in time."""
    await transaction.execute(
        "DELETE FROM media WHERE user_id = $1 AND sha256 IS NULL AND expires_ts <= $2", user_id, now
    )


async def fill(
    transaction: Transaction,
    media_id: str,
    sha256: str,
    size: int,
    content_type: str,
    filename: str | None,
    now: int,
) -> bool:
    """Announced content came; False if it came before, or too late."""
    changed = await transaction.execute(
        "UPDATE media SET sha256 = $2, size = $3, content_type = $4, filename = $5, uploaded_ts = $6 "
        "WHERE media_id = $1 AND sha256 IS NULL AND expires_ts > $6",
        media_id,
        sha256,
        size,
        content_type,
        filename,
        now,
    )
    return changed == 1
