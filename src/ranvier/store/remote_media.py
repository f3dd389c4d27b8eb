"""Content of other servers that was fetched."""

from ranvier.store.database import Reader, Transaction
from ranvier.store.media import MediaRow


async def read(reader: Reader, server_name: str, media_id: str) -> MediaRow | None:
    """What a media id of another server stands for, if it was fetched."""
    row = await reader.fetch_row(
        "SELECT fetched_ts, sha256, size, content_type, filename FROM remote_media "
        "WHERE server_name = $1 AND media_id = $2",
        server_name,
        media_id,
    )
    return media_row(media_id, *row) if row is not None else None


def media_row(
    media_id: str, fetched_ts: int, sha256: str, size: int, content_type: str, filename: str | None
) -> MediaRow:
    """Fetched content in the form of our own; it has no user here."""
    return MediaRow(
        media_id,
        "",
        created_ts=fetched_ts,
        expires_ts=None,
        uploaded_ts=fetched_ts,
        sha256=sha256,
        size=size,
        content_type=content_type,
        filename=filename,
        authenticated=False,
    )


async def insert(transaction: Transaction, server_name: str, row: MediaRow) -> None:
    """Keep what was fetched; who fetched it at the same time kept the same."""
    await transaction.insert(
        "remote_media",
        "server_name, media_id, sha256, size, content_type, filename, fetched_ts",
        [
            (
                server_name,
                row.media_id,
                row.sha256,
                row.size,
                row.content_type,
                row.filename,
                row.created_ts,
            )
        ],
        "DO NOTHING",
    )
