"""Taking staged events into their rooms, each room at its own pace.

So one room's trouble delays no other room's events, and no origin's next transaction.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection
from typing import Final

import orjson

from ranvier.federation.missing import Missing, MissingEvents
from ranvier.protocol.events import Event
from ranvier.protocol.refusal import Refusal
from ranvier.protocol.room_versions import ROOM_VERSIONS
from ranvier.remote.failure import RemoteFailure
from ranvier.rooms.heads import Heads, Room
from ranvier.store import inbox as store
from ranvier.store import rooms as rooms_store
from ranvier.store.database import Database, Fence, Transaction
from ranvier.store.inbox import Staged
from ranvier.store.numbers import Numbers
from ranvier.store.shares import Shares
from ranvier.store.writer import Writer

_AT_ONCE: Final = 100
"""Rooms that take in events at the same time."""
_BATCH: Final = 50
_SWEEP_SECONDS: Final = 15.0
_SHARED_SWEEP_SECONDS: Final = 2.0
_LAST_S: Final = 2.0
"""What is being taken in when another process shall go on gets so long."""
_FIRST_PAUSE_MS: Final = 15_000
_LONGEST_PAUSE_MS: Final = 6 * 3_600_000
MAX_TRIES: Final = 12
"""After about a day an event is given up whose past nobody gives: if it mattered, later ones will lead to it."""

_log = logging.getLogger("ranvier.federation")


class Consuming:
    """Works through the inbox: at start, when events are staged, and when postponed ones are due.

    Of several processes each does it for its share of the rooms.
    """

    def __init__(
        self,
        database: Database,
        writer: Writer,
        heads: Heads,
        missing: MissingEvents,
        places: Numbers,
        shares: Shares,
        now: Callable[[], int],
    ) -> None:
        self._database = database
        self._writer = writer
        self._heads = heads
        self._missing = missing
        self._places = places
        self._shares = shares
        self._now = now
        self._look = asyncio.Event()
        self._rooms: dict[int, asyncio.Task[None]] = {}
        self._again: set[int] = set()
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._sweeper: asyncio.Task[None] | None = None

    def next_place(self) -> int:
        """A place in the inbox behind all that were given before."""
        return self._places.take()

    async def start(self) -> None:
        """Take in what waits, and what will."""
        await self._shares.begin(self)
        self._sweeper = asyncio.create_task(self._sweep(), name="inbox")

    async def stop(self) -> None:
        """Leave the rest to others, or for the next start."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeper
        await self._shares.stop()

    def wake(self, room: int) -> None:
        """Events were staged for a room; it is this process that takes them in, or another."""
        self._shares.call(str(room))

    async def gain(self, portions: Collection[int]) -> None:
        """Take in what waits for these rooms."""
        self._look.set()

    async def leave(self, portions: Collection[int]) -> None:
        """Take nothing more into these rooms."""
        await self._end(portions, _LAST_S)

    async def lose(self, portions: Collection[int]) -> None:
        """Another process may take in what waits for these rooms already."""
        await self._end(portions, 0)

    async def _end(self, portions: Collection[int], seconds: float) -> None:
        rooms = [room for room in self._rooms if self._shares.portion_of(str(room)) in portions]
        tasks = [self._rooms[room] for room in rooms]
        self._again.difference_update(rooms)
        if tasks and seconds:
            await asyncio.wait(tasks, timeout=seconds)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def call(self, key: str) -> None:
        """Events wait for a room that is this process's."""
        room = int(key)
        if room in self._rooms:
            self._again.add(room)
            return
        task = asyncio.create_task(self._consume(room), name=f"inbox of room {room}")
        self._rooms[room] = task
        task.add_done_callback(lambda _: self._ended(room))

    def _ended(self, room: int) -> None:
        del self._rooms[room]
        if room in self._again:
            self._again.discard(room)
            if self._shares.holds(str(room)):
                self.call(str(room))

    async def _sweep(self) -> None:
        while True:
            self._look.clear()
            try:
                for room in await store.rooms_due(self._database, self._now()):
                    if self._shares.holds(str(room)):
                        self.call(str(room))
            except Exception:
                _log.exception("the inbox could not be looked through; it is tried again")
            with contextlib.suppress(TimeoutError):
                # What another process staged, and told of in vain, is found soon, too.
                async with asyncio.timeout(
                    _SWEEP_SECONDS if self._shares.is_solitary else _SHARED_SWEEP_SECONDS
                ):
                    await self._look.wait()

    async def _consume(self, nid: int) -> None:
        try:
            async with self._turns:
                row = await rooms_store.by_nid(self._database, nid)
                room = await self._heads.get(row.room_id) if row is not None else None
                while room is not None:
                    self._again.discard(nid)
                    fence = self._shares.fence(str(nid))
                    staged = await store.next_of(self._database, nid, self._now(), _BATCH)
                    if not staged or fence is None:
                        return
                    await self._take_in(room, staged, fence)
        except Exception:
            # The events stay where they are; the next look through the inbox comes back to them.
            _log.exception("a room could not take in what was sent", extra={"room": nid})

    async def _take_in(self, room: Room, staged: list[Staged], fence: Fence) -> None:
        done: list[str] = []

        async def take_out(transaction: Transaction) -> None:
            transaction.fence(fence)
            await store.take_out(transaction, room.nid, done)

        try:
            for one in staged:
                if not self._shares.holds(str(room.nid)):
                    break
                if await self._take_one(room, one, fence):
                    done.append(one.event_id)
        finally:
            if done:
                await self._writer.run(take_out)

    async def _take_one(self, room: Room, staged: Staged, fence: Fence) -> bool:
        """Whether the event needs no more looking after."""
        event = Event(
            staged.event_id, ROOM_VERSIONS[room.version.identifier], orjson.loads(staged.pdu), staged.pdu
        )
        try:
            outcome = await self._missing.receive(room, event, staged.origin, insist=staged.tries > 0)
        except Refusal as refusal:
            _log.info("an event was dropped", extra={"event_id": event.event_id, "why": refusal.error})
            return True
        except RemoteFailure as failure:
            return await self._postpone(room, staged, fence, str(failure))
        if isinstance(outcome, Missing):
            return await self._postpone(room, staged, fence, "events that it builds on are missing")
        return True

    async def _postpone(self, room: Room, staged: Staged, fence: Fence, why: str) -> bool:
        about = {"event_id": staged.event_id, "room_id": room.room_id, "origin": staged.origin, "why": why}
        if staged.tries + 1 >= MAX_TRIES:
            _log.warning("an event was given up: nobody gives what it builds on", extra=about)
            return True
        _log.info("an event is tried again later", extra=about)
        due = self._now() + min(_LONGEST_PAUSE_MS, _FIRST_PAUSE_MS * 2**staged.tries)

        async def postpone(transaction: Transaction) -> None:
            transaction.fence(fence)
            await store.postpone(transaction, room.nid, staged.event_id, due)

        await self._writer.run(postpone)
        return False
