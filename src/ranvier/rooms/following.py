"""Followers of the log: what is derived from events and kept in tables of its own (indexes to search in, say).

A follower has a position of its own. What it makes of entries is written in the transaction that moves its position,
so it misses nothing and may be killed at any time. It runs behind the answers to clients, and costs them nothing;
who has to see what was answered before waits until it has caught up.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from typing import Final, Protocol

from ranvier.bus.local import Ring
from ranvier.rooms.events import Events
from ranvier.store import followers as store
from ranvier.store import log
from ranvier.store import timeline as timeline_store
from ranvier.store.database import Database, Entry, Transaction
from ranvier.store.events import StoredEvent
from ranvier.store.log import Kind, room_of
from ranvier.store.shares import Shares
from ranvier.store.writer import Writer

GATHERING_S: Final = 1.0
"""Seconds of which everything is taken in together, for what somebody looks for but nobody is told of."""
_AT_ONCE: Final = 1_000
_UNSAVED: Final = 10_000
"""Entries that say nothing to a follower before its position is written all the same."""
_AGAIN_SECONDS: Final = 5.0
_LINGER_SECONDS: Final = 0.5
"""News wait so long for more, unless somebody wants to see what comes of them: a commit for each would cost as much as
the event's own."""
_LOOK_SECONDS: Final = 0.1
"""Between two looks at how far another process has followed, and between two times at which it says so."""

Write = Callable[[Transaction], Awaitable[None]]

_log = logging.getLogger("ranvier.rooms")


class Derived(Protocol):
    """What is kept from the log."""

    name: str

    def all(self) -> AsyncIterator[Write]:
        """From nothing: what to write for all that is there now, in portions. Entries since then are told again."""
        ...

    async def take(self, entries: Sequence[Entry]) -> Sequence[Write]:
        """What to write for these entries, in portions; entries read from the table have no payload."""
        ...


class Following:
    """Keeps one derived thing up with the log; of several processes one does.

    What is committed within `gathering` seconds is taken in together, so that it costs one commit; it is taken in at
    once where somebody waits for it.
    """

    def __init__(
        self,
        derived: Derived,
        database: Database,
        writer: Writer,
        shares: Shares,
        *,
        gathering: float = 0.0,
    ) -> None:
        self._derived = derived
        self._database = database
        self._writer = writer
        self._shares = shares
        self._gathering = gathering
        self._reached = 0
        self._saved = 0
        self._news = asyncio.Event()
        self._lingering: asyncio.TimerHandle | None = None
        self._moved = asyncio.Event()
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def hear(self, ring: Ring) -> None:
        """Something was committed."""
        if self._lingering is None:
            self._lingering = asyncio.get_running_loop().call_later(_LINGER_SECONDS, self._look)

    def _look(self) -> None:
        self._lingering = None
        self._news.set()

    async def start(self) -> None:
        """Follow from now on, if no other process does."""
        await self._shares.begin(self)

    async def stop(self) -> None:
        """Follow no more."""
        if self._lingering is not None:
            self._lingering.cancel()
        await self._shares.stop()

    async def gain(self, portions: Collection[int]) -> None:
        """It is this process that follows."""
        self._task = asyncio.create_task(self._run(), name=f"follower {self._derived.name}")

    async def leave(self, portions: Collection[int]) -> None:
        """It is another process that follows: remember how far this one came."""
        await self.lose(portions)
        if self._saved and self._reached > self._saved:
            await self._save(None, self._reached)

    async def lose(self, portions: Collection[int]) -> None:
        """Another process may follow already."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    def call(self, key: str) -> None:
        """What there is to do is in the log."""

    async def catch_up(self, seconds: float) -> None:
        """Wait until what is committed now is taken in, but no longer than that."""
        target = self._writer.tail.tip
        self._news.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._task is not None and self._reached < target:
                    self._wanted.set()
                    self._moved.clear()
                    await self._moved.wait()
                while self._task is None and not await self._is_past(target):  # noqa: ASYNC110
                    await asyncio.sleep(_LOOK_SECONDS)

    async def _is_past(self, target: int) -> bool:
        """Whether the process that follows is as far as this."""
        return (await store.position(self._database, self._derived.name) or 0) >= target

    async def _run(self) -> None:
        while True:
            try:
                await self._begin()
                while True:
                    await self._wait()
                    await self._gather()
                    await self._go_on()
            except Exception:
                _log.exception("a follower of the log stumbled", extra={"follower": self._derived.name})
                await asyncio.sleep(_AGAIN_SECONDS)

    async def _wait(self) -> None:
        """Wait for news; processes that don't follow see only what is written of how far this one is."""
        is_unsaid = self._reached > self._saved and not self._shares.is_alone
        try:
            async with asyncio.timeout(_LOOK_SECONDS if is_unsaid else None):
                await self._news.wait()
        except TimeoutError:
            await self._save(None, self._reached)
        self._news.clear()

    async def _gather(self) -> None:
        # Those who wait in other processes can't say so.
        if self._gathering and self._shares.is_alone:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._gathering):
                    await self._wanted.wait()
            self._wanted.clear()

    async def _begin(self) -> None:
        reached = await store.position(self._database, self._derived.name)
        if reached is None or reached < await log.read_horizon(self._database):
            reached = self._writer.tail.tip
            async for write in self._derived.all():
                await self._writer.run(self._fenced(write))
            await self._save(None, reached)
        self._reached = self._saved = reached
        self._news.set()

    async def _go_on(self) -> None:
        tail = self._writer.tail
        while self._reached < tail.tip:
            until = min(tail.tip, self._reached + _AT_ONCE)
            if tail.reaches(self._reached):
                entries = tail.between(self._reached, until)
            else:
                entries = await log.read_all(self._database, self._reached, until)
            writes = await self._derived.take(entries)
            for write in writes[:-1]:
                await self._writer.run(self._fenced(write))
            if writes or until - self._saved >= _UNSAVED:
                await self._save(writes[-1] if writes else None, until)
            self._reached = until
            self._moved.set()
            await asyncio.sleep(0)

    async def _save(self, write: Write | None, reached: int) -> None:
        async def both(transaction: Transaction) -> None:
            if write is not None:
                await write(transaction)
            await store.set_position(transaction, self._derived.name, reached)

        await self._writer.run(self._fenced(both))
        self._saved = reached

    def _fenced(self, write: Write) -> Write:
        fence = self._shares.fence_of(0)

        async def fenced(transaction: Transaction) -> None:
            if fence is not None:
                transaction.fence(fence)
            await write(transaction)

        return fenced


async def events_of(database: Database, events: Events, entries: Sequence[Entry]) -> list[StoredEvent]:
    """The events that entered live timelines with these entries, in the order of each room."""
    found: list[StoredEvent] = []
    unread: dict[str, list[int]] = {}
    for entry in entries:
        if entry.kind != Kind.EVENT:
            continue
        if entry.payload is not None:
            found.append(entry.payload.kept)
        else:
            unread.setdefault(entry.audience, []).append(int(entry.ref))
    nids: list[int] = []
    for audience, versions in unread.items():
        first, last = min(versions), max(versions)
        rows = await timeline_store.page(database, room_of(audience), first - 1, last, last - first + 1)
        wanted = set(versions)
        nids += [row.event for row in rows if row.version in wanted and row.event is not None]
    kept = await events.by_nids(nids)
    return [*(kept[nid] for nid in nids if nid in kept), *found]
