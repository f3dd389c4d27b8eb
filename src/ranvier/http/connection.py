"""One connection of a client: HTTP/1.1 between bytes and requests, with a bound on all that is long or slow.

Parsing is httptools' (llhttp, as in Node.js). An answer goes out in one write, head and body together.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from http import HTTPStatus
from typing import Any, cast

import httptools

from ranvier.http.incoming import Incoming
from ranvier.http.request import Request
from ranvier.http.response import CORS, Response

HEAD_BYTES = 64 * 1024
"""Bytes of a request's line and headers."""
URL_BYTES = 16 * 1024
HEADERS = 100
HEAD_SECONDS = 30
"""Time for a request's head to come in; so long may a new connection say nothing."""
BODY_BYTES_PER_SECOND = 1024
"""What a body must bring on average, beyond `HEAD_SECONDS`."""
FRAMING_BYTES = 8
"""For each byte of a body in chunks, so many may come around it: a chunk of one byte takes five."""
IDLE_SECONDS = 120
"""Between two requests: longer than reverse proxies keep their side open, so that it is not this one which closes."""
UNREAD_SECONDS = 120
"""How long a client may leave an answer unread."""
_JOINED_BYTES = 64 * 1024
"""Bodies up to this are copied behind their head; greater ones are written beside it."""

Send = Callable[[Response], Awaitable[int]]
"""Sends the answer; gives the bytes of its body that were sent."""
Answer = Callable[[Request, Send], Awaitable[None]]
"""What answers requests: it calls the `Send` that it was given once."""

