"""What still comes from the client of one request: its body, and that it hangs up."""

import asyncio
from collections.abc import Callable
from typing import Protocol

_HIGH_WATER = 64 * 1024
"""Bytes of a body that wait in memory before the connection is asked to pause."""


class Gone(Exception):
    """The client hung up before its request was complete."""


class Source(Protocol):
    """Where the body comes from."""

    def pause(self) -> None:
        """Bring no more for now."""
        ...

    def resume(self) -> None:
        """Go on."""
        ...

    def invite(self) -> None:
        """The body is wanted: tell the client, if it waits to hear that."""
        ...


class Incoming:
    """The body of one request as it arrives, and whether the client is still there."""

    __slots__ = (
        "_pieces",
        "_size",
        "_source",
        "_waiter",
        "is_complete",
        "is_gone",
        "is_unwanted",
        "when_gone",
    )

    def __init__(self, source: Source) -> None:
        self._source = source
        self._pieces: list[bytes] = []
        self._size = 0
        self._waiter: asyncio.Future[None] | None = None
        self.is_complete = False
        self.is_gone = False
        self.is_unwanted = False
        self.when_gone: Callable[[], None] | None = None
        """Called, on the loop, if the client hangs up before it has its answer."""

    def feed(self, piece: bytes) -> None:
        """More of the body came."""
        if self.is_unwanted:
            return
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size > _HIGH_WATER:
            self._source.pause()
        self._wake()

    def finish(self) -> None:
        """The body is complete."""
        self.is_complete = True
        self._wake()

    def lose(self) -> None:
        """The client is gone."""
        self.is_gone = True
        self._wake()
        if self.when_gone is not None:
            self.when_gone()

    def discard(self) -> None:
        """The answer is out: nobody will read what still comes."""
        self.is_unwanted = True
        self.when_gone = None
        self._pieces.clear()
        self._source.resume()
        # The source holds this too: without the cycle both are freed at once, and not by the collector.
        del self._source

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def read(self) -> bytes:
        """The next piece, or nothing at the end; raises `Gone`.

        How long a client may take is the connection's matter: it ends itself when that is too long.
        """
        if not self._pieces and not self.is_complete and not self.is_gone:
            self._source.invite()
            self._source.resume()
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self._pieces:
            piece = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
            self._pieces.clear()
            self._size = 0
            return piece
        if self.is_complete:
            return b""
        raise Gone
