"""Sending to other servers: one transaction at a time for each, in order, until it has it.

A destination that does not answer is left alone for longer each time, falls behind, and catches up when it is there
again. Source: server-server API, "Transactions".
"""

import asyncio
import heapq
import logging
from collections.abc import Sequence
from typing import Final

from ranvier.federation.destinations import Destination, Destinations
from ranvier.federation.handing_over import HandingOver
from ranvier.federation.lanes import PATIENCE_S, Lanes
from ranvier.federation.outbox import Outbox
from ranvier.federation.positions import Positions
from ranvier.federation.routing import Routing
from ranvier.store.database import Entry

_KEEP_S: Final = 1.0
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
        self._tasks: set[asyncio.Task[None]] = set()
        self._always: list[asyncio.Task[None]] = []
        self._is_running = False
        destinations.when_woken(self.wake)

    async def start(self) -> None:
        """Begin to send: first to those who lack something from before."""
        self._routing.position = await self._positions.load()
        await self._outbox.find_waiting(self._destinations)
        self._is_running = True
        for destination in self._destinations:
            self.wake(destination)
        loop = asyncio.get_running_loop()
        self._always = [
            loop.create_task(self._follow(), name="federation-routing"),
            loop.create_task(self._keep(), name="federation-positions"),
        ]
        self._news.set()

    async def stop(self) -> None:
        """Send no more; what is not taken at once is sent again after the next start."""
        if not self._is_running:
            return
        self._is_running = False
        if self._clock is not None:
            self._clock.cancel()
        for task in self._always:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_LAST_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._always, *self._tasks, return_exceptions=True)
        await self._positions.keep(self._routing.position, all_of_them=True)

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
        if destination.sending or destination.ready or not destination.has_work or not self._is_running:
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
        while self._is_running and (destination := self._lanes.next()) is not None:
            destination.sending = True
            task = asyncio.get_running_loop().create_task(self._send(destination), name="federation-sending")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

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
            self._lanes.leave(destination)
            destination.sending = False
            destination.due = None
        self.wake(destination)
        self._let_go()

    async def _attempt(self, destination: Destination) -> None:
        if not self._handing_over.may_try(destination):
            destination.fall_behind()
            return
        if destination.pending:
            await self._handing_over.hand_over(destination, destination.pending[0])
            return
        transaction = await self._outbox.next(destination, lambda: self._routing.position)
        if transaction is not None:
            await self._handing_over.hand_over(destination, transaction)

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
                await self._routing.follow()
            except Exception:
                position = self._routing.position
                failures = failures + 1 if position == failed_at else 1
                failed_at = position
                _log.exception("the log could not be followed", extra={"position": position})
                if failures >= _TRIES:
                    self._routing.skip()
                await asyncio.sleep(_AGAIN_S)
                self._news.set()

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(_KEEP_S)
            try:
                await self._positions.keep(self._routing.position)
            except Exception:
                _log.exception("positions of destinations could not be kept")