_STATUS = {s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\n".encode() for s in HTTPStatus}
_CORS = b"".join(b"%s: %s\r\n" % header for header in CORS)
_CLOSE = b"connection: close\r\n"

_log = logging.getLogger("ranvier.http")


class Connections:
    """What the connections of one application share."""

    def __init__(self, answer: Answer, most: int) -> None:
        self.answer = answer
        self.most = most
        self.open: set[Connection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.date = b""
        """The header line, renewed each second."""
        self.is_ending = False
        """Whether every connection ends with its next answer."""


class Exchange:
    """One request and the answer to it."""

    __slots__ = ("_connection", "_was_invited", "incoming", "keep_alive", "request", "version_10")

    def __init__(self, connection: "Connection", keep_alive: bool, version_10: bool) -> None:
        self._connection = connection
        self.incoming = Incoming(self)
        self.request: Request
        self.keep_alive = keep_alive
        self.version_10 = version_10
        self._was_invited = False

    def pause(self) -> None:
        """Bring no more of the body for now."""
        self._connection.pause()

    def resume(self) -> None:
        """Go on."""
        self._connection.resume()

    def invite(self) -> None:
        """Ask for the body, of a client that waits for that."""
        if self.waits_for_invitation():
            self._was_invited = True
            self._connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def waits_for_invitation(self) -> bool:
        """Whether the client holds the body back until it is asked for it."""
        if self.incoming.is_complete or self._was_invited:
            return False
        return any(n == b"expect" and v.lower() == b"100-continue" for n, v in self.request.headers)


class Connection(asyncio.Protocol):
    """Parses requests one after the other, has each answered in a task, in order."""

    def __init__(self, shared: Connections) -> None:
        self._shared = shared
        self._loop = asyncio.get_running_loop()
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._client = ""
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._coming: Exchange | None = None
        self._answering: Exchange | None = None
        self._queue: deque[Exchange] = deque()
        self._in_head = True
        self._begun = 0
        self._received = 0
        self._body = 0
        self._since: float | None = None
        self._idle_since: float | None = None
        self._unread = 0
        self._unread_since = 0.0
        self._is_paused = False
        self._drained: asyncio.Future[None] | None = None
        self._is_full = False

    # From the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected."""
        self._transport = cast(asyncio.Transport, transport)
        self._since = self._loop.time()
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            self._client = peer[0]
        self._shared.open.add(self)
        if len(self._shared.open) > self._shared.most:
            self._refuse(
                503, "M_LIMIT_EXCEEDED", "The server has too many connections; come back in a minute."
            )

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over, from whichever side."""
        self._shared.open.discard(self)
        for exchange in (self._answering, *self._queue):
            if exchange is not None:
                exchange.incoming.lose()
        self._queue.clear()
        self._coming = None
        self.resume_writing()
        self._parser = None

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        is_between = self._since is None or self._received == 0
        self._begun = 0
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._decline(data[offer.args[0] :])
        except httptools.HttpParserError:
            self._refuse(400, "M_UNRECOGNIZED", "This is not a valid HTTP/1.1 request.")
            return
        # Where other requests end in the same bytes, nobody tells how many of them are this one's.
        if self._begun == 0 or (self._begun == 1 and is_between):
            self._received += len(data)
        around = self._received - self._body
        if self._in_head and around > HEAD_BYTES:
            self._refuse(431, "M_TOO_LARGE", f"The request's line and headers exceed {HEAD_BYTES} bytes.")
        elif self._since is not None and around > HEAD_BYTES + FRAMING_BYTES * self._body:
            self._refuse(400, "M_TOO_LARGE", "The body's chunks are mostly not body.")

    def _decline(self, rest: bytes) -> None:
        """Another protocol was offered; this one goes on, for the one request.

        The parser takes what follows the head for the other protocol's, so another one reads the body.
        """
        self._end_after_answers()
        framing = _framing(self._headers)
        if framing:
            self.resume()
            self._parser = httptools.HttpRequestParser(_BodyOnly(self))
            self.data_received(b"PUT / HTTP/1.1\r\n%s\r\n%s" % (framing, rest))

    def pause_writing(self) -> None:
        """The client reads too slowly."""
        self._is_full = True

    def resume_writing(self) -> None:
        """It caught up."""
        self._is_full = False
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    # From the parser.

    def on_message_begin(self) -> None:
        """A request begins."""
        self._url = b""
        self._headers = []
        self._in_head = True
        self._begun += 1
        self._received = 0
        self._body = 0
        self._since = self._loop.time()

    def on_url(self, url: bytes) -> None:
        """A part of its target."""
        self._url += url
        if len(self._url) > URL_BYTES:
            self._refuse(414, "M_TOO_LARGE", f"The URL is longer than {URL_BYTES} bytes.")
            raise ValueError("too long")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; what comes behind a body in pieces is none of them."""
        if not self._in_head:
            return
        self._headers.append((name.lower(), value))
        if len(self._headers) > HEADERS:
            self._refuse(431, "M_TOO_LARGE", f"There are more than {HEADERS} headers.")
            raise ValueError("too many")

    def on_headers_complete(self) -> None:
        """The head is complete: the answer may begin."""
        self._in_head = False
        parser = self._parser
        version_10 = parser.get_http_version() == "1.0"
        stays = not version_10 and parser.should_keep_alive() and not self._shared.is_ending
        exchange = Exchange(self, stays, version_10)
        path, query = _split(self._url)
        exchange.request = Request(
            parser.get_method().decode("ascii"), path, query, self._headers, self._client, exchange.incoming
        )
        self._coming = exchange
        if self._answering is None:
            self._begin(exchange)
        else:
            # The next request came before the answer to the last: no further one is read.
            self._queue.append(exchange)
            self.pause()

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        assert self._coming is not None
        self._body += len(body)
        self._coming.incoming.feed(body)

    def on_message_complete(self) -> None:
        """The request is complete."""
        assert self._coming is not None
        if self._parser.should_upgrade() and _framing(self._headers):
            return
        self._since = None
        self._coming.incoming.finish()

    # Answers.

    def _begin(self, exchange: Exchange) -> None:
        self._answering = exchange
        self._idle_since = None
        task = self._loop.create_task(self._answer(exchange))
        self._shared.tasks.add(task)
        task.add_done_callback(self._shared.tasks.discard)

    async def _answer(self, exchange: Exchange) -> None:
        async def send(response: Response) -> int:
            return await self._send(exchange, response)

        try:
            await self._shared.answer(exchange.request, send)
        except BaseException as error:
            self._transport.abort()
            if isinstance(error, Exception):
                _log.error("an answer broke off", exc_info=error)
                return
            raise
        exchange.incoming.discard()
        self._answering = None
        if self._transport.is_closing():
            return
        if not exchange.keep_alive:
            self._transport.close()
        elif self._queue:
            self._begin(self._queue.popleft())
        else:
            self._idle_since = self._loop.time()

    async def _send(self, exchange: Exchange, response: Response) -> int:
        if exchange.incoming.is_gone:
            return 0
        if exchange.waits_for_invitation():
            # It is open whether the client sends the body that nobody asked for.
            exchange.keep_alive = False
        has_body = exchange.request.method != "HEAD" and response.status not in (204, 304)
        if response.stream is not None:
            return await self._send_stream(exchange, response, has_body)
        body = response.body
        head = self._head(exchange, response, None if response.status in (204, 304) else len(body))
        if not has_body:
            self._transport.write(head)
            return 0
        if len(body) <= _JOINED_BYTES:
            self._transport.write(head + body)
        else:
            self._transport.writelines([head, body])
        return len(body)

    async def _send_stream(self, exchange: Exchange, response: Response, has_body: bool) -> int:
        assert response.stream is not None
        length = next((int(value) for name, value in response.headers if name == b"content-length"), None)
        chunked = length is None and not exchange.version_10
        size = 0
        try:
            self._transport.write(self._head(exchange, response, None, chunked=chunked and has_body))
            if has_body:
                async for piece in response.stream:
                    await self._drain()
                    if exchange.incoming.is_gone:
                        return size
                    size += len(piece)
                    if piece:
                        self._transport.writelines(
                            [b"%x\r\n" % len(piece), piece, b"\r\n"] if chunked else [piece]
                        )
        finally:
            if isinstance(response.stream, AsyncGenerator):
                await response.stream.aclose()
        if chunked and has_body:
            self._transport.write(b"0\r\n\r\n")
        elif has_body and size != length:
            # Without a length its end is the end of the connection; with another one the client must not take it.
            exchange.keep_alive = False
            if length is not None:
                raise ValueError(f"a stream of {length} bytes had {size}")
        return size

    def _head(
        self, exchange: Exchange, response: Response, length: int | None, *, chunked: bool = False
    ) -> bytes:
        lines = [_STATUS[response.status], self._shared.date, _CORS]
        for name, value in response.headers:
            if b"\n" in value or b"\r" in value:
                raise ValueError(f"the header {name!r} has more than one line")
            lines.append(b"%s: %s\r\n" % (name, value))
        if length is not None:
            lines.append(b"content-length: %d\r\n" % length)
        elif chunked:
            lines.append(b"transfer-encoding: chunked\r\n")
        if not exchange.keep_alive:
            lines.append(_CLOSE)
        lines.append(b"\r\n")
        return b"".join(lines)

    def write(self, data: bytes) -> None:
        """Write between answers."""
        if not self._transport.is_closing():
            self._transport.write(data)

    async def _drain(self) -> None:
        while self._is_full and not self._transport.is_closing():
            self._drained = self._loop.create_future()
            await self._drained

    def _refuse(self, status: int, errcode: str, error: str) -> None:
        """Answer outside of the application, and close."""
        if self._transport.is_closing():
            return
        if self._answering is not None:
            # What is being answered keeps its answer, unless its own body can't be read; what follows is lost.
            self._end_after_answers()
            if self._coming is not None and not self._coming.incoming.is_complete:
                self._coming.incoming.lose()
            return
        body = b'{"errcode":"%s","error":"%s"}' % (errcode.encode(), error.encode())
        head = (_STATUS[status], self._shared.date, _CORS, b"content-type: application/json\r\n", _CLOSE)
        self._transport.write(b"%scontent-length: %d\r\n\r\n%s" % (b"".join(head), len(body), body))
        self._transport.close()

    def _end_after_answers(self) -> None:
        for exchange in (self._answering, *self._queue):
            if exchange is not None:
                exchange.keep_alive = False
        self.pause()

    # From the side that listens.

    def pause(self) -> None:
        """Read no more for now."""
        if not self._is_paused and not self._transport.is_closing():
            self._is_paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._is_paused and not self._queue and not self._transport.is_closing():
            self._is_paused = False
            self._transport.resume_reading()

    def end(self) -> None:
        """The server stops: close now, or after the answer that is being made."""
        if self._answering is None:
            self._transport.close()
        else:
            self._answering.keep_alive = False
            self._queue.clear()

    def end_with_next_answer(self) -> None:
        """Another process goes on: close after the answer that is being made, or else after the next one."""
        if self._answering is not None and not self._queue:
            self._answering.keep_alive = False
        elif self._queue:
            self._queue[-1].keep_alive = False

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def is_overdue(self, now: float) -> bool:
        """Whether the client takes too long to send its request, to read its answer, or to want anything."""
        if self._since is not None:
            allowed = HEAD_SECONDS + self._received / BODY_BYTES_PER_SECOND
            if self._coming is not None and self._coming.incoming.is_unwanted:
                allowed = HEAD_SECONDS
            return now - self._since > allowed
        unread = self._transport.get_write_buffer_size()
        if unread == 0 or unread != self._unread:
            self._unread = unread
            self._unread_since = now
        elif now - self._unread_since > UNREAD_SECONDS:
            return True
        return self._idle_since is not None and now - self._idle_since > IDLE_SECONDS and unread == 0


class _BodyOnly:
    """Passes one body on: nothing of the head before it, nor of what follows."""

    def __init__(self, connection: Connection) -> None:
        self._connection: Connection | None = connection

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if self._connection is not None:
            self._connection.on_body(body)

    def on_message_complete(self) -> None:
        """That was all of it."""
        if self._connection is not None:
            self._connection.on_message_complete()
            self._connection = None


def _framing(headers: list[tuple[bytes, bytes]]) -> bytes:
    """The headers that say where a body ends; empty if there is no body."""
    return b"".join(b"%s: %s\r\n" % h for h in headers if h[0] in (b"content-length", b"transfer-encoding"))


def _split(url: bytes) -> tuple[bytes, bytes]:
    """Path and query of a request's target, raw."""
    if not url.startswith(b"/"):
        # A proxy's form: http://host/path.
        parsed = httptools.parse_url(url)
        url = (parsed.path or b"/") + (b"?" + parsed.query if parsed.query else b"")
    if not url.isascii():
        raise ValueError("a URL is ASCII")
    path, _, query = url.partition(b"?")
    return path, query
