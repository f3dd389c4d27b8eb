"""Media of another server (`content_repository.yaml`), as a stream of bytes."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from email.message import Message
from typing import Final, NamedTuple

from ranvier.remote.client import FederationClient, Query, path_of
from ranvier.remote.failure import RemoteFailure
from ranvier.remote.transport import Downloading, Opened

MEDIA_TIMEOUT_S: Final = 300.0

_MAX_HEADS: Final = 64 * 1024
"""Bytes before the media itself: the first part, and the headers of the second."""
_MAX_BOUNDARY: Final = 200

BAD_PARAMETERS: Final = (ValueError, TypeError, LookupError)
"""What Python's `email` raises for a header's parameters that it can't put together."""


class RemoteContent(NamedTuple):
    """Media as it comes; whoever reads `pieces` bounds what is read. What the headers say is not checked."""

    content_type: str | None
    content_disposition: str | None
    pieces: AsyncIterator[bytes]


@asynccontextmanager
async def get_content(
    client: FederationClient, downloads: Downloading, destination: str, media_id: str, wait_ms: int
) -> AsyncIterator[RemoteContent]:
    """A file of the destination; the other server waits up to `wait_ms` for one that is still being uploaded.

    Raises RemoteFailure.
    """
    path = path_of("/_matrix/federation/v1/media/download", media_id)
    older = path_of("/_matrix/media/v3/download", destination, media_id)
    query = [("timeout_ms", str(wait_ms))]
    async with _content(client, downloads, destination, path, older, query) as content:
        yield content


@asynccontextmanager
async def get_content_thumbnail(
    client: FederationClient,
    downloads: Downloading,
    destination: str,
    media_id: str,
    *,
    width: int,
    height: int,
    method: str,
    animated: bool,
    wait_ms: int,
) -> AsyncIterator[RemoteContent]:
    """A thumbnail of a file of the destination; `method` is crop or scale. Raises RemoteFailure."""
    path = path_of("/_matrix/federation/v1/media/thumbnail", media_id)
    older = path_of("/_matrix/media/v3/thumbnail", destination, media_id)
    query = [
        ("width", str(width)),
        ("height", str(height)),
        ("method", method),
        ("animated", "true" if animated else "false"),
        ("timeout_ms", str(wait_ms)),
    ]
    async with _content(client, downloads, destination, path, older, query) as content:
        yield content


@asynccontextmanager
async def _content(
    client: FederationClient, downloads: Downloading, destination: str, path: str, older: str, query: Query
) -> AsyncIterator[RemoteContent]:
    async with AsyncExitStack() as stack:
        try:
            opened = await stack.enter_async_context(
                client.open(destination, "GET", path, query=query, timeout_s=MEDIA_TIMEOUT_S, urgent=True)
            )
        except RemoteFailure as failure:
            # Some that know only the older path answer this one with a refusal that is none of Matrix's.
            if not failure.is_unknown_endpoint and not (failure.refused and failure.errcode is None):
                raise
            # COMPAT(before v1.11): media was for everybody; the other server must not fetch it from a third one.
            opened = await stack.enter_async_context(
                client.open(
                    destination,
                    "GET",
                    older,
                    query=[*query, ("allow_remote", "false")],
                    timeout_s=MEDIA_TIMEOUT_S,
                    sign=False,
                    urgent=True,
                )
            )
            yield RemoteContent(*_described(opened.headers), opened.pieces)
            return
        headers, pieces = await _second_part(destination, opened)
        location = headers.get("location")
        if location is not None:
            opened = await stack.enter_async_context(downloads.open(location, MEDIA_TIMEOUT_S))
            content_type, disposition = _described(opened.headers)
            yield RemoteContent(
                headers.get("content-type", content_type),
                headers.get("content-disposition", disposition),
                opened.pieces,
            )
            return
        yield RemoteContent(*_described(headers), pieces)


def _described(headers: Mapping[str, str]) -> tuple[str | None, str | None]:
    return headers.get("content-type"), headers.get("content-disposition")


async def _second_part(destination: str, opened: Opened) -> tuple[dict[str, str], AsyncIterator[bytes]]:
    """Headers and body of the second part; the first one is JSON that says nothing yet."""
    kind = Message()
    kind["content-type"] = opened.headers.get("content-type", "")[:1000]
    try:
        boundary = kind.get_param("boundary")
    except BAD_PARAMETERS:
        boundary = None
    if kind.get_content_type() != "multipart/mixed" or not isinstance(boundary, str):
        raise RemoteFailure(destination, "Its answer is not of the type multipart/mixed.", status=200)
    mark = b"\r\n--" + boundary.encode("latin-1", "replace")[:_MAX_BOUNDARY]
    # The first mark may stand at the very beginning.
    buffer = bytearray(b"\r\n")
    iterator = opened.pieces
    for _ in range(2):
        while (found := buffer.find(mark)) < 0 or (end := buffer.find(b"\r\n\r\n", found)) < 0:
            piece = await anext(iterator, None)
            if piece is None or len(buffer) > _MAX_HEADS:
                raise RemoteFailure(destination, "Its answer lacks the part with the media.", status=200)
            buffer += piece
        head = bytes(buffer[found + len(mark) : end])
        # The blank line's end stays: the body may be empty, and the next mark begin there.
        del buffer[: end + 2]
    return _headers_of(head), _until(destination, buffer, iterator, mark)


def _headers_of(head: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in head.decode("utf-8", "replace").split("\r\n")[1:]:
        name, colon, value = line.partition(":")
        if colon:
            found.setdefault(name.strip().lower(), value.strip())
    return found


async def _until(
    destination: str, buffer: bytearray, iterator: AsyncIterator[bytes], mark: bytes
) -> AsyncIterator[bytes]:
    """What comes between the blank line's end, which the buffer begins with, and the mark."""
    while len(buffer) < len(mark) and (piece := await anext(iterator, None)) is not None:
        buffer += piece
    if buffer.startswith(mark):
        return
    del buffer[:2]
    while True:
        found = buffer.find(mark)
        if found >= 0:
            if found:
                yield bytes(buffer[:found])
            return
        # A mark may be cut in two.
        sure = len(buffer) - len(mark)
        if sure > 0:
            yield bytes(buffer[:sure])
            del buffer[:sure]
        piece = await anext(iterator, None)
        if piece is None:
            raise RemoteFailure(destination, "The media broke off.", status=200)
        buffer += piece
