"""What has to be done now and then so that the database does not grow without end.

One process does it for all; every slice takes what is there, so another one may go on at any time.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Final

from ranvier.store import delayed_events, inbox, trimming
from ranvier.store.database import Database, Transaction
from ranvier.store.shares import Shares
from ranvier.store.writer import Writer
from ranvier.sync.syncing import LogView

ROUND_MS: Final = 10 * 60_000
"""Between two rounds."""
_PAUSE_SECONDS: Final = 0.02
"""Between two slices, so that requests go first."""
_DAY_MS: Final = 24 * 3_600_000

_log = logging.getLogger("ranvier.main")


@dataclass(frozen=True, slots=True)
class HousekeepingRules:
    """How long things are kept, in milliseconds; `originals` None is for ever.

    A client that was away for longer than the log is kept, or for more entries than `log_entries`, gets a full answer
    from its next sync.
    """

    originals: int | None
    log: int = 30 * _DAY_MS
    log_entries: int = 20_000_000
    transactions: int = 2 * _DAY_MS
    delayed_events: int = 7 * _DAY_MS


class Housekeeping:
    """Rounds of trimming."""

    def __init__(
        self,
        rules: HousekeepingRules,
        database: Database,
        writer: Writer,
        log: LogView,
        shares: Shares,
        now: Callable[[], int],
    ) -> None:
        self._rules = rules
        self._database = database
        self._writer = writer
        self._log = log
        self._shares = shares
        self._now = now
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Go round from now on, if no other process does."""
        await self._shares.begin(self)

    async def stop(self) -> None:
        """Go round no more; what was begun goes on in the next round."""
        await self._shares.stop()

    async def gain(self, portions: Collection[int]) -> None:
        """It is this process that goes round."""
        self._task = asyncio.create_task(self._run(), name="housekeeping")

    async def leave(self, portions: Collection[int]) -> None:
        """It is another process that goes round."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def lose(self, portions: Collection[int]) -> None:
        """Another process may go round already."""
        await self.leave(portions)

    def call(self, key: str) -> None:
        """Rounds come by themselves."""

    async def _run(self) -> None:
        while True:
            try:
                await self.tidy()
            except Exception:
                _log.exception("housekeeping failed; it is tried again")
            await asyncio.sleep(ROUND_MS / 1000)

    async def tidy(self) -> None:
        """One round."""
        await self._writer.run(self._begin)
        now, rules = self._now(), self._rules
        await self._trim_log(now)
        await self._in_slices(trimming.trim_delivered)
        await self._in_slices(lambda t: trimming.trim_transactions(t, now - rules.transactions))
        await self._in_slices(lambda t: delayed_events.trim(t, now - rules.delayed_events))
        await self._in_slices(lambda t: inbox.trim_answers(t, now - rules.transactions))
        originals = rules.originals
        if originals is not None:
            await self._in_slices(lambda t: trimming.drop_originals(t, now - originals))
        await self._database.forget_batches()

    async def _begin(self, transaction: Transaction) -> None:
        await trimming.mark_log(transaction, self._now())

    async def _trim_log(self, now: int) -> None:
        rules = self._rules
        target = await trimming.find_horizon(self._database, now - rules.log, rules.log_entries)
        while self._log.horizon < target:
            self._log.horizon = await self._writer.run(lambda t: trimming.trim_log(t, target))
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _in_slices(self, trim: Callable[[Transaction], Awaitable[int]]) -> None:
        while await self._writer.run(trim):  # noqa: ASYNC110 - it pauses, it waits for nothing
            await asyncio.sleep(_PAUSE_SECONDS)
