"""Waiting for what must come true soon, as clients hear of things by their syncs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE_SECONDS = 30.0
_PAUSE_SECONDS = 0.05


async def eventually(probe: Callable[[], Awaitable[T]], what: str, within: float = PATIENCE_SECONDS) -> T:
    """The first truthy outcome of the probe; AssertionError, with its last outcome, when none came in time."""
    deadline = time.monotonic() + within
    while True:
        outcome = await probe()
        if outcome:
            return outcome
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not so after {within:.0f} s; last seen: {outcome!r}")
        await asyncio.sleep(_PAUSE_SECONDS)
