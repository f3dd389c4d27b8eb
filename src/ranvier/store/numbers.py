"""Numbers for rooms, events and state lines, handed out in memory from blocks that the store reserves.

A number is used once, in any process; numbers of an unused rest of a block are lost, which harms nobody.
"""

import asyncio
from collections import deque
from collections.abc import Sequence

from ranvier.store.database import Database, Transaction

_BLOCK = 10_000
_REFILL_BELOW = 5_000


class NumbersExhausted(Exception):
    """More numbers were taken at once than are in reserve; a new block is on its way."""


class Numbers:
    """One counter of the store, by its name."""

    def __init__(self, database: Database, name: str) -> None:
        self._database = database
        self._name = name
        self._blocks: deque[tuple[int, int]] = deque()
        self._left = 0
        self._refill: asyncio.Task[None] | None = None

    def take(self) -> int:
        """The next number; raises `NumbersExhausted` if a new block has not come yet."""
        if self._left < _REFILL_BELOW and (self._refill is None or self._refill.done()):
            self._refill = asyncio.get_running_loop().create_task(self.reserve())
        if not self._blocks:
            raise NumbersExhausted(self._name)
        number, end = self._blocks[0]
        if number + 1 == end:
            self._blocks.popleft()
        else:
            self._blocks[0] = (number + 1, end)
        self._left -= 1
        return number

    async def stop(self) -> None:
        """Wait for a block that is on its way, so that nothing asks a database that is closed."""
        if self._refill is not None:
            await asyncio.gather(self._refill, return_exceptions=True)

    def extend(self, end: int) -> None:
        """Hand out the block that was reserved up to `end`, too."""
        self._blocks.append((end - _BLOCK, end))
        self._left += _BLOCK

    async def reserve(self) -> None:
        """Reserve one block more."""
        ends, _ = await self._database.commit(lambda transaction: _reserve(transaction, [self._name]))
        self.extend(ends[self._name])


class Counters:
    """Several counters by name, started and stopped together."""

    def __init__(self, database: Database, names: Sequence[str]) -> None:
        self._database = database
        self.by_name = {name: Numbers(database, name) for name in names}

    async def start(self) -> None:
        """Reserve the first blocks, all in one commit."""
        ends, _ = await self._database.commit(lambda transaction: _reserve(transaction, list(self.by_name)))
        for name, end in ends.items():
            self.by_name[name].extend(end)

    async def stop(self) -> None:
        """Wait for blocks that are on their way."""
        for numbers in self.by_name.values():
            await numbers.stop()


async def _reserve(transaction: Transaction, names: Sequence[str]) -> dict[str, int]:
    """A block of each counter; answers where it ends."""
    # In one order in every process, so that none waits for another in a circle.
    rows = [(name, 1 + _BLOCK) for name in sorted(names)]
    grown = "(name) DO UPDATE SET value = counters.value + excluded.value - 1"
    await transaction.insert("counters", "name, value", rows, grown)
    found = await transaction.fetch("SELECT name, value FROM counters WHERE name = ANY($1)", list(names))
    return {row[0]: int(row[1]) for row in found}
