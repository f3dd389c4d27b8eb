"""What users on other servers do at this moment: typing, and reading.

Source: Server-Server API, "Typing Notifications", "Receipts".
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ranvier.federation.peer_rooms import PeerRooms
from ranvier.protocol.identifiers import BadIdentifier, server_name_of
from ranvier.protocol.refusal import Refusal, bad_json, forbidden
from ranvier.rooms.heads import MEMBER, Heads, Room, TimelineItem
from ranvier.rooms.receipts import READ, Receipts
from ranvier.rooms.typing import Typing
from ranvier.store.database import Entry
from ranvier.store.log import Kind

TYPING_MS: Final = 30_000
"""How long somebody types whose server says no more of it."""
MAX_RECEIPTS: Final = 1_000
"""Receipts that are taken from one unit."""
MAX_EARLY: Final = 1_000
"""Events for which receipts wait, and receipts that wait for one: they often come in one transaction with it."""
_NAME_BYTES: Final = 255

Content = Mapping[str, Any]

_log = logging.getLogger("ranvier.federation")


@dataclass(frozen=True, slots=True, eq=False)
class _Early:
    """A receipt of an event that is not here yet."""

    room: Room
    user_id: str
    thread: str | None
    ts: int


class RemoteEphemera:
    """Takes units of the types `m.typing` and `m.receipt`."""

    def __init__(
        self, peers: PeerRooms, heads: Heads, typing: Typing, receipts: Receipts, now: Callable[[], int]
    ) -> None:
        self._peers = peers
        self._heads = heads
        self._typing = typing
        self._receipts = receipts
        self._now = now
        self._early: OrderedDict[str, dict[tuple[str, str | None], _Early]] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()

    async def take_typing(self, origin: str, content: Content) -> None:
        """Somebody begins or ends to type."""
        room_id, user_id, starts = content.get("room_id"), content.get("user_id"), content.get("typing")
        if not isinstance(room_id, str) or not isinstance(user_id, str) or not isinstance(starts, bool):
            raise bad_json("An m.typing unit has a room_id, a user_id, and typing as true or false.")
        room = await self._room_of(origin, room_id, user_id)
        if starts:
            self._typing.begin(room.nid, user_id, TYPING_MS)
        else:
            self._typing.end(room.nid, user_id)

    async def take_receipts(self, origin: str, content: Content) -> None:
        """People have read up to somewhere; what can't be used of it is passed over."""
        for number, (room_id, user_id, receipt) in enumerate(_receipts(content)):
            if number == MAX_RECEIPTS:
                return
            try:
                room = await self._room_of(origin, room_id, user_id)
            except Refusal:
                continue
            event_id, thread, ts = receipt
            early = _Early(room, user_id, thread, ts if ts is not None else self._now())
            # It waits first and is tried then, so that the event can't come in between.
            waiting = self._early.setdefault(event_id, {})
            waiting[user_id, thread] = early
            if await self._receive(event_id, early):
                self._forget(event_id, early)
            elif len(self._early) > MAX_EARLY or len(waiting) > MAX_EARLY:
                self._early.popitem(last=False)

    async def _receive(self, event_id: str, early: _Early) -> bool:
        return await self._receipts.receive_from_peer(
            early.room, early.user_id, event_id, early.thread, early.ts
        )

    def _forget(self, event_id: str, early: _Early) -> None:
        waiting = self._early.get(event_id, {})
        if waiting.get((early.user_id, early.thread)) is early:
            del waiting[early.user_id, early.thread]
            if not waiting:
                self._early.pop(event_id, None)

    def heard(self, entries: Sequence[Entry]) -> None:
        """Follow the log: events come for which receipts wait."""
        for entry in entries if self._early else ():
            if entry.kind == Kind.EVENT and isinstance(entry.payload, TimelineItem):
                event_id = entry.payload.kept.event.event_id
                waiting = self._early.pop(event_id, None)
                if waiting:
                    task = asyncio.create_task(self._receive_all(event_id, list(waiting.values())))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Wait for what is under way."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _receive_all(self, event_id: str, receipts: Sequence[_Early]) -> None:
        try:
            for early in receipts:
                await self._receive(event_id, early)
        except Exception:
            _log.exception("receipts of an event that came later were lost", extra={"event_id": event_id})

    async def _room_of(self, origin: str, room_id: str, user_id: str) -> Room:
        """The room, if the user is of that server and in it. Raises `Refusal`."""
        try:
            is_theirs = server_name_of(user_id) == origin
        except BadIdentifier:
            is_theirs = False
        if not is_theirs:
            raise forbidden("A server can only speak for its own users.")
        room = await self._peers.known_room(origin, room_id)
        head = await self._heads.fault_in(room, [user_id])
        member = head.state.get((MEMBER, user_id))
        if member is None and head.partial:
            # Their membership is among what is still to come: their server must know.
            return room
        if member is None or member.event.content.get("membership") != "join":
            raise forbidden("The user is not in that room.")
        return room


_Receipt = tuple[str, str | None, int | None]


def _receipts(content: Content) -> Iterator[tuple[str, str, _Receipt]]:
    """(room id, user, (event id, thread, time in ms)) of each public receipt that is well formed."""
    for room_id, by_type in content.items():
        by_user = by_type.get(READ) if isinstance(by_type, dict) else None
        for user_id, told in by_user.items() if isinstance(by_user, dict) else ():
            receipt = _receipt(told)
            if receipt is not None:
                yield room_id, user_id, receipt


def _receipt(told: Any) -> _Receipt | None:
    event_ids = told.get("event_ids") if isinstance(told, dict) else None
    if not isinstance(event_ids, list) or not event_ids or not isinstance(event_ids[0], str):
        return None
    data = told.get("data")
    data = data if isinstance(data, dict) else {}
    thread, ts = data.get("thread_id"), data.get("ts")
    if len(event_ids[0].encode()) > _NAME_BYTES:
        return None
    is_time = isinstance(ts, int) and not isinstance(ts, bool) and 0 <= ts < 2**53
    return event_ids[0], thread if isinstance(thread, str) else None, ts if is_time else None
