"""How far each destination is, kept: written now and then for those that lack something, never on the way of a send."""

from collections.abc import Callable, Collection
from typing import Final

from ranvier.federation.destinations import Destination, Destinations
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

    async def load(self, portions: Collection[int]) -> dict[int, int]:
        """Bring back what is behind of these portions; answers from which position each must follow the log."""
        self.forget(portions)
        for lag in await store.read_lags(self._database):
            for destination in self._destinations.mine([lag.destination], portions):
                destination.fall_behind()
                destination.take(lag)
                self._kept[lag.destination] = lag
        known = await store.read_positions(self._database)
        self._kept_positions.update({portion: known[portion] for portion in portions if portion in known})
        # Where there is no position nobody ever sent, and everything is still to be looked at.
        return {portion: known.get(portion, 0) for portion in portions}

    def forget(self, portions: Collection[int]) -> None:
        """Another process keeps these portions from now on."""
        for portion in portions:
            self._kept_positions.pop(portion, None)
        for name in self._names_of(portions):
            del self._kept[name]

    async def keep(self, routed: int) -> None:
        """Write what changed; everything up to `routed` was looked at, and queued if it was meant for somebody."""
        await self._keep(routed, frozenset(self._destinations.open), self._now() - _FRESH_MS)

    async def keep_all(self, routed: int, portions: Collection[int]) -> None:
        """Write how far all destinations of some portions are, as others go on with them."""
        await self._keep(routed, portions, None)

    async def _keep(self, routed: int, portions: Collection[int], before: int | None) -> None:
        """Who lacks something since a time (ms since the epoch) gets a row; for the others their portion waits."""
        fence_of = self._destinations.shares.fence_of
        fences = {portion: fence for portion in portions if (fence := fence_of(portion)) is not None}
        lags, positions, still = {}, dict.fromkeys(fences, routed), set()
        for destination in self._destinations.of(fences):
            if not destination.is_open:
                continue
            still.add(destination.name)
            if before is None or self._is_late(destination, before):
                lags[destination.name] = destination.lag()
            elif destination.name not in self._kept:
                portion = destination.portion
                positions[portion] = min(positions[portion], destination.done)
        # A position never goes back: what lies before it was handed over.
        positions = {
            portion: position
            for portion, position in positions.items()
            if position > self._kept_positions.get(portion, -1)
        }
        changed = [lag for name, lag in lags.items() if self._kept.get(name) != lag]
        ended = [name for name in self._names_of(fences) if name not in still]
        if not (changed or ended or positions):
            return

        async def write(transaction: Transaction) -> None:
            for fence in fences.values():
                transaction.fence(fence)
            await store.save(transaction, changed, ended, positions)

        await self._writer.run(write)
        self._kept.update((lag.destination, lag) for lag in changed)
        for name in ended:
            self._kept.pop(name, None)
        self._kept_positions |= positions

    def _names_of(self, portions: Collection[int]) -> list[str]:
        """Those of these portions that have a row."""
        portion_of = self._destinations.shares.portion_of
        return [name for name in self._kept if portion_of(name) in portions]

    @staticmethod
    def _is_late(destination: Destination, before: int) -> bool:
        return destination.behind or destination.done_ts < before
