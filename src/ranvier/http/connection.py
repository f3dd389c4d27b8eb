"""One connection of a client: uvicorn's HTTP/1.1, with a bound on everything that a stranger can make long or slow."""

from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from ranvier.http.response import CORS

HEAD_BYTES = 64 * 1024
"""Bytes of a request's line and headers."""
HEAD_SECONDS = 30
"""Time for a request to come in, and so long may a new connection say nothing."""
BODY_BYTES_PER_SECOND = 1024
"""What a body must bring on average, beyond `HEAD_SECONDS`."""
UNREAD_SECONDS = 120
"""How long a client may leave an answer unread."""


class Connection(HttpToolsProtocol):
    """Watched by `Watch.sweep`, which closes it when a request takes too long to come or an answer to be taken."""

    def __init__(
        self, config: Config, server_state: ServerState, app_state: dict[str, Any], most_connections: int
    ) -> None:
        super().__init__(config, server_state, app_state)
        self._most_connections = most_connections
        self._in_head = True
        self._received = 0
        self._since: float | None = None
        self._unread_since: float | None = None
        self._unread = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > self._most_connections:
            self._refuse(
                503, "M_LIMIT_EXCEEDED", "The server has too many connections; come back in a minute."
            )
            return
        self._since = self.loop.time()

    def connection_lost(self, exc: Exception | None) -> None:
        hung_up = self.cycle is not None and not self.cycle.response_complete
        state = self.scope["state"] if hung_up else {}
        super().connection_lost(exc)
        state["gone"] = True
        when_gone = state.get("when_gone")
        if when_gone is not None:
            when_gone()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._received += len(data)
        if self._in_head and self._received > HEAD_BYTES:
            self._refuse(431, "M_TOO_LARGE", f"The request's line and headers exceed {HEAD_BYTES} bytes.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._received = 0
        self._since = self.loop.time()

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._since = None
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "M_UNRECOGNIZED", "This is not a valid HTTP/1.1 request.")

    def _refuse(self, status: int, errcode: str, error: str) -> None:
        """Answer outside of the application, and close."""
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            body = b'{"errcode":"%s","error":"%s"}' % (errcode.encode(), error.encode())
            headers = [
                *self.server_state.default_headers,
                *CORS,
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
                (b"connection", b"close"),
            ]
            lines = [b"%s: %s\r\n" % header for header in headers]
            self.transport.write(b"".join([STATUS_LINE[status], *lines, b"\r\n", body]))
        self.transport.close()

    def overdue(self, now: float) -> bool:
        """Whether the client takes too long to send its request, or to read the answer."""
        if self._since is not None:
            if self.cycle is not None and self.cycle.response_complete and not self._in_head:
                return now - self._since > HEAD_SECONDS
            return now - self._since > HEAD_SECONDS + self._received / BODY_BYTES_PER_SECOND
        unread = self.transport.get_write_buffer_size()
        if unread == 0 or unread != self._unread or self._unread_since is None:
            self._unread = unread
            self._unread_since = now if unread else None
            return False
        return now - self._unread_since > UNREAD_SECONDS
