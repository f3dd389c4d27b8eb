"""What goes back: status, headers and bytes."""

from collections.abc import AsyncIterator
from typing import Any

import orjson

JSON = (b"content-type", b"application/json")


class Response:
    """An answer whose body stands as bytes, or comes in pieces from `stream`."""

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
