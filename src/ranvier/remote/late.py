"""The way out to other servers, made when it is first needed.

What it is made of (aiohttp, c-ares, the list of certificate authorities) costs tens of milliseconds and megabytes,
which a server that speaks with nobody need not spend. It is loaded in a thread, so that requests go on meanwhile.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

from ranvier.remote.transport import Call, Downloading, Opened, Transport


class WayOut(Transport, Protocol):
    """What is made: brings calls to servers, downloads, and can be closed."""

    @property
    def downloads(self) -> Downloading:
        """Downloads from addresses that others name."""
        ...

    async def stop(self) -> None:
        """Close all connections."""
        ...


class Late:
    """A Transport that is built at its first call."""

    def __init__(self, build: Callable[[], WayOut]) -> None:
        self._build = build
        self._built: WayOut | None = None
        self._lock = asyncio.Lock()

    async def ready(self) -> WayOut:
        """What was built; now, if it was not before."""
        if self._built is None:
            async with self._lock:
                if self._built is None:
                    self._built = await asyncio.to_thread(self._build)
        return self._built

    @asynccontextmanager
    async def open(self, call: Call, timeout_s: float) -> AsyncIterator[Opened]:
        """Send the call. Raises RemoteFailure."""
        way_out = await self.ready()
        async with way_out.open(call, timeout_s) as opened:
            yield opened

    async def stop(self) -> None:
        """Close all connections."""
        if self._built is not None:
            await self._built.stop()
