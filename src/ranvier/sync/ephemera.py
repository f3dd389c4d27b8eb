"""What is not history: typing, receipts, presence, and account data."""

from collections.abc import Sequence
from typing import Any

import orjson

from ranvier.protocol.filters import EventFilter
from ranvier.rooms.heads import Room
from ranvier.rooms.receipts import Receipt, Receipts
from ranvier.rooms.typing import Typing
from ranvier.store import account_data as account_data_store
from ranvier.store.database import Database
from ranvier.sync.news import News, RoomNews
from ranvier.sync.presence import PresenceNews
from ranvier.sync.request import SyncRequest
from ranvier.sync.shaping import events_json


class Ephemera:
    """Gathers and shapes what passes away, and what users keep beside their rooms."""

    def __init__(
        self, database: Database, typing: Typing, receipts: Receipts, presence: PresenceNews
    ) -> None:
        self._database = database
        self._receipts = receipts
        self.typing = typing
        self.presence = presence

    async def of_room(
        self,
        request: SyncRequest,
        room: Room,
        news: RoomNews | None,
        *,
        standing: Sequence[Receipt] | None,
        typing: bool,
        private: bool,
    ) -> bytes | None:
        """The room's ephemeral events: the `standing` receipts where there are any given, otherwise the new ones.

        `typing` and `private` tell whether typing, and the reader's own private receipts, changed.
        """
        wanted = request.filter.room.ephemeral
        if not wanted.wants_room(room.room_id):
            return None
        events = []
        if typing and wanted.wants("m.typing", None, {}):
            content = {"user_ids": self.typing.users(room.nid)}
            events.append(orjson.dumps({"type": "m.typing", "content": content}))
        if wanted.wants("m.receipt", None, {}):
            receipts = standing
            if receipts is None:
                receipts = await self._new_receipts(request.user_id, room.nid, news, private)
            content = _receipts_content(receipts)
            if content:
                events.append(orjson.dumps({"type": "m.receipt", "content": content}))
        return events_json(events) if events else None

    async def standing(self, request: SyncRequest, rooms: Sequence[Room]) -> dict[int, list[Receipt]]:
        """The receipts of rooms that the reader has nothing of yet, by the room's number."""
        wanted = request.filter.room.ephemeral
        if not rooms or not wanted.wants("m.receipt", None, {}):
            return {}
        return await self._receipts.of_rooms([room.nid for room in rooms], request.user_id)

    async def _new_receipts(
        self, user_id: str, room: int, news: RoomNews | None, private: bool
    ) -> list[Receipt]:
        receipts = []
        if news is not None and news.receipts:
            receipts = await self._receipts.of_entries(room, news.receipts)
        if private:
            receipts += await self._receipts.private(room, user_id)
        return receipts

    async def account_data(
        self, request: SyncRequest, room_ids: Sequence[str], news: News | None
    ) -> dict[str, bytes]:
        """The account data of rooms, by room id: all of it where `news` is None, otherwise what changed."""
        if news is None:
            rows = await account_data_store.of_rooms(self._database, request.user_id, room_ids)
        else:
            changed = [(room, kind) for room, kind in news.account_data if room is not None]
            rows = (
                await account_data_store.changed(self._database, request.user_id, changed) if changed else []
            )
        wanted = request.filter.room.account_data
        found: dict[str, list[bytes]] = {}
        for row in rows:
            if (
                row.room_id is not None
                and wanted.wants_room(row.room_id)
                and wanted.wants(row.type, None, {})
            ):
                found.setdefault(row.room_id, []).append(_data_event(row.type, row.content))
        if news is None:
            # COMPAT(complement): what is given whole has the section, also if nothing is in it.
            for room_id in room_ids:
                if wanted.wants_room(room_id):
                    found.setdefault(room_id, [])
        return {room_id: events_json(events) for room_id, events in found.items()}

    async def global_account_data(self, request: SyncRequest, news: News | None) -> bytes | None:
        """The user's own account data, push rules included: all of it where `news` is None."""
        if news is not None and not (news.account_data or news.push_rules):
            return None
        rows: Sequence[account_data_store.AccountData]
        if news is None:
            rows = await account_data_store.of_user(self._database, request.user_id)
        else:
            changed: list[tuple[str | None, str]] = [
                (None, kind) for room, kind in news.account_data if room is None
            ]
            rows = (
                await account_data_store.changed(self._database, request.user_id, changed) if changed else []
            )
        wanted: EventFilter = request.filter.account_data
        events = [_data_event(row.type, row.content) for row in rows if wanted.wants(row.type, None, {})]
        if (news is None or news.push_rules) and wanted.wants("m.push_rules", None, {}):
            rules = await self._receipts.preferences.push_rules_json(request.user_id)
            events.append(_data_event("m.push_rules", rules))
        return events_json(events) if events else None


def _data_event(kind: str, content: str | bytes) -> bytes:
    return b'{"type":%b,"content":%b}' % (
        orjson.dumps(kind),
        content if isinstance(content, bytes) else content.encode(),
    )


def _receipts_content(receipts: Sequence[Receipt]) -> dict[str, Any]:
    """`m.receipt`'s content."""
    content: dict[str, Any] = {}
    for receipt in receipts:
        data: dict[str, Any] = {"ts": receipt.ts}
        if receipt.thread is not None:
            data["thread_id"] = receipt.thread
        by_type = content.setdefault(receipt.event_id, {}).setdefault(receipt.type, {})
        by_type[receipt.user_id] = data
    return content
