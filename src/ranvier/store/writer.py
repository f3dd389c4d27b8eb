"""Group commit: what gathers while one batch commits forms the next.

An operation is submitted with its work. A work knows how to write many of its operations in few statements. When a
batch forms, each work first *forms* its operations on the loop (events are built and signed here, on the heads as the
last batch left them), then writes them in the transaction, and after the commit *settles* them (heads move), before
anybody hears the answer. A function of the transaction that fails is undone alone, to a savepoint. Any other exception
undoes the whole batch; its operations are then tried one by one, so that only the guilty fails. Only a commit of which
nobody knows whether it happened is not repeated: its operations fail, and the log is read for what they may have said.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ranvier.store.database import CommitLost, CommitUnknown, Database, Transaction, Unavailable
from ranvier.store.log import Tail
from ranvier.store.tailing import Fill, Tailing

Operation = TypeVar("Operation")
Result = TypeVar("Result")
_BATCH = 128
_WAITING = 50_000
_LOSSES = 3
"""How often an operation is tried anew because the connection broke."""
_log = logging.getLogger("ranvier.store")


class Busy(Exception):
    """More operations wait than the writer takes; the requester should come back later."""


class Work(Generic[Operation, Result]):
    """How operations of one kind are formed, written and settled; `rank` orders the works of a batch."""

    rank = 0
    takes_turns = False
    """Whether what it reads in the transaction must not be changed by another process before the commit."""

    def form(self, operations: Sequence[Operation]) -> Sequence[Result | Exception | None]:
        """Prepare the operations on the loop; an answer other than `None` ends an operation before the commit."""
        return [None] * len(operations)

    async def write(
        self, transaction: Transaction, operations: Sequence[Operation], *, alone: bool
    ) -> Sequence[Result | Exception]:
        """Write the operations that were formed; one answer each.

        With `alone`, nothing else is in the transaction, which may as well be undone as a whole.
        """
        raise LookupError(f"{type(self).__name__} does not say how it writes")

    def settle(self, operations: Sequence[Operation], results: Sequence[Result | Exception]) -> None:
        """After the commit, on the loop, before the answers go out."""

    def fall(self, operations: Sequence[Operation], error: Exception) -> None:
        """The batch was rolled back for this reason: forget what `form` built upon."""


class Single(Work[Callable[[Transaction], Awaitable[Any]], Any]):
    """Operations that are each a function of the transaction."""

    rank = 1
    takes_turns = True

    async def write(
        self,
        transaction: Transaction,
        operations: Sequence[Callable[[Transaction], Awaitable[Any]]],
        *,
        alone: bool,
    ) -> Sequence[Any]:
        """Run each in turn; one that raises is undone and answered with what it raised."""
        if alone:
            return [await operation(transaction) for operation in operations]
        results: list[Any] = []
        for operation in operations:
            try:
                async with transaction.part():
                    results.append(await operation(transaction))
            except Exception as error:
                results.append(error)
        return results


@dataclass(slots=True)
class _Waiting:
    work: Work[Any, Any]
    operation: Any
    future: "asyncio.Future[Any]"
    alone: bool = False
    losses: int = 0


class Writer:
    """The one writer of this process."""

    def __init__(self, database: Database, tailing: Tailing) -> None:
        self._database = database
        self._tailing = tailing
        self._queue: deque[_Waiting] = deque()
        self._news = asyncio.Event()
        self._single = Single()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self.batches = 0
        self.operations = 0

    @property
    def tail(self) -> Tail:
        """The newest entries of the log, this process's and others'."""
        return self._tailing.tail

    async def confirm(self) -> None:
        """Memory knows all that was committed by any process before this call."""
        await self._tailing.confirm()

    def fill_by(self, fill: Fill) -> None:
        """What gives entries of other processes their payload."""
        self._tailing.fill = fill

    async def reach(self, position: int) -> None:
        """Memory knows all that was committed up to a position of the log."""
        await self._tailing.reach(position)

    def start(self) -> None:
        """Begin to commit."""
        self._task = asyncio.create_task(self._run(), name="writer")

    async def stop(self) -> None:
        """Commit what waits, then stop."""
        self._stopping = True
        self._news.set()
        if self._task is not None:
            await self._task

    async def submit(self, work: Work[Operation, Result], operation: Operation) -> Result:
        """Commit one operation with its neighbours; answers once it is durable.

        A caller that goes away does not take the operation with it.
        """
        if len(self._queue) >= _WAITING:
            raise Busy
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(work, operation, future))
        self._news.set()
        return await future

    async def run(self, write: Callable[[Transaction], Awaitable[Result]]) -> Result:
        """Commit one function of the transaction.

        It may run more than once, each time in a fresh transaction: it must have no effect but its writes.
        """
        return await self.submit(self._single, write)

    async def _run(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            while self._queue:
                batch = self._take()
                try:
                    await self._commit(batch)
                except Exception as error:
                    # A bug in what one work makes of its operations must not keep all others from being written.
                    _log.exception("a batch could not be brought to its end")
                    for waiting in batch:
                        _answer(waiting, error)
            if self._stopping:
                return

    def _take(self) -> list[_Waiting]:
        if self._queue[0].alone:
            return [self._queue.popleft()]
        batch: list[_Waiting] = []
        while self._queue and len(batch) < _BATCH and not self._queue[0].alone:
            batch.append(self._queue.popleft())
        return batch

    async def _commit(self, batch: list[_Waiting]) -> None:
        groups = _form(batch)
        if not groups:
            return
        number = sum(len(members) for _, members in groups)

        takes_turns = any(work.takes_turns for work, _ in groups)

        async def write(transaction: Transaction) -> list[Sequence[Any]]:
            # Asked now, as it may have waited for a connection.
            if takes_turns and not self._tailing.neighbours.alone():
                await transaction.take_turn()
            return [
                await work.write(transaction, [waiting.operation for waiting in members], alone=number == 1)
                for work, members in groups
            ]

        async with self._tailing.commits:
            try:
                results, entries = await self._database.commit(write)
            except Exception as error:
                self._retry(groups, error)
                return
            self.batches += 1
            self.operations += number

            def settle() -> None:
                for (work, members), outcomes in zip(groups, results, strict=True):
                    _settle(work, [waiting.operation for waiting in members], outcomes)

            def answer() -> None:
                for (_, members), outcomes in zip(groups, results, strict=True):
                    for waiting, outcome in zip(members, outcomes, strict=True):
                        _answer(waiting, outcome)

            await self._tailing.committed(entries, settle, answer)

    def _retry(self, groups: list[tuple[Work[Any, Any], list[_Waiting]]], error: Exception) -> None:
        members = [waiting for _, group in groups for waiting in group]
        for work, group in groups:
            work.fall([waiting.operation for waiting in group], error)
        if isinstance(error, CommitLost):
            members = self._without_the_luckless(members, error)
        elif isinstance(error, Unavailable) and not isinstance(error, CommitUnknown):
            # Those behind have waited for the database, too.
            self._refuse([*members, *self._queue], error)
            self._queue.clear()
            return
        elif isinstance(error, CommitUnknown) or len(members) == 1:
            self._refuse(members, error)
            return
        else:
            for waiting in members:
                waiting.alone = True
        self._queue.extendleft(reversed(members))

    def _without_the_luckless(self, members: list[_Waiting], error: Exception) -> list[_Waiting]:
        """Those who are tried again after a connection broke."""
        for waiting in members:
            waiting.losses += 1
        self._refuse([waiting for waiting in members if waiting.losses > _LOSSES], error)
        return [waiting for waiting in members if waiting.losses <= _LOSSES]

    def _refuse(self, members: Sequence[_Waiting], error: Exception) -> None:
        for waiting in members:
            _answer(waiting, error)


def _form(batch: list[_Waiting]) -> list[tuple[Work[Any, Any], list[_Waiting]]]:
    """The batch by work, in the order of rank, without the operations that forming already answered."""
    by_work: dict[Work[Any, Any], list[_Waiting]] = {}
    for waiting in batch:
        by_work.setdefault(waiting.work, []).append(waiting)
    groups = []
    for work in sorted(by_work, key=lambda w: w.rank):
        members = by_work[work]
        formed = work.form([waiting.operation for waiting in members])
        kept = []
        for waiting, outcome in zip(members, formed, strict=True):
            if outcome is None:
                kept.append(waiting)
            else:
                _answer(waiting, outcome)
        if kept:
            groups.append((work, kept))
    return groups


def _settle(work: Work[Any, Any], operations: Sequence[Any], outcomes: Sequence[Any]) -> None:
    try:
        work.settle(operations, outcomes)
    except Exception as error:
        # It is written all the same, and answered so; what memory holds of it can't be trusted.
        _log.exception("a committed batch could not be settled", extra={"work": type(work).__name__})
        work.fall(operations, error)


def _answer(waiting: _Waiting, outcome: Any) -> None:
    # The one who waited may be gone: a cancelled future takes no result.
    if waiting.future.done():
        return
    if isinstance(outcome, Exception):
        waiting.future.set_exception(outcome)
    else:
        waiting.future.set_result(outcome)
