"""What goes back: status, headers and bytes."""

from collections.abc import AsyncIterator
from typing import Any

import orjson

JSON = (b"content-type", b"application/json")
CORS = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
    (b"access-control-allow-headers", b"X-Requested-With, Content-Type, Authorization"),
)
"""On every answer (Client-Server API, "Web Browser Clients"), so that clients may be web pages."""


class Response:
    """An answer whose body stands as bytes, or comes in pieces from `stream`.

    A stream whose length is known says so in a `content-length` header.
    """

    __slots__ = ("body", "headers", "status", "stream")

    def __init__(
        self,
        status: int,
        body: bytes = b"",
        headers: list[tuple[bytes, bytes]] | None = None,
        stream: AsyncIterator[bytes] | None = None,
    ) -> None:
        self.status = status
        self.body = body
        self.headers = headers if headers is not None else [JSON]
        self.stream = stream


def json_response(value: Any, status: int = 200) -> Response:
    """The value as a JSON answer."""
    return Response(status, orjson.dumps(value))


def redirect(location: str, status: int = 302) -> Response:
    """Go there."""
    return Response(status, headers=[(b"location", location.encode())])
