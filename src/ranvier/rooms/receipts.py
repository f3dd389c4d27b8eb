"""Read receipts: public, private and threaded; and what they do to unread counts.

Source: Client-Server API, "Receipts", "Threaded read receipts", "Private read receipts".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import orjson

from ranvier.protocol import relations
from ranvier.protocol.refusal import invalid_param, not_found
from ranvier.rooms.events import Events
from ranvier.rooms.heads import Room
from ranvier.rooms.preferences import Preferences
from ranvier.rooms.unread import ALL_THREADS, Unread
from ranvier.store import receipts as store
from ranvier.store import unread as unread_store
from ranvier.store.database import Database, Entry, Transaction
from ranvier.store.events import StoredEvent
from ranvier.store.log import Kind, room_audience
from ranvier.store.receipts import ReceiptRow
from ranvier.store.unread import ReadRow
from ranvier.store.writer import Writer

READ = "m.read"
PRIVATE = "m.read.private"
SHOWN = 2_000
"""Receipts of one room that a first sync gives at most, the newest."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """Up to where a user has read; `thread` is "main", a thread's root, or None for all. `ts` in ms."""

    user_id: str
    type: str
    thread: str | None
    event_id: str
    ts: int


class Receipts:
    """Takes receipts in, and gives them out."""

    def __init__(
        self,
        database: Database,
        writer: Writer,
        events: Events,
        unread: Unread,
        preferences: Preferences,
        now: Callable[[], int],
    ) -> None:
        self._database = database
        self._writer = writer
        self._events = events
        self._unread = unread
        self._now = now
        self.preferences = preferences

    async def receive(self, room: Room, user_id: str, kind: str, event_id: str, thread: str | None) -> None:
        """A member of the room has read up to an event; a receipt that goes back changes nothing."""
        kept = await self._events.by_id(event_id)
        if kept is None or kept.room != room.nid:
            raise not_found(f"There is no event {event_id} in this room.")
        where = thread if thread is not None else ALL_THREADS
        if thread is not None and not await self._is_in(kept, thread):
            raise invalid_param("'thread_id' must be 'main' or the root of the thread that the event is in.")
        version = kept.timeline_version
        counter = await self._unread.counter_at(room, where, version)
        row = ReceiptRow(room.nid, user_id, kind, where, event_id, version, self._now())
        read = ReadRow(room.nid, user_id, where, version, counter)
        receipt = Receipt(user_id, kind, thread, event_id, row.ts)
        audience = user_id if kind == PRIVATE else room_audience(room.nid)

        async def write(transaction: Transaction) -> None:
            if not await store.write(transaction, row):
                return
            await unread_store.write_reads(transaction, [read])
            await unread_store.drop_marks(transaction, room.nid, user_id, thread, version)
            ref = orjson.dumps([user_id, kind, where]).decode()
            if kind == PRIVATE:
                transaction.announce(Entry(Kind.PRIVATE_RECEIPT, audience, room.room_id, receipt))
            else:
                transaction.announce(Entry(Kind.RECEIPT, audience, ref, receipt))
            transaction.announce(Entry(Kind.UNREAD, user_id, room.room_id, read))

        await self._writer.run(write)

    async def receive_from_peer(
        self, room: Room, user_id: str, event_id: str, thread: str | None, ts: int
    ) -> bool:
        """A member on another server has read up to an event, at `ts` (ms): shown here, counted there.

        False if the event is not here: then it stands where nothing is known of the user yet.
        """
        kept = await self._events.by_id(event_id)
        if kept is not None and kept.room != room.nid:
            return False
        version = kept.timeline_version if kept is not None else 0
        where = thread if thread is not None else ALL_THREADS
        row = ReceiptRow(room.nid, user_id, READ, where, event_id, version, ts)
        receipt = Receipt(user_id, READ, thread, event_id, ts)

        async def write(transaction: Transaction) -> None:
            if await store.write(transaction, row):
                ref = orjson.dumps([user_id, READ, where]).decode()
                transaction.announce(Entry(Kind.RECEIPT, room_audience(room.nid), ref, receipt))

        await self._writer.run(write)
        return version > 0

    async def _is_in(self, kept: StoredEvent, thread: str) -> bool:
        """Whether the event is in the thread, or is the thread's root or relates to it."""
        if kept.redacted_by is not None and thread.startswith("$"):
            # A redaction took away what it related to.
            return True
        found = await self._events.relations(kept.event.content)
        roots = [one.event_id for one in found if one.rel_type == relations.THREAD]
        if roots or thread == relations.MAIN_TIMELINE:
            return thread == (roots[0] if roots else relations.MAIN_TIMELINE)
        return thread in (kept.event.event_id, *(one.event_id for one in found))

    async def of_rooms(self, rooms: Sequence[int], user_id: str) -> dict[int, list[Receipt]]:
        """The newest receipts of rooms that a user may see, by room."""
        found: dict[int, list[Receipt]] = {}
        for row in await store.of_rooms(self._database, rooms, user_id, PRIVATE, SHOWN):
            found.setdefault(row.room, []).append(_receipt(row))
        return found

    async def private(self, room: int, user_id: str) -> list[Receipt]:
        """A user's own private receipts in a room."""
        return [_receipt(r) for r in await store.of_user(self._database, room, user_id) if r.type == PRIVATE]

    async def of_entries(self, room: int, entries: Sequence[Entry]) -> list[Receipt]:
        """The receipts that entries of the log announce, as they stand."""
        found = {}
        for entry in entries:
            user_id, kind, where = orjson.loads(entry.ref)
            if entry.payload is not None:
                found[user_id, kind, where] = entry.payload
                continue
            for row in await store.of_user(self._database, room, user_id):
                if (row.type, row.thread) == (kind, where):
                    found[user_id, kind, where] = _receipt(row)
        return list(found.values())


def _receipt(row: ReceiptRow) -> Receipt:
    return Receipt(row.user_id, row.type, row.thread or None, row.event_id, row.ts)
