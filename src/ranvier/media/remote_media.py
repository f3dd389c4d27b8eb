"""Other servers' content: fetched when somebody asks for it, then kept."""

import asyncio
import re
from collections.abc import Callable
from email.message import Message
from typing import Final

from ranvier.media.files import Files, TooLarge
from ranvier.protocol.identifiers import is_valid_server_name
from ranvier.protocol.refusal import Refusal, not_found
from ranvier.remote.client import FederationClient
from ranvier.remote.content_repository import BAD_PARAMETERS, get_content
from ranvier.remote.downloads import Downloads
from ranvier.remote.failure import RemoteFailure
from ranvier.store import remote_media as store
from ranvier.store.database import Database
from ranvier.store.media import MediaRow
from ranvier.store.writer import Writer

_WAIT_MS: Final = 20_000
"""How long the other server may wait for what is still being uploaded there."""
_OCTETS: Final = "application/octet-stream"
_CONTENT_TYPE: Final = re.compile(r"[\x21-\x7e][\x20-\x7e]{0,254}\Z")
_NAME_BYTES: Final = 255
_AT_ONCE: Final = 32
"""Downloads at the same time."""
_WAITING: Final = 200
_MEDIA_ID: Final = re.compile(r"[A-Za-z0-9_\-]{1,255}\Z")


class RemoteMedia:
    """Fetches content of at most `max_bytes`."""

    def __init__(
        self,
        database: Database,
        writer: Writer,
        files: Files,
        client: FederationClient,
        downloads: Downloads,
        now: Callable[[], int],
        *,
        max_bytes: int,
    ) -> None:
        self._database = database
        self._writer = writer
        self._files = files
        self._client = client
        self._downloads = downloads
        self._now = now
        self._max_bytes = max_bytes
        self._under_way: dict[tuple[str, str], asyncio.Task[MediaRow]] = {}
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def find(self, server_name: str, media_id: str, *, fetch: bool) -> MediaRow:
        """The content of that id; got from its server if it is not here and `fetch` says so. Raises `Refusal`."""
        if not is_valid_server_name(server_name) or _MEDIA_ID.match(media_id) is None:
            raise not_found("There is no such content.")
        row = await store.read(self._database, server_name, media_id)
        if row is not None and row.sha256 is not None and await self._files.holds(row.sha256):
            return row
        if not fetch:
            raise not_found("This server does not have that content of another server.")
        key = (server_name, media_id)
        task = self._under_way.get(key)
        if task is None:
            if len(self._under_way) >= _WAITING:
                raise Refusal("M_LIMIT_EXCEEDED", "Too much is being fetched already.", retry_after_ms=5_000)
            task = asyncio.create_task(self._fetch(server_name, media_id))
            self._under_way[key] = task
            task.add_done_callback(lambda _: self._under_way.pop(key, None))
        return await asyncio.shield(task)

    async def _fetch(self, server_name: str, media_id: str) -> MediaRow:
        try:
            async with (
                self._turns,
                get_content(self._client, self._downloads, server_name, media_id, _WAIT_MS) as content,
            ):
                stored = await self._files.receive(content.pieces, self._max_bytes)
                row = store.media_row(
                    media_id,
                    self._now(),
                    stored.sha256,
                    stored.size,
                    _content_type(content.content_type),
                    _filename(content.content_disposition),
                )
        except TooLarge:
            raise Refusal(
                "M_TOO_LARGE",
                f"This server fetches no files of more than {self._max_bytes} bytes.",
                status=502,
            ) from None
        except RemoteFailure as failure:
            raise _refusal(server_name, failure) from failure
        await self._writer.run(lambda transaction: store.insert(transaction, server_name, row))
        return row


def _refusal(server_name: str, failure: RemoteFailure) -> Refusal:
    if failure.status == 404 or failure.errcode == "M_NOT_FOUND":
        return not_found(f"{server_name} has no such content.")
    if failure.errcode == "M_NOT_YET_UPLOADED":
        return Refusal("M_NOT_YET_UPLOADED", "This content was announced, but did not come yet.", status=504)
    return Refusal("M_UNKNOWN", f"The content can't be fetched: {failure}", status=502)


def _content_type(told: str | None) -> str:
    """What is said of content, as far as it can be passed on."""
    return told if told is not None and _CONTENT_TYPE.match(told) is not None else _OCTETS


def _filename(disposition: str | None) -> str | None:
    if disposition is None:
        return None
    message = Message()
    message["Content-Disposition"] = " ".join(disposition.split())
    try:
        name = message.get_filename()
        if not name or "\0" in name:
            return None
        # What some encodings hold is no text, and neither are some encodings' names.
        return name if len(name.encode()) <= _NAME_BYTES else None
    except BAD_PARAMETERS:
        return None
