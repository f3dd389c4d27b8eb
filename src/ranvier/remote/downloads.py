"""Downloads from addresses that other servers name."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ranvier.remote.late import Late
from ranvier.remote.transport import Opened


class Downloads:
    """Downloads from addresses that other servers name."""

    def __init__(self, late: Late) -> None:
        self._late = late

    @asynccontextmanager
    async def open(self, url: str, timeout_s: float) -> AsyncIterator[Opened]:
        """The answer (status 200) behind a URL; whoever reads bounds what is read. Raises RemoteFailure."""
        way_out = await self._late.ready()
        async with way_out.downloads.open(url, timeout_s) as opened:
            yield opened
