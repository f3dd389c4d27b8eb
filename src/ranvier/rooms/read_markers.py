"""Read markers: receipts, and the private note how far one has read for good.

Source: Client-Server API, "Read and unread markers".
"""

from collections.abc import Mapping

import orjson

from ranvier.protocol.refusal import not_found
from ranvier.rooms.events import Events
from ranvier.rooms.receipts import Receipts
from ranvier.rooms.sending import Sending
from ranvier.store import account_data
from ranvier.store.database import Entry, Transaction
from ranvier.store.log import Kind
from ranvier.store.writer import Writer

FULLY_READ = "m.fully_read"


class ReadMarkers:
    """Takes receipts and read markers of members in."""

    def __init__(self, writer: Writer, events: Events, sending: Sending, receipts: Receipts) -> None:
        self._writer = writer
        self._events = events
        self._sending = sending
        self._receipts = receipts

    async def mark(self, user_id: str, room_id: str, marks: Mapping[str, str], thread: str | None) -> None:
        """Set marks (receipt type or `m.fully_read` to event id): all of them, or none if one can't be.

        Refuses one who is not in the room, and events that are not.
        """
        room, _ = await self._sending.joined_room(user_id, room_id)
        for event_id in marks.values():
            kept = await self._events.by_id(event_id) if "\0" not in event_id else None
            if kept is None or kept.room != room.nid:
                raise not_found(f"There is no event {event_id[:255]} in this room.")
        for kind, event_id in marks.items():
            if kind != FULLY_READ:
                await self._receipts.receive(room, user_id, kind, event_id, thread)
                continue
            content = orjson.dumps({"event_id": event_id}).decode()

            async def write(transaction: Transaction, content: str = content) -> None:
                await account_data.write(transaction, user_id, room_id, FULLY_READ, content)
                ref = orjson.dumps([room_id, FULLY_READ]).decode()
                transaction.announce(Entry(Kind.ACCOUNT_DATA, user_id, ref))

            await self._writer.run(write)
