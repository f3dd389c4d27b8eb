"""One kept-alive HTTP/1.1 connection, cheap enough that the load never costs more than the server."""

import asyncio
import time
from typing import NamedTuple, cast

import httptools

# uvicorn drops a connection that was idle for 5 s: a request must not meet that moment.
IDLE_SECONDS = 4.0


class Address(NamedTuple):
    """Where a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"http://{self.host}:{self.port}"


class Answer(NamedTuple):
    """What came back, and after how long: `seconds` from the moment of asking to the answer's last byte."""

    status: int
    body: bytes
    seconds: float


class UnexpectedAnswer(Exception):
    """A server answered with another status than the work needs."""

    def __init__(self, request: bytes, answer: Answer) -> None:
        line = request.split(b"\r\n", 1)[0].decode("latin-1")
        super().__init__(f"{line}: {answer.status} {answer.body[:400].decode('utf-8', 'replace')}")


class Connection(asyncio.Protocol):
    """Asks one request at a time and reconnects when the server has closed between two of them.

    `answered` is the perf_counter moment at which the last answer was complete.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._waiter: asyncio.Future[Answer] | None = None
        self._body: list[bytes] = []
        self._asked = 0.0
        self.answered = time.perf_counter()

    async def ask(self, request: bytes) -> Answer:
        """Send these bytes and wait for the answer; `ConnectionError` when the server hangs up instead."""
        transport = self._transport
        if transport is None or transport.is_closing() or time.perf_counter() - self.answered > IDLE_SECONDS:
            transport = await self._connect()
        waiter: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiter = waiter
        # Before the write: on a busy machine the answer may be there before this process runs again.
        self._asked = time.perf_counter()
        transport.write(request)
        return await waiter

    async def expect(self, request: bytes, status: int = 200) -> Answer:
        """Like `ask`, but any other status raises `UnexpectedAnswer`."""
        answer = await self.ask(request)
        if answer.status != status:
            raise UnexpectedAnswer(request, answer)
        return answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    async def _connect(self) -> asyncio.Transport:
        self.close()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(lambda: self, self.address.host, self.address.port)
        return transport

    # What the event loop and the parser call.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class does not derive from it
        self._parser = httptools.HttpResponseParser(self)
        self._body = []

    def data_received(self, data: bytes) -> None:
        parser = self._parser
        if parser is None:
            return
        try:
            parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(ConnectionError(f"not an HTTP answer: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._fail(ConnectionError(f"{self.address} closed the connection before it answered ({exc})"))

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        parser, waiter = self._parser, self._waiter
        self.answered = now = time.perf_counter()
        parts, self._body, self._waiter = self._body, [], None
        if parser is None or waiter is None or waiter.done():
            return
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        waiter.set_result(Answer(parser.get_status_code(), body, now - self._asked))
        if not parser.should_keep_alive():
            self.close()

    def _fail(self, error: ConnectionError) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)
