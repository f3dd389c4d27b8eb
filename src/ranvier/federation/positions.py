"""How far each destination is, kept: written now and then for those that lack something, never on the way of a send."""

from collections.abc import Callable
from typing import Final

from ranvier.federation.destinations import Destination, Destinations
from ranvier.store import log
from ranvier.store import sending as store
from ranvier.store.database import Database, Transaction
from ranvier.store.sending import Lag
from ranvier.store.writer import Writer

_FRESH_MS: Final = 5_000
"""Whoever lacks something for no longer than this gets no row: the others' position waits for it instead."""


class Positions:
    """Reads and keeps them. `now` is the time in milliseconds since the epoch."""

    def __init__(
        self, database: Database, writer: Writer, destinations: Destinations, now: Callable[[], int]
    ) -> None:
        self._database = database
        self._writer = writer
        self._destinations = destinations
        self._now = now
        self._kept: dict[str, Lag] = {}
        self._kept_positions: dict[int, int] = {}

    async def load(self) -> int:
        """Bring back what is behind; answers the position from which the log must be followed."""
        for lag in await store.read_lags(self._database):
            for destination in self._destinations.mine([lag.destination]):
                destination.fall_behind()
                destination.take(lag)
                self._kept[lag.destination] = lag
        tip = await log.read_tip(self._database)
        known = await store.read_positions(self._database)
        self._kept_positions = {share: known[share] for share in self._destinations.shares if share in known}
        return min((known.get(share, tip) for share in self._destinations.shares), default=tip)

    async def keep(self, routed: int, *, all_of_them: bool = False) -> None:
        """Write what changed; everything up to `routed` was looked at, and queued if it was meant for somebody.

        With `all_of_them`, as at the end, nobody is waited for.
        """
        lags, positions, still = {}, dict.fromkeys(self._destinations.shares, routed), set()
        before = self._now() - _FRESH_MS
        for destination in self._destinations:
            if not destination.is_open:
                continue
            still.add(destination.name)
            if self._is_late(destination, before) or all_of_them:
                lags[destination.name] = destination.lag()
            elif destination.name not in self._kept:
                share = destination.share
                positions[share] = min(positions[share], destination.done)
        # A position never goes back: what lies before it was handed over.
        positions = {
            share: position
            for share, position in positions.items()
            if position > self._kept_positions.get(share, -1)
        }
        changed = [lag for name, lag in lags.items() if self._kept.get(name) != lag]
        ended = [name for name in self._kept if name not in still]
        if not (changed or ended or positions):
            return

        async def write(transaction: Transaction) -> None:
            await store.save(transaction, changed, ended, positions)

        await self._writer.run(write)
        self._kept.update((lag.destination, lag) for lag in changed)
        for name in ended:
            del self._kept[name]
        self._kept_positions |= positions

    @staticmethod
    def _is_late(destination: Destination, before: int) -> bool:
        return destination.behind or destination.done_ts < before
