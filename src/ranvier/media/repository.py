"""What media ids stand for: uploads, announced uploads, look-ups (Client-Server API, "Content repository")."""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from ranvier.media.files import Files, StoredFile, TooLarge
from ranvier.media.remote_media import RemoteMedia
from ranvier.protocol.refusal import Refusal, forbidden, invalid_param, not_found
from ranvier.store import media as store
from ranvier.store.database import Database, Reader, Transaction
from ranvier.store.media import MediaRow
from ranvier.store.writer import Writer

OCTETS = "application/octet-stream"
_MEDIA_ID = re.compile(r"[A-Za-z0-9_\-]{1,255}\Z")
_CONTENT_TYPE = re.compile(r"[\x21-\x7e][\x20-\x7e]{0,254}\Z")
_NAME_BYTES = 255
_POLL_SECONDS = 1.0
_LONGEST_WAIT_MS = 60_000


@dataclass(frozen=True, slots=True)
class UploadQuota:
    """Bytes that one user may upload within `period_ms`."""

    period_ms: int
    most_bytes: int


@dataclass(frozen=True, slots=True)
class UploadRules:
    """Bounds of uploads: bytes of one, announced ones of a user at once, and how long (ms) these may take.

    `needs_token`: what is uploaded from now on is served by the endpoints that ask for a token only.
    """

    max_bytes: int
    max_pending: int
    pending_lifetime_ms: int
    needs_token: bool
    quotas: tuple[UploadQuota, ...] = ()


@dataclass(frozen=True, slots=True)
class Upload:
    """What a client sends: its bytes, and what it says of them."""

    pieces: AsyncIterator[bytes]
    announced_bytes: int | None
    content_type: str
    filename: str | None


