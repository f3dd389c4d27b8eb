"""How fast another server is served: `rc_federation` of the configuration.

Requests of one origin beyond a number in a window are delayed, beyond a number that wait they are refused, and only so
many are worked on at once. One origin's haste slows no other.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from ranvier.http.limits import too_soon

_REMEMBERED: Final = 20_000


@dataclass(frozen=True, slots=True)
class PeerLimit:
    """In a window of `window_ms`, requests after the `free`-th wait `delay_ms`; at most `at_once` are worked on,
    and when `waiting` wait already, further ones are refused."""

    window_ms: int = 1000
    free: int = 10
    delay_ms: int = 500
    waiting: int = 50
    at_once: int = 3


class _Peer:
    __slots__ = ("begun", "inside", "places")

    def __init__(self, at_once: int) -> None:
        self.begun: deque[float] = deque()
        self.places = asyncio.Semaphore(at_once)
        self.inside = 0


class PeerLimits:
    """The limit for each origin; `now` counts seconds from any moment."""

    def __init__(self, limit: PeerLimit, now: Callable[[], float]) -> None:
        self._limit = limit
        self._now = now
        self._peers: dict[str, _Peer] = {}

    @asynccontextmanager
    async def turn(self, origin: str) -> AsyncIterator[None]:
        """Wait for the origin's turn, and hold it within the context; refuses when too many wait."""
        limit = self._limit
        peer = self._peers.get(origin)
        if peer is None:
            self._forget()
            peer = self._peers[origin] = _Peer(max(limit.at_once, 1))
        if peer.inside >= limit.at_once + limit.waiting:
            raise too_soon(limit.window_ms / 1000)
        peer.inside += 1
        try:
            now = self._now()
            window = limit.window_ms / 1000
            while peer.begun and peer.begun[0] <= now - window:
                peer.begun.popleft()
            is_hasty = len(peer.begun) >= limit.free
            peer.begun.append(now)
            if is_hasty:
                await asyncio.sleep(limit.delay_ms / 1000)
            async with peer.places:
                yield
        finally:
            peer.inside -= 1

    def _forget(self) -> None:
        """Drop the origins that are quiet, when there are many."""
        if len(self._peers) < _REMEMBERED:
            return
        horizon = self._now() - self._limit.window_ms / 1000
        self._peers = {
            origin: peer
            for origin, peer in self._peers.items()
            if peer.inside or (peer.begun and peer.begun[-1] > horizon)
        }
