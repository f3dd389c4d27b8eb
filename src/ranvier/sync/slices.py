"""Long work in slices, so that the event loop is never held for long."""

import asyncio
import time

SLICE = 0.005
"""Seconds of work after which others get a turn."""


class Slices:
    """One piece of long work."""

    __slots__ = ("_began",)

    def __init__(self) -> None:
        self._began = time.perf_counter()

    async def breathe(self) -> None:
        """Let others have a turn if it is time."""
        if time.perf_counter() - self._began > SLICE:
            await asyncio.sleep(0)
            self._began = time.perf_counter()
