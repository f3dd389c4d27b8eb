"""One transaction on its way to one destination, and what becomes of it."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from ranvier.federation.destinations import Destination, Transaction
from ranvier.federation.lanes import PATIENCE_S
from ranvier.federation.last_pdus import LastPdus
from ranvier.remote.back_off import BackOff
from ranvier.remote.failure import RemoteFailure
from ranvier.store import outgoing_to_device
from ranvier.store.writer import Writer

_FIRST_PAUSE_S: Final = 15.0
_LONGEST_PAUSE_S: Final = 3_600.0
_REFUSED: Final = (400, 413)
"""What is wrong with the transaction itself; with anything else asking again later may help."""
_LOGGED: Final = 5
_KEPT: Final = 500
"""Destinations whose transaction is kept as it was when it fails; for more of them it is made anew from the log."""

Deliver = Callable[[str, Transaction], Awaitable[Mapping[str, str]]]
"""Hands a transaction over to a destination; answers by event id why it did not take events. Raises RemoteFailure."""

_log = logging.getLogger("ranvier.federation")


@dataclass(slots=True)
class Figures:
    """What was sent since the process began; `edus` by their type."""

    transactions: int = 0
    failures: int = 0
    pdus: int = 0
    refused_pdus: int = 0
    edus: dict[str, int] = field(default_factory=dict)

    def count(self, transaction: Transaction) -> None:
        """A transaction was taken."""
        self.transactions += 1
        self.pdus += len(transaction.pdus)
        for edu in transaction.edus:
            self.edus[edu["edu_type"]] = self.edus.get(edu["edu_type"], 0) + 1


class HandingOver:
    """Delivers, notes what is delivered, and decides how long to wait after a failure."""

    def __init__(
        self,
        deliver: Deliver,
        back_off: BackOff,
        writer: Writer,
        last_pdus: LastPdus,
        chance: Callable[[], float],
    ) -> None:
        self._deliver = deliver
        self._back_off = back_off
        self._writer = writer
        self._last_pdus = last_pdus
        self._chance = chance
        self._unsent: OrderedDict[str, Destination] = OrderedDict()
        self.figures = Figures()

    def may_try(self, destination: Destination) -> bool:
        """Whether the destination is to be tried now; if not, it is noted until when."""
        wait_ms = self._back_off.wait_ms(destination.name)
        if wait_ms == 0:
            return True
        destination.slow = True
        self._postpone(destination, wait_ms / 1000)
        return False

    async def hand_over(self, destination: Destination, transaction: Transaction) -> bool:
        """Deliver the first of the pending transactions; False if that did not succeed."""
        began = asyncio.get_running_loop().time()
        try:
            refused = await self._deliver(destination.name, transaction)
        except RemoteFailure as failure:
            if failure.status != 200:
                self.figures.failures += 1
                await self._failed(destination, transaction, failure)
                return False
            # It answered that it has it, in a way that can't be read.
            _log.warning("an answer was not understood", extra={"why": str(failure)})
            refused = {}
        await self._taken(destination, transaction)
        self.figures.count(transaction)
        if len(refused) < len(transaction.pdus):
            self._last_pdus.went(destination.name)
        self._note(destination, refused)
        destination.slow = asyncio.get_running_loop().time() - began > PATIENCE_S
        return True

    async def _taken(self, destination: Destination, transaction: Transaction) -> None:
        place = transaction.place
        if place is not None:
            await self._writer.run(
                lambda written: outgoing_to_device.acknowledge(written, destination.name, place)
            )
        destination.settle(transaction)
        self._unsent.pop(destination.name, None)

    def _note(self, destination: Destination, refused: Mapping[str, str]) -> None:
        """Events that a destination does not take are not sent again."""
        if not refused:
            return
        self.figures.refused_pdus += len(refused)
        some = dict(list(refused.items())[:_LOGGED])
        _log.info(
            "events were not taken",
            extra={"destination": destination.name, "count": len(refused), "reasons": some},
        )

    async def _failed(
        self, destination: Destination, transaction: Transaction, failure: RemoteFailure
    ) -> None:
        destination.failures += 1
        if failure.status in _REFUSED and destination.failures > 1:
            await self._divide(destination, transaction, failure)
            return
        self._keep(destination, transaction)
        destination.fall_behind()
        wait_ms = self._back_off.wait_ms(destination.name)
        if wait_ms:
            destination.slow = True
            self._postpone(destination, wait_ms / 1000)
        else:
            self.pause(destination, (failure.retry_after_ms or 0) / 1000)
        _log.info(
            "a transaction was not taken: it is sent again later",
            extra={"destination": destination.name, "why": failure.reason},
        )

    def _keep(self, destination: Destination, transaction: Transaction) -> None:
        """Send the same again, if it does not speak of a moment that is over, and not too many have to be kept."""
        if not transaction.is_lasting:
            destination.pending.popleft()
        self._unsent[destination.name] = destination
        if len(self._unsent) > _KEPT:
            _, oldest = self._unsent.popitem(last=False)
            if not oldest.sending:
                oldest.pending.clear()

    async def _divide(
        self, destination: Destination, transaction: Transaction, failure: RemoteFailure
    ) -> None:
        """A transaction that is refused as such: find what is wrong with it, and leave that out."""
        destination.failures = 1
        size = len(transaction.pdus) + len(transaction.edus)
        if size <= 1:
            _log.warning(
                "a destination refuses what it is sent: it is left out",
                extra={"destination": destination.name, "why": failure.reason},
            )
            await self._taken(destination, transaction)
            return
        pdus = min(size // 2, len(transaction.pdus))
        edus = size // 2 - pdus
        first = replace(
            transaction,
            txn_id=f"{transaction.txn_id}.0",
            pdus=transaction.pdus[:pdus],
            edus=transaction.edus[:edus],
            lag=destination.lag(),
            place=None,
        )
        second = replace(
            transaction,
            txn_id=f"{transaction.txn_id}.1",
            pdus=transaction.pdus[pdus:],
            edus=transaction.edus[edus:],
        )
        destination.pending[0] = second
        destination.pending.appendleft(first)

    def pause(self, destination: Destination, least_s: float = 0.0) -> None:
        """Leave a destination alone that is there and does not take what it is sent: longer each time."""
        pause = min(_FIRST_PAUSE_S * 2 ** min(destination.failures - 1, 10), _LONGEST_PAUSE_S)
        self._postpone(destination, max(least_s, pause * (0.8 + 0.4 * self._chance())))

    def _postpone(self, destination: Destination, seconds: float) -> None:
        destination.not_before = asyncio.get_running_loop().time() + seconds
