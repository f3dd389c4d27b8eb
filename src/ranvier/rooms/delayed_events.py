"""Events that are sent later, unless their sender says otherwise: "I hung up", should I be heard of no more.

They wait in the store, and are sent once, also if the server stops in between. Of several processes one sends them.
Source: MSC4140.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson

from ranvier.protocol.refusal import Refusal, invalid_param, not_found
from ranvier.rooms.heads import MEMBER
from ranvier.rooms.membership import Memberships
from ranvier.rooms.sending import SERVER_MADE, Sending
from ranvier.store import accounts as accounts_store
from ranvier.store import delayed_events as store
from ranvier.store import rooms as rooms_store
from ranvier.store.database import Database, Transaction
from ranvier.store.delayed_events import DelayedEvent
from ranvier.store.events import DELAYED
from ranvier.store.rooms import TransactionKey
from ranvier.store.shares import Shares
from ranvier.store.writer import Writer

MOST_WAITING: Final = 100
"""Events of one user that may wait at once."""
LARGEST: Final = 65_536
"""Bytes of an event's content."""
_FINALISED: Final = 100
_AT_ONCE: Final = 50
_LONGEST_NAP_SECONDS: Final = 3_600.0
_SHARED_NAP_SECONDS: Final = 2.0
_AGAIN_SECONDS: Final = 5.0

Action = Literal["send", "cancel", "restart"]

_log = logging.getLogger("ranvier.rooms")


@dataclass(frozen=True, slots=True)
class DelayRules:
    """The longest delay in milliseconds; None where no event may be delayed. `count` counts a user's event."""

    longest: int | None
    count: Callable[[str], None]


