"""A network in which no other server answers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from ranvier.remote.failure import RemoteFailure


class NobodyAnswers:
    """Stands where requests to other servers are made."""

    server_name = "example.org"

    async def request(self, destination: str, *_: Any, **__: Any) -> dict[str, Any]:
        """Fails."""
        raise RemoteFailure(destination, "It does not answer.")

    @asynccontextmanager
    async def open(self, destination: str, *_: Any, **__: Any) -> AsyncIterator[Any]:
        """Fails."""
        raise RemoteFailure(destination, "It does not answer.")
        yield
