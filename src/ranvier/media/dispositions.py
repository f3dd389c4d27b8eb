"""What a receiver is told to do with content: show it, or save it, and under which name.

Source: Client-Server API, "Serving inline content"; RFC 6266.
"""

import re
from typing import Final
from urllib.parse import quote

from ranvier.store.media import MediaRow

_INLINE: Final = frozenset(
    {
        *("text/css", "text/plain", "text/csv", "application/json", "application/ld+json"),
        *("image/jpeg", "image/gif", "image/png", "image/apng", "image/webp", "image/avif"),
        *("video/mp4", "video/webm", "video/ogg", "video/quicktime"),
        *("audio/mp4", "audio/webm", "audio/aac", "audio/mpeg", "audio/ogg", "audio/wave", "audio/wav"),
        *("audio/x-wav", "audio/x-pn-wav", "audio/flac", "audio/x-flac"),
    }
)
"""Types that browsers may show by themselves ("Serving inline content")."""

_PLAIN: Final = re.compile(r"[\x20-\x7e]*\Z")
_ENDINGS: Final = {"image/jpeg": "jpg", "image/png": "png", "image/gif": "gif", "image/webp": "webp"}


def content_disposition(row: MediaRow, filename: str | None = None) -> str:
    """The header `Content-Disposition` of content, under this name or its own."""
    bare = row.content_type.partition(";")[0].strip().lower()
    return _named("inline" if bare in _INLINE else "attachment", filename or row.filename)


def thumbnail_disposition(content_type: str) -> str:
    """The header `Content-Disposition` of a thumbnail."""
    return _named("inline", f"thumbnail.{_ENDINGS[content_type]}")


def _named(disposition: str, filename: str | None) -> str:
    """Plain names quoted, others percent-encoded in UTF-8."""
    if filename is None:
        return disposition
    if _PLAIN.match(filename) is not None:
        escaped = filename.replace("\\", "\\\\").replace('"', '\\"')
        return f'{disposition}; filename="{escaped}"'
    return f"{disposition}; filename*=UTF-8''{quote(filename, safe='')}"
