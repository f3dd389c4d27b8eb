"""Taking staged events into their rooms, each room at its own pace.

So one room's trouble delays no other room's events, and no origin's next transaction.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
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
from ranvier.store.database import Database
from ranvier.store.inbox import Staged
from ranvier.store.numbers import Numbers
from ranvier.store.writer import Writer

_AT_ONCE: Final = 100
"""Rooms that take in events at the same time."""
_BATCH: Final = 50
_SWEEP_SECONDS: Final = 15.0
_FIRST_PAUSE_MS: Final = 15_000
_LONGEST_PAUSE_MS: Final = 6 * 3_600_000
MAX_TRIES: Final = 12
"""After about a day an event is given up whose past nobody gives: if it mattered, later ones will lead to it."""

_log = logging.getLogger("ranvier.federation")


class Consuming:
    """Works through the inbox: at start, when events are staged, and when postponed ones are due."""

    def __init__(
        self,
        database: Database,
        writer: Writer,
        heads: Heads,
        missing: MissingEvents,
        places: Numbers,
        now: Callable[[], int],
    ) -> None:
        self._database = database
        self._writer = writer
        self._heads = heads
        self._missing = missing
        self._places = places
        self._now = now
        self._rooms: dict[int, asyncio.Task[None]] = {}
        self._again: set[int] = set()
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._sweeper: asyncio.Task[None] | None = None

    def next_place(self) -> int:
        """A place in the inbox behind all that were given before."""
        return self._places.take()

    def start(self) -> None:
        """Take in what waits, and what will."""
        self._sweeper = asyncio.create_task(self._sweep(), name="inbox")

    async def stop(self) -> None:
        """Leave the rest for the next start."""
        tasks = [task for task in (self._sweeper, *self._rooms.values()) if task is not None]
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def wake(self, room: int) -> None:
        """Events were staged for a room."""
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
            self.wake(room)

    async def _sweep(self) -> None:
        while True:
            try:
                for room in await store.rooms_due(self._database, self._now()):
                    self.wake(room)
            except Exception:
                _log.exception("the inbox could not be looked through; it is tried again")
            await asyncio.sleep(_SWEEP_SECONDS)

    async def _consume(self, nid: int) -> None:
        try:
            async with self._turns:
                row = await rooms_store.by_nid(self._database, nid)
                room = await self._heads.get(row.room_id) if row is not None else None
                while room is not None:
                    self._again.discard(nid)
                    staged = await store.next_of(self._database, nid, self._now(), _BATCH)
                    if not staged:
                        return
                    await self._take_in(room, staged)
        except Exception:
            # The events stay where they are; the next look through the inbox comes back to them.
            _log.exception("a room could not take in what was sent", extra={"room": nid})

    async def _take_in(self, room: Room, staged: list[Staged]) -> None:
        done: list[str] = []
        try:
            for one in staged:
                if await self._take_one(room, one):
                    done.append(one.event_id)
        finally:
            if done:
                await self._writer.run(lambda transaction: store.take_out(transaction, room.nid, done))

    async def _take_one(self, room: Room, staged: Staged) -> bool:
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
            return await self._postpone(room, staged, str(failure))
        if isinstance(outcome, Missing):
            return await self._postpone(room, staged, "events that it builds on are missing")
        return True

    async def _postpone(self, room: Room, staged: Staged, why: str) -> bool:
        about = {"event_id": staged.event_id, "room_id": room.room_id, "origin": staged.origin, "why": why}
        if staged.tries + 1 >= MAX_TRIES:
            _log.warning("an event was given up: nobody gives what it builds on", extra=about)
            return True
        _log.info("an event is tried again later", extra=about)
        due = self._now() + min(_LONGEST_PAUSE_MS, _FIRST_PAUSE_MS * 2**staged.tries)
        await self._writer.run(lambda t: store.postpone(t, room.nid, staged.event_id, due))
        return False
