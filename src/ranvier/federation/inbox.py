"""Transactions of other servers: checked, staged durably, answered; the rooms take the events in afterwards.

Source: Server-Server API, "Transactions".
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from ranvier.federation.checking import Checking
from ranvier.federation.consuming import Consuming
from ranvier.federation.last_pdus import LastPdus
from ranvier.federation.received_edus import ReceivedEdus
from ranvier.protocol.refusal import bad_json, invalid_param
from ranvier.store import inbox as store
from ranvier.store.database import Database, Transaction
from ranvier.store.inbox import Staged
from ranvier.store.writer import Writer

MAX_PDUS: Final = 50
MAX_EDUS: Final = 100
_NAME_BYTES: Final = 255

Answer = dict[str, Any]
Units = Sequence[Mapping[str, Any]]


class Inbox:
    """Takes transactions. A retry of one that was answered gets the same answer, and nothing is done again."""

    def __init__(
        self,
        database: Database,
        writer: Writer,
        checking: Checking,
        consuming: Consuming,
        edus: ReceivedEdus,
        last_pdus: LastPdus,
        now: Callable[[], int],
    ) -> None:
        self._database = database
        self._writer = writer
        self._checking = checking
        self._consuming = consuming
        self._edus = edus
        self._last_pdus = last_pdus
        self._now = now
        self._under_way: dict[tuple[str, str], asyncio.Task[Answer]] = {}

    async def take(self, origin: str, txn_id: str, pdus: Units, edus: Units) -> Answer:
        """The transaction's answer, once all that it brought is durable."""
        if len(txn_id.encode()) > _NAME_BYTES:
            raise invalid_param(f"The transaction id has more than {_NAME_BYTES} bytes.")
        if len(pdus) > MAX_PDUS or len(edus) > MAX_EDUS:
            raise bad_json(f"A transaction has at most {MAX_PDUS} PDUs and {MAX_EDUS} EDUs.")
        key = (origin, txn_id)
        task = self._under_way.get(key)
        if task is None:
            task = asyncio.create_task(self._take(origin, txn_id, pdus, edus))
            self._under_way[key] = task
            task.add_done_callback(lambda _: self._under_way.pop(key, None))
        # A peer that hangs up does not take with it what its retry will wait for.
        return await asyncio.shield(task)

    async def _take(self, origin: str, txn_id: str, pdus: Units, edus: Units) -> Answer:
        known = await store.answer_to(self._database, origin, txn_id)
        if known is not None:
            return known
        checked = await self._checking.check(origin, pdus)
        staged = [
            Staged(room.nid, event.event_id, self._consuming.next_place(), origin, event.pdu_json)
            for room, event in checked.events
        ]
        # Before the answer is kept, as it says that all has arrived. What of these comes twice has ids of its own.
        await self._edus.take(origin, edus)
        answer: Answer = {"pdus": checked.results}
        now = self._now()

        async def write(transaction: Transaction) -> None:
            if await store.note_answer(transaction, origin, txn_id, answer, now):
                await store.stage(transaction, staged, now)

        # The rooms take them in meanwhile, so that often one commit is enough for both.
        written = asyncio.ensure_future(self._writer.run(write))
        left = {
            one.room
            for one, (_, event) in zip(staged, checked.events, strict=True)
            if not self._consuming.hand(one, event)
        }
        await written
        if staged:
            self._last_pdus.came(origin)
        for room in left:
            self._consuming.wake(room)
        return answer