class Repository:
    """All content of this server's users. `now` is the time in milliseconds since the epoch."""

    def __init__(
        self,
        database: Database,
        writer: Writer,
        files: Files,
        remote: RemoteMedia,
        rules: UploadRules,
        server_name: str,
        now: Callable[[], int],
    ) -> None:
        self._database = database
        self._writer = writer
        self._files = files
        self._remote = remote
        self._server_name = server_name
        self._now = now
        self._arrived = asyncio.Event()
        self.rules = rules

    async def upload(self, user_id: str, upload: Upload) -> str:
        """Keep content; answers its `mxc://` URI. What was answered is durable."""
        stored = await self._receive(user_id, upload)
        now = self._now()
        media_id = secrets.token_urlsafe(18)
        row = MediaRow(
            media_id,
            user_id,
            created_ts=now,
            expires_ts=None,
            uploaded_ts=now,
            sha256=stored.sha256,
            size=stored.size,
            content_type=upload.content_type,
            filename=upload.filename,
            authenticated=self.rules.needs_token,
        )

        async def write(transaction: Transaction) -> None:
            await self._check_quotas(transaction, user_id, stored.size)
            await store.insert_media(transaction, row)

        await self._writer.run(write)
        return self._uri(media_id)

    async def create(self, user_id: str) -> tuple[str, int]:
        """Announce content; answers its URI, and when it expires (ms since the epoch) if nothing follows."""
        now = self._now()
        expires = now + self.rules.pending_lifetime_ms
        media_id = secrets.token_urlsafe(18)
        row = MediaRow(
            media_id,
            user_id,
            created_ts=now,
            expires_ts=expires,
            uploaded_ts=None,
            sha256=None,
            size=0,
            content_type=OCTETS,
            filename=None,
            authenticated=self.rules.needs_token,
        )

        async def write(transaction: Transaction) -> None:
            await store.delete_expired(transaction, user_id, now)
            pending = await store.read_pending(transaction, user_id, now)
            if len(pending) >= self.rules.max_pending:
                raise Refusal(
                    "M_LIMIT_EXCEEDED",
                    f"You announced {len(pending)} uploads: send one of them first.",
                    retry_after_ms=pending[0] - now,
                )
            await store.insert_media(transaction, row)

        await self._writer.run(write)
        return self._uri(media_id), expires

    async def fill(self, user_id: str, server_name: str, media_id: str, upload: Upload) -> None:
        """Keep content that was announced; refuses what is unknown, expired, another's, or there already."""
        self._check_awaited(user_id, await self._read(server_name, media_id))
        stored = await self._receive(user_id, upload)
        now = self._now()

        async def write(transaction: Transaction) -> bool:
            await self._check_quotas(transaction, user_id, stored.size)
            return await store.fill(transaction, media_id, *stored, upload.content_type, upload.filename, now)

        if not await self._writer.run(write):
            self._check_awaited(user_id, await self._read(server_name, media_id))
        arrived, self._arrived = self._arrived, asyncio.Event()
        arrived.set()

    async def find(
        self,
        server_name: str,
        media_id: str,
        *,
        authenticated: bool,
        wait_ms: int,
        fetch: bool = True,
    ) -> MediaRow:
        """The content of that id, waited for if it was announced; without a token, only what needs none.

        That of other servers is fetched, if `fetch` says so. Raises `Refusal`.
        """
        if server_name != self._server_name:
            if self.rules.needs_token and not authenticated:
                raise not_found("There is no such content here without an access token.")
            return await self._remote.find(server_name, media_id, fetch=fetch)
        deadline = asyncio.get_running_loop().time() + min(wait_ms, _LONGEST_WAIT_MS) / 1000
        while True:
            arrived = self._arrived
            row = await self._read(server_name, media_id)
            if row.authenticated and not authenticated:
                raise not_found("There is no such content here without an access token.")
            if row.sha256 is not None:
                return row
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                raise Refusal("M_NOT_YET_UPLOADED", "This content was announced, but did not come yet.")
            # Another process may receive it: so the store is asked now and then.
            await _wait(arrived, min(left, _POLL_SECONDS))

    async def find_own(self, media_id: str, *, wait_ms: int) -> MediaRow:
        """The same for another server: content of this one's users."""
        row = await self.find(self._server_name, media_id, authenticated=True, wait_ms=wait_ms)
        if row.sha256 is None or not await self._files.holds(row.sha256):
            raise not_found("The content is gone.")
        return row

    async def _read(self, server_name: str, media_id: str) -> MediaRow:
        if server_name != self._server_name:
            raise not_found("This is another server's content.")
        row = await store.read_media(self._database, media_id) if _MEDIA_ID.match(media_id) else None
        if row is None or (row.sha256 is None and (row.expires_ts or 0) <= self._now()):
            raise not_found("There is no such content.")
        return row

    def _check_awaited(self, user_id: str, row: MediaRow) -> None:
        if row.user_id != user_id:
            raise forbidden("This content was announced by another user.")
        if row.sha256 is not None:
            raise Refusal("M_CANNOT_OVERWRITE_MEDIA", "This content was uploaded already.")

    async def _check_quotas(self, reader: Reader, user_id: str, size: int) -> None:
        """Refuse what would be more than the user may upload in a time; with others at once, the later one."""
        for quota in self.rules.quotas:
            used = await store.uploaded_bytes(reader, user_id, self._now() - quota.period_ms)
            if used + size > quota.most_bytes:
                raise Refusal(
                    "M_RESOURCE_LIMIT_EXCEEDED",
                    f"You uploaded {used} bytes within {quota.period_ms // 1000} s, and may {quota.most_bytes} here: "
                    "wait, or send something smaller.",
                )

    async def _receive(self, user_id: str, upload: Upload) -> StoredFile:
        limit = self.rules.max_bytes
        too_large = Refusal("M_TOO_LARGE", f"Files of more than {limit} bytes can't be uploaded here.")
        if upload.announced_bytes is not None and upload.announced_bytes > limit:
            raise too_large
        if _CONTENT_TYPE.match(upload.content_type) is None:
            raise invalid_param("The Content-Type must have 1 to 255 printable ASCII characters.")
        if upload.filename is not None and len(upload.filename.encode()) > _NAME_BYTES:
            raise invalid_param(f"The file name has more than {_NAME_BYTES} bytes.")
        await self._check_quotas(self._database, user_id, upload.announced_bytes or 1)
        try:
            return await self._files.receive(upload.pieces, limit)
        except TooLarge:
            raise too_large from None

    def _uri(self, media_id: str) -> str:
        return f"mxc://{self._server_name}/{media_id}"


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
