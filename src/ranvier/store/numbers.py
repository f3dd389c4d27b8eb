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

    async def start(self) -> None:
        """Reserve the first block."""
        await self._reserve()

    def take(self) -> int:
        """The next number; raises `NumbersExhausted` if a new block has not come yet."""
        if self._left < _REFILL_BELOW and (self._refill is None or self._refill.done()):
            self._refill = asyncio.get_running_loop().create_task(self._reserve())
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

    async def _reserve(self) -> None:
        async def write(transaction: Transaction) -> int:
            await transaction.insert("counters", "name, value", [(self._name, 1)], "DO NOTHING")
            await transaction.execute(
                "UPDATE counters SET value = value + $2 WHERE name = $1", self._name, _BLOCK
            )
            return int(
                await transaction.fetch_value("SELECT value FROM counters WHERE name = $1", self._name)
            )

        end, _ = await self._database.commit(write)
        self._blocks.append((end - _BLOCK, end))
        self._left += _BLOCK


class Counters:
    """Several counters by name, started and stopped together."""

    def __init__(self, database: Database, names: Sequence[str]) -> None:
        self.by_name = {name: Numbers(database, name) for name in names}

    async def start(self) -> None:
        """Reserve the first blocks."""
        for numbers in self.by_name.values():
            await numbers.start()

    async def stop(self) -> None:
        """Wait for blocks that are on their way."""
        for numbers in self.by_name.values():
            await numbers.stop()
