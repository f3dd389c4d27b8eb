"""Taking staged events into their rooms, each room at its own pace.

So one room's trouble delays no other room's events, and no origin's next transaction. What was staged a moment ago is
still in memory, and need not be read again; the inbox is what is left of it after a crash, or for another process, and
where more waits than memory should hold.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Sequence
from functools import partial as bind
from typing import Final

import orjson

from ranvier.federation.missing import Missing, MissingEvents
from ranvier.protocol.events import Event
from ranvier.protocol.refusal import Refusal
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
_AT_HAND: Final = 200
"""Events of a room that wait in memory; more are read from the inbox when their turn comes."""
_ALL_AT_HAND: Final = 5_000
_TAKE_OUT_SECONDS: Final = 1.0
_MOST_TO_TAKE_OUT: Final = 500
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
        self._at_hand: dict[int, list[tuple[Staged, Event]]] = {}
        self._number_at_hand = 0
        self._unread: set[int] = set()
        self._done: list[Staged] = []
        self._taking_out: asyncio.Task[None] | None = None
        self._is_stopped = False
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
        self._is_stopped = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeper
        await self._shares.stop()
        if self._taking_out is not None:
            self._taking_out.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._taking_out
        await self._take_out()

    def hand(self, staged: Staged, event: Event) -> bool:
        """Take an event into its room, which is about to be written to the inbox by the writer's next batches.

        False where it is another process that does, or where more waits for the room than memory holds: then call
        `wake` once it is written.
        """
        room = staged.room
        if not self._shares.holds(str(room)):
            return False
        waiting = self._at_hand.get(room, [])
        if room in self._unread or len(waiting) >= _AT_HAND or self._number_at_hand >= _ALL_AT_HAND:
            # What comes later must wait for it.
            self._unread.add(room)
            return False
        self._at_hand.setdefault(room, waiting).append((staged, event))
        self._number_at_hand += 1
        self._begin(room)
        return True

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
        def is_meant(room: int) -> bool:
            return self._shares.portion_of(str(room)) in portions

        # It is in the inbox.
        for room in list(filter(is_meant, self._at_hand)):
            self._number_at_hand -= len(self._at_hand.pop(room))
        self._unread = {room for room in self._unread if not is_meant(room)}
        tasks = [task for room, task in self._rooms.items() if is_meant(room)]
        if tasks and seconds:
            await asyncio.wait(tasks, timeout=seconds)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def call(self, key: str) -> None:
        """Events wait in the inbox for a room that is this process's."""
        room = int(key)
        self._unread.add(room)
        self._begin(room)

    def _begin(self, room: int) -> None:
        if room not in self._rooms and not self._is_stopped:
            task = asyncio.create_task(self._consume(room), name=f"inbox of room {room}")
            self._rooms[room] = task
            task.add_done_callback(lambda _: self._ended(room))

    def _ended(self, room: int) -> None:
        del self._rooms[room]
        if (room in self._at_hand or room in self._unread) and self._shares.holds(str(room)):
            self._begin(room)

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
                while True:
                    at_hand = self._at_hand.pop(nid, [])
                    self._number_at_hand -= len(at_hand)
                    fence = self._shares.fence(str(nid))
                    if room is None or fence is None or not (at_hand or nid in self._unread):
                        self._unread.discard(nid)
                        return
                    await self._take_in(room, at_hand or await self._next_of(room), fence)
        except Exception:
            # The events stay where they are; the next look through the inbox comes back to them.
            self._unread.discard(nid)
            self._number_at_hand -= len(self._at_hand.pop(nid, ()))
            _log.exception("a room could not take in what was sent", extra={"room": nid})

    async def _next_of(self, room: Room) -> list[tuple[Staged, Event]]:
        """The room's next events in the inbox."""
        await self._take_out()
        self._unread.discard(room.nid)
        staged = await store.next_of(self._database, room.nid, self._now(), _BATCH)
        if staged:
            self._unread.add(room.nid)
        return [(one, _event_of(room, one)) for one in staged]

    async def _take_in(self, room: Room, arrived: Sequence[tuple[Staged, Event]], fence: Fence) -> None:
        for staged, event in arrived:
            if not self._shares.holds(str(room.nid)):
                return
            if await self._take_one(room, staged, event, fence):
                self._done.append(staged)
                if self._taking_out is None:
                    self._taking_out = asyncio.create_task(self._take_out_later(), name="inbox, what is done")

    async def _take_out_later(self) -> None:
        """Soon, and many at once: what is taken in twice, after a crash or by another process, is known already."""
        await asyncio.sleep(_TAKE_OUT_SECONDS)
        self._taking_out = None
        await self._take_out()

    async def _take_out(self) -> None:
        done, self._done = self._done, []
        for start in range(0, len(done), _MOST_TO_TAKE_OUT):
            part = done[start : start + _MOST_TO_TAKE_OUT]
            await self._writer.run(bind(store.take_out, staged=part))

    async def _take_one(self, room: Room, staged: Staged, event: Event, fence: Fence) -> bool:
        """Whether the event needs no more looking after."""
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


def _event_of(room: Room, staged: Staged) -> Event:
    return Event(staged.event_id, room.version, orjson.loads(staged.pdu), staged.pdu)
