"""Sending to other servers: one transaction at a time for each, in order, until it has it.

A destination that does not answer is left alone for longer each time, falls behind, and catches up when it is there
again. Source: server-server API, "Transactions".
"""

import asyncio
import contextlib
import heapq
import logging
from collections.abc import Collection, Sequence
from functools import partial
from typing import Final

from ranvier.federation.destinations import Destination, Destinations
from ranvier.federation.handing_over import HandingOver
from ranvier.federation.lanes import PATIENCE_S, Lanes
from ranvier.federation.outbox import Outbox
from ranvier.federation.positions import Positions
from ranvier.federation.routing import Routing
from ranvier.store.database import Entry

_KEEP_S: Final = 5.0
"""Between two times at which positions are kept."""
_AGAIN_S: Final = 1.0
_LAST_S: Final = 2.0
"""For so long a process that stops waits for answers."""
_TRIES: Final = 5
"""An entry of the log that can't be looked at is left out after so many times."""

_log = logging.getLogger("ranvier.federation")


class Sending:
    """The sender: follows the log and lets each destination have its turn."""

    def __init__(
        self,
        destinations: Destinations,
        positions: Positions,
        routing: Routing,
        outbox: Outbox,
        handing_over: HandingOver,
        lanes: Lanes,
    ) -> None:
        self._destinations = destinations
        self._positions = positions
        self._routing = routing
        self._outbox = outbox
        self._handing_over = handing_over
        self._lanes = lanes
        self._news = asyncio.Event()
        self._due: list[tuple[float, str]] = []
        self._clock: asyncio.TimerHandle | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._always: list[asyncio.Task[None]] = []
        self._gained: set[int] = set()
        self._opening: set[int] = set()
        self._closed_at: dict[int, int] = {}
        destinations.when_woken(self.wake)

    async def start(self) -> None:
        """Begin to send: first to those who lack something from before."""
        self._routing.begin_at_tip()
        loop = asyncio.get_running_loop()
        self._always = [
            loop.create_task(self._follow(), name="federation-routing"),
            loop.create_task(self._keep(), name="federation-positions"),
        ]
        await self._destinations.shares.begin(self)

    async def stop(self) -> None:
        """Send no more; what is not taken at once is sent again by whoever goes on, or after the next start."""
        await self._destinations.shares.stop()
        if self._clock is not None:
            self._clock.cancel()
        for task in self._always:
            task.cancel()
        await asyncio.gather(*self._always, return_exceptions=True)

    # Portions of all destinations come and go

    async def gain(self, portions: Collection[int]) -> None:
        """Send to these from now on, once it is known what they lack."""
        self._gained.update(portions)
        self._news.set()

    async def leave(self, portions: Collection[int]) -> None:
        """Send nothing new to these, and keep how far they are."""
        routed = self._close(portions)
        await self._finish(portions, _LAST_S)
        kept = [portion for portion in portions if portion in routed]
        for position in set(routed.values()):
            await self._positions.keep_all(position, [p for p in kept if routed[p] == position])
        self._forget(portions)

    async def lose(self, portions: Collection[int]) -> None:
        """Another process may send to these already."""
        self._close(portions)
        await self._finish(portions, 0)
        self._forget(portions)

    def call(self, key: str) -> None:
        """Destinations are woken by the log."""

    def _close(self, portions: Collection[int]) -> dict[int, int]:
        """Begin nothing new; answers for those that were open up to where the log was looked at for them."""
        self._gained.difference_update(portions)
        self._opening.difference_update(portions)
        self._routing.forget(portions)
        routed = dict.fromkeys(self._destinations.open & set(portions), self._routing.position)
        self._closed_at.update(routed)
        self._destinations.open.difference_update(portions)
        return routed

    async def _finish(self, portions: Collection[int], seconds: float) -> None:
        """Wait for transactions under way; what is not answered by then may have been taken or not."""
        portion_of = self._destinations.shares.portion_of
        tasks = [task for name, task in self._tasks.items() if portion_of(name) in portions]
        if tasks and seconds:
            await asyncio.wait(tasks, timeout=seconds)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _forget(self, portions: Collection[int]) -> None:
        self._positions.forget(portions)
        self._destinations.close(portions)

    async def _take_over(self) -> None:
        """Find out what the destinations of new portions lack."""
        portions = frozenset(self._gained)
        lacking = await self._positions.load(portions)
        await self._outbox.find_waiting(self._destinations, portions)
        taken = self._gained & portions
        self._gained -= taken
        self._opening |= taken
        self._routing.look_again({portion: lacking[portion] for portion in taken})

    def _open(self) -> None:
        """Everything up to here was looked at for these portions, too."""
        portions, self._opening = self._opening, set()
        self._destinations.open |= portions
        for destination in self._destinations.of(portions):
            self.wake(destination)

    def heard(self, entries: Sequence[Entry]) -> None:
        """Follow the log."""
        self._news.set()

    def is_back(self, name: str) -> None:
        """A server that did not answer is there again."""
        destination = self._destinations.find(name)
        if destination is not None:
            destination.not_before = 0.0
            self.wake(destination)

    # Who is next

    def wake(self, destination: Destination, linger: float = 0.0) -> None:
        """The destination may have something to be sent; it may wait for so many seconds for more."""
        if destination.sending or destination.ready or not destination.has_work:
            return
        if destination.portion not in self._destinations.open:
            return
        now = asyncio.get_running_loop().time()
        at = destination.not_before
        if not destination.is_urgent:
            if destination.due is None:
                destination.due = now + linger
            at = max(at, destination.due)
        if at > now:
            self._remind(at, destination)
            return
        self._lanes.line_up(destination)
        self._let_go()

    def _remind(self, at: float, destination: Destination) -> None:
        if destination.reminder is not None and destination.reminder <= at:
            # When that comes, it is looked up how long to wait yet.
            return
        destination.reminder = at
        heapq.heappush(self._due, (at, destination.name))
        if self._clock is None or at < self._clock.when():
            self._set_clock()

    def _set_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
        self._clock = asyncio.get_running_loop().call_at(self._due[0][0], self._ring)

    def _ring(self) -> None:
        now = asyncio.get_running_loop().time()
        self._clock = None
        while self._due and self._due[0][0] <= now:
            at, name = heapq.heappop(self._due)
            destination = self._destinations.find(name)
            if destination is not None:
                if destination.reminder == at:
                    destination.reminder = None
                self.wake(destination)
        if self._due and self._clock is None:
            self._set_clock()

    def _let_go(self) -> None:
        while (destination := self._lanes.next()) is not None:
            if destination.portion not in self._destinations.open:
                self._lanes.leave(destination)
                continue
            destination.sending = True
            task = asyncio.get_running_loop().create_task(self._send(destination), name="federation-sending")
            self._tasks[destination.name] = task
            task.add_done_callback(partial(self._ended, destination))

    # One transaction

    async def _send(self, destination: Destination) -> None:
        loop = asyncio.get_running_loop()
        timer = loop.call_later(PATIENCE_S, self._step_aside, destination)
        try:
            await self._attempt(destination)
        except Exception:
            _log.exception("sending failed", extra={"destination": destination.name})
            destination.failures += 1
            self._handing_over.pause(destination)
        finally:
            timer.cancel()

    def _ended(self, destination: Destination, task: asyncio.Task[None]) -> None:
        del self._tasks[destination.name]
        self._lanes.leave(destination)
        destination.sending = False
        destination.due = None
        self.wake(destination)
        self._let_go()

    async def _attempt(self, destination: Destination) -> None:
        if not self._destinations.may_send(destination):
            # This process was silent for so long that another may have taken its place; it will soon know.
            destination.not_before = asyncio.get_running_loop().time() + _AGAIN_S
            return
        if not self._handing_over.may_try(destination):
            destination.fall_behind()
            return
        if destination.pending:
            await self._handing_over.hand_over(destination, destination.pending[0])
            return
        transaction = await self._outbox.next(destination, lambda: self._routed(destination))
        if transaction is not None and self._destinations.may_send(destination):
            await self._handing_over.hand_over(destination, transaction)

    def _routed(self, destination: Destination) -> int:
        """Up to where the log was looked at for the destination."""
        if destination.portion in self._destinations.open:
            return self._routing.position
        return self._closed_at[destination.portion]

    def _step_aside(self, destination: Destination) -> None:
        if not destination.sending:
            return
        if not self._lanes.step_aside(destination):
            asyncio.get_running_loop().call_later(PATIENCE_S, self._step_aside, destination)
        self._let_go()

    # What goes on all the time

    async def _follow(self) -> None:
        failed_at, failures = -1, 0
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                if self._gained:
                    await self._take_over()
            except Exception:
                _log.exception("it could not be read what destinations lack")
                await asyncio.sleep(_AGAIN_S)
                self._news.set()
                continue
            try:
                await self._routing.follow_again()
                if self._opening:
                    self._open()
                await self._routing.follow()
            except Exception:
                position = self._routing.at
                failures = failures + 1 if position == failed_at else 1
                failed_at = position
                _log.exception("the log could not be followed", extra={"position": position})
                if failures >= _TRIES:
                    await self._skip()
                await asyncio.sleep(_AGAIN_S)
                self._news.set()

    async def _skip(self) -> None:
        """Leave the entry out, unless nothing can be read at all."""
        with contextlib.suppress(Exception):
            await self._routing.skip()

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(_KEEP_S)
            try:
                await self._positions.keep(self._routing.position)
            except Exception:
                _log.exception("positions of destinations could not be kept")