class DelayedEvents:
    """Keeps events until their time has come, and sends them then."""

    def __init__(
        self,
        rules: DelayRules,
        database: Database,
        writer: Writer,
        sending: Sending,
        memberships: Memberships,
        shares: Shares,
        now: Callable[[], int],
    ) -> None:
        self._rules = rules
        self._database = database
        self._writer = writer
        self._sending = sending
        self._memberships = memberships
        self._shares = shares
        self._now = now
        self._changed = asyncio.Event()
        self._under_way: dict[str, asyncio.Future[str]] = {}
        self._task: asyncio.Task[None] | None = None

    # What users do.

    async def known(self, transaction: TransactionKey | None) -> str | None:
        """The delay id that a transaction id was answered with before."""
        if transaction is None:
            return None
        return await rooms_store.transaction_result(self._database, transaction)

    async def schedule(
        self,
        sender: str,
        room_id: str,
        kind: str,
        state_key: str | None,
        content: dict[str, Any],
        delay: int,
        *,
        transaction: TransactionKey | None = None,
    ) -> str:
        """Keep an event for `delay` milliseconds; answers its delay id, by which anybody may send or cancel it.

        Whether the sender may send it is judged when it is sent.
        """
        text = self._check(kind, content, delay)
        await self._sending.joined_room(sender, room_id)
        waiting = await store.waiting(self._database, sender)
        now = self._now()
        if len(waiting) >= MOST_WAITING:
            raise Refusal(
                "M_LIMIT_EXCEEDED",
                f"You have {len(waiting)} events waiting, which is as many as there may be.",
                retry_after_ms=max(waiting[0].due - now, 1),
            )
        delay_id = secrets.token_urlsafe(24)
        delayed = DelayedEvent(delay_id, sender, room_id, kind, state_key, text, delay, now)

        async def write(writing: Transaction) -> str:
            if transaction is not None:
                known = await rooms_store.transaction_result(writing, transaction)
                if known is not None:
                    return known
                await rooms_store.insert_transactions(writing, [(transaction, delay_id, now)])
            await store.insert(writing, delayed)
            return delay_id

        answered = await self._writer.run(write)
        self._shares.call("")
        return answered

    def _check(self, kind: str, content: dict[str, Any], delay: int) -> str:
        longest = self._rules.longest
        if longest is None:
            raise Refusal("M_UNRECOGNIZED", "This server sends no events later.", status=400)
        if delay < 1:
            raise invalid_param("The delay must be a whole number of at least 1, in milliseconds.")
        if delay > longest:
            raise _too_late(longest)
        if kind in SERVER_MADE:
            raise invalid_param(f"'{kind}' events are made by the server only.")
        text = orjson.dumps(content)
        if len(text) > LARGEST:
            raise Refusal("M_TOO_LARGE", f"An event's content has at most {LARGEST} bytes.")
        return text.decode()

    async def list(self, user_id: str, *, finalised: bool) -> list[DelayedEvent]:
        """The user's events that wait, or the newest of those that don't."""
        if finalised:
            return await store.finalised(self._database, user_id, _FINALISED)
        return await store.waiting(self._database, user_id)

    async def get(self, user_id: str, delay_id: str) -> DelayedEvent:
        """One of the user's events."""
        delayed = await self._find(delay_id)
        if delayed.user_id != user_id:
            raise _absent()
        return delayed

    async def act(self, delay_id: str, action: Action) -> None:
        """Do this with an event that waits; what was done before is done."""
        delayed = await self._find(delay_id)
        if delayed.outcome is None and action == "send":
            await self._send(delayed)
            return
        waits = delayed.outcome is None and delay_id not in self._under_way
        if waits and await self._writer.run(lambda transaction: self._settle(transaction, delay_id, action)):
            self._shares.call("")
            return
        running = self._under_way.get(delay_id)
        if running is not None:
            await asyncio.wait([running])
        _check_outcome(await self._find(delay_id), action)

    async def _settle(self, transaction: Transaction, delay_id: str, action: Action) -> bool:
        now = self._now()
        if action == "restart":
            return await store.restart(transaction, delay_id, now)
        return await store.finalise(transaction, delay_id, "cancel", now)

    async def _find(self, delay_id: str) -> DelayedEvent:
        found = None if "\0" in delay_id else await store.find(self._database, delay_id)
        if found is None:
            raise _absent()
        return found

    # What time does.

    async def start(self) -> None:
        """Send what is due from now on, if no other process does."""
        await self._shares.begin(self)

    async def stop(self) -> None:
        """Send no more; what waits is sent by another process, or in the next run."""
        await self._shares.stop()

    async def gain(self, portions: Collection[int]) -> None:
        """It is this process that sends what is due."""
        self._task = asyncio.create_task(self._run(), name="delayed events")

    async def leave(self, portions: Collection[int]) -> None:
        """It is another process that sends what is due."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def lose(self, portions: Collection[int]) -> None:
        """Another process may send what is due already."""
        await self.leave(portions)

    def call(self, key: str) -> None:
        """What is due next may be another one."""
        self._changed.set()

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            try:
                await self._send_due()
                pause = await self._pause()
            except Exception:
                _log.exception("events that are due could not be sent")
                pause = _AGAIN_SECONDS
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._changed.wait()

    async def _pause(self) -> float:
        """Seconds until there is something to do."""
        # What other processes accept is told, but may be told in vain.
        longest = _LONGEST_NAP_SECONDS if self._shares.is_solitary else _SHARED_NAP_SECONDS
        next_due = await store.next_due(self._database)
        if next_due is None:
            return longest
        return min(max(next_due - self._now(), 0) / 1000, longest)

    async def _send_due(self) -> None:
        while due := await store.due(self._database, self._now(), _AT_ONCE):
            for delayed in due:
                if not self._shares.holds(""):
                    return
                try:
                    await self._send(delayed)
                except Refusal as refusal:
                    error = orjson.dumps(refusal.to_json()).decode()
                    await self._finalise(delayed, "error", error=error)

    async def _send(self, delayed: DelayedEvent) -> None:
        running = self._under_way.get(delayed.delay_id)
        if running is not None:
            await asyncio.wait([running])
            return
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._under_way[delayed.delay_id] = future
        try:
            event_id = await self._send_once(delayed)
            await self._finalise(delayed, "send", event_id=event_id)
        finally:
            del self._under_way[delayed.delay_id]
            future.cancel()

    async def _finalise(
        self,
        delayed: DelayedEvent,
        outcome: store.Outcome,
        *,
        event_id: str | None = None,
        error: str | None = None,
    ) -> None:
        now = self._now()
        await self._writer.run(
            lambda transaction: store.finalise(
                transaction, delayed.delay_id, outcome, now, event_id=event_id, error=error
            )
        )

    async def _send_once(self, delayed: DelayedEvent) -> str:
        """Send it; its delay id is the transaction's, so that a second try after a crash finds the first's event."""
        sender, content = delayed.user_id, orjson.loads(delayed.content)
        account = await accounts_store.find(self._database, sender)
        if account is None or account.locked or account.suspended:
            raise Refusal("M_FORBIDDEN", f"{sender} may not send events now.")
        self._rules.count(sender)
        key = TransactionKey(sender, DELAYED, "delayed", delayed.delay_id)
        if delayed.state_key is None:
            return await self._sending.send(sender, delayed.room_id, delayed.type, content, transaction=key)
        if delayed.type == MEMBER:
            return await self._memberships.set(sender, delayed.room_id, delayed.state_key, content)
        return await self._sending.set_state(
            sender, delayed.room_id, delayed.type, delayed.state_key, content, transaction=key
        )


def _too_late(longest: int) -> Refusal:
    refusal = Refusal(
        "M_MAX_DELAY_EXCEEDED",
        f"The delay is longer than the longest of this server, {longest} ms.",
        max_delay=longest,
    )
    # COMPAT(clients of the proposal's older text): code and bound also stand under its prefix.
    refusal.extra["org.matrix.msc4140.errcode"] = refusal.errcode
    refusal.extra["org.matrix.msc4140.max_delay"] = longest
    return refusal


def _absent() -> Refusal:
    return not_found("There is no delayed event of that ID.")


def _check_outcome(delayed: DelayedEvent, action: Action) -> None:
    """Refuse what can't be any more."""
    done = "send" if delayed.outcome == "send" else "cancel"
    if delayed.outcome is None or done == action:
        return
    said = "was sent" if done == "send" else "was cancelled"
    raise Refusal("M_UNKNOWN", f"The event {said} already.", status=409)
