"""When and from where devices were last heard of: kept in memory, and written in batches, minutes late."""

import asyncio
import contextlib
import logging
from collections.abc import Callable

from ranvier.accounts.requester import Requester
from ranvier.accounts.sessions import shorten_agent
from ranvier.store import devices
from ranvier.store.devices import Sighting
from ranvier.store.writer import Writer

WRITE_EVERY_S = 60
_FRESH_MS = 120_000
_WAITING = 10_000

_log = logging.getLogger("ranvier.accounts")


class Sightings:
    """Notes sightings at the cost of a look into a dict; each device is written at most every two minutes."""

    def __init__(self, writer: Writer, now: Callable[[], int]) -> None:
        self._writer = writer
        self._now = now
        self._written: dict[tuple[str, str], int] = {}
        self._waiting: dict[tuple[str, str], Sighting] = {}
        self._task: asyncio.Task[None] | None = None

    def note(self, requester: Requester, address: str, header: Callable[[bytes], str | None]) -> None:
        """A request came from this device; `header` looks up a header of it."""
        if requester.device_id is None:
            return
        key, now = (requester.user_id, requester.device_id), self._now()
        if (
            key in self._waiting
            or self._written.get(key, 0) > now - _FRESH_MS
            or len(self._waiting) >= _WAITING
        ):
            return
        self._waiting[key] = Sighting(*key, now, address, shorten_agent(header(b"user-agent")))

    async def write(self) -> None:
        """Write what waits."""
        waiting, self._waiting = self._waiting, {}
        now = self._now()
        self._written = {key: ts for key, ts in self._written.items() if ts > now - _FRESH_MS}
        if waiting:
            sightings = list(waiting.values())
            await self._writer.run(lambda transaction: devices.write_sightings(transaction, sightings))
            self._written.update((key, sighting.seen_ts) for key, sighting in waiting.items())

    def start(self) -> None:
        """Write every minute from now on."""
        self._task = asyncio.create_task(self._run(), name="sightings")

    async def stop(self) -> None:
        """Write what waits, and no more."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self.write()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(WRITE_EVERY_S)
            try:
                await self.write()
            except Exception:
                _log.exception("devices' last use could not be written")
