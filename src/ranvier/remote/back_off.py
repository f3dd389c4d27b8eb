"""Servers that do not answer are left alone, longer each time, and the wait outlives a restart.

Source: server-server API, "Transactions" asks for back-off without numbers; these are the configuration's
(`federation.destination_*`).
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ranvier.store import destinations
from ranvier.store.database import Database
from ranvier.store.destinations import Failing
from ranvier.store.writer import Writer

_REMEMBERED: Final = 50_000
"""Servers that fail, at most; beyond that the ones that were tried longest ago are forgotten, here and in the store."""
_NOISE_MS: Final = 1000
"""Failures that come so close together are one: many requests were under way when the server went."""


@dataclass(frozen=True, slots=True)
class BackOffRules:
    """Milliseconds of the first wait, its growth with each failure, and the longest one."""

    first_ms: int = 10 * 60_000
    growth: float = 2.0
    longest_ms: int = 7 * 24 * 3_600_000


class BackOff:
    """How long each destination is left alone. `start` reads what was known before."""

    def __init__(
        self,
        rules: BackOffRules,
        database: Database,
        writer: Writer,
        now: Callable[[], int],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._rules = rules
        self._database = database
        self._writer = writer
        self._now = now
        self._chance = chance
        self._failing: dict[str, Failing] = {}
        self._hearing: list[Callable[[str], None]] = []
        self._share_back: Callable[[str], None] = lambda name: None
        self._share_away: Callable[[Failing], None] = lambda failing: None
        self._pausing: defaultdict[str, set[asyncio.Future[None]]] = defaultdict(set)

    async def start(self) -> None:
        """Read what is known of servers that fail."""
        rows = await destinations.read_failing(self._database, _REMEMBERED)
        self._failing = {row.destination: row for row in rows}

    def when_back(self, call: Callable[[str], None]) -> None:
        """Call this, on the loop, with each destination that failed before and is there again."""
        self._hearing.append(call)

    def share_by(self, back: Callable[[str], None], away: Callable[[Failing], None]) -> None:
        """Call these with each destination that is there again or failed, to tell other processes."""
        self._share_back, self._share_away = back, away

    def hear_away(self, failing: Failing) -> None:
        """Another process tried it in vain: whoever hears from it tells that it is back."""
        if len(self._failing) < _REMEMBERED:
            self._failing[failing.destination] = failing

    def hear_back(self, destination: str) -> None:
        """Another process found that it is there again."""
        if self._failing.pop(destination, None) is not None:
            for call in self._hearing:
                call(destination)

    def wait_ms(self, destination: str) -> int:
        """Milliseconds for which it is still left alone; 0 if it may be tried now."""
        failing = self._failing.get(destination)
        if failing is None:
            return 0
        return max(0, failing.tried_ts + failing.wait_ms - self._now())

    def may_try(self, destination: str) -> bool:
        """Whether it may be asked now."""
        return self.wait_ms(destination) == 0

    def failing_since(self, destination: str) -> int | None:
        """Since when it has not answered, in milliseconds since the epoch; None if it answers."""
        failing = self._failing.get(destination)
        return failing.since_ts if failing is not None else None

    async def pause(self, destination: str, seconds: float) -> None:
        """Wait between two attempts; no longer than until it is heard of."""
        heard: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pausing[destination].add(heard)
        try:
            await asyncio.wait([heard], timeout=seconds)
        finally:
            waiting = self._pausing[destination]
            waiting.discard(heard)
            if not waiting:
                del self._pausing[destination]

    async def succeeded(self, destination: str) -> None:
        """It answered, or it asked something itself: from now on it may be tried."""
        for heard in self._pausing.get(destination, ()):
            if not heard.done():
                heard.set_result(None)
        if self._failing.pop(destination, None) is None:
            return
        await self._writer.run(lambda transaction: destinations.forget(transaction, [destination]))
        self._share_back(destination)
        for call in self._hearing:
            call(destination)

    async def failed(self, destination: str) -> None:
        """It did not answer, after all quick attempts."""
        now = self._now()
        before = self._failing.get(destination)
        if before is not None and now - before.tried_ts < min(before.wait_ms, _NOISE_MS):
            return
        rules = self._rules
        # The wait grows from what it was without the chance in it.
        base = rules.first_ms if before is None else min(int(before.base_ms * rules.growth), rules.longest_ms)
        wait = min(int(base * (0.8 + 0.4 * self._chance())), rules.longest_ms)
        since = before.since_ts if before is not None else now
        failing = Failing(destination, since, now, base, wait)
        self._failing[destination] = failing
        await self._writer.run(lambda transaction: destinations.save(transaction, failing))
        self._share_away(failing)
        await self._forget_oldest()

    async def _forget_oldest(self) -> None:
        if len(self._failing) <= _REMEMBERED:
            return
        oldest = sorted(self._failing.values(), key=lambda failing: failing.tried_ts)[: _REMEMBERED // 10]
        names = [failing.destination for failing in oldest]
        for name in names:
            self._failing.pop(name, None)
        await self._writer.run(lambda transaction: destinations.forget(transaction, names))
