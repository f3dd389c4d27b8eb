"""The events that a user was, or would have been, notified of: found in the log when somebody asks.

Source: Client-Server API, `GET /notifications`.
"""

import asyncio
from dataclasses import dataclass
from typing import Any, Final

from ranvier.protocol.push_evaluation import Verdict
from ranvier.rooms.events import Events
from ranvier.rooms.joined import UserRooms
from ranvier.rooms.unread import Unread
from ranvier.rooms.verdicts import Verdicts
from ranvier.rooms.visibility import Seen, Visibility
from ranvier.store import log
from ranvier.store.database import Database
from ranvier.store.events import StoredEvent

MAX_NOTIFICATIONS: Final = 100
_AT_ONCE: Final = 50
_LOOKED_THROUGH: Final = 2000
"""Events that one answer looks through; then it ends, with a token to go on."""


@dataclass(frozen=True, slots=True)
class Notification:
    """An event, what the rules make of it, and whether it was read."""

    room_id: str
    seen: Seen
    verdict: Verdict
    read: bool

    def facts(self) -> dict[str, Any]:
        """What the answer says beside the event."""
        return {
            "actions": list(self.verdict.actions),
            "read": self.read,
            "room_id": self.room_id,
            "ts": self.seen.kept.received_ts,
        }


class Notifications:
    """Looks through the newest events of a user's rooms."""

    def __init__(
        self,
        database: Database,
        events: Events,
        user_rooms: UserRooms,
        verdicts: Verdicts,
        visibility: Visibility,
        unread: Unread,
    ) -> None:
        self._database = database
        self._events = events
        self._user_rooms = user_rooms
        self._verdicts = verdicts
        self._visibility = visibility
        self._unread = unread

    async def page(
        self, user_id: str, limit: int, before: int | None, *, only_highlights: bool
    ) -> tuple[list[Notification], int | None]:
        """The newest first, before a position of the log; and the position to go on before, if there may be more."""
        rooms = await self._user_rooms.of(user_id)
        found: list[Notification] = []
        looked = 0
        while looked < _LOOKED_THROUGH:
            rows = await log.read_events_before(
                self._database, sorted(rooms.joined_audiences), before, _AT_ONCE
            )
            kept = await self._events.by_nids([nid for _, nid in rows])
            # Others want a turn too.
            await asyncio.sleep(0)
            for position, nid in rows:
                if len(found) == limit:
                    return found, before
                before = position
                if nid in kept:
                    one = await self._look(user_id, kept[nid])
                    if one is not None and (one.verdict.highlight or not only_highlights):
                        found.append(one)
            if len(rows) < _AT_ONCE:
                return found, None
            looked += len(rows)
        return found, before

    async def _look(self, user_id: str, kept: StoredEvent) -> Notification | None:
        event = kept.event
        judged = await self._verdicts.of(user_id, event) if kept.redacted_by is None else None
        if judged is None or not judged[1].notify:
            return None
        room, verdict = judged
        seen = await self._visibility.filter(room, user_id, [kept])
        if not seen:
            return None
        thread = await self._events.thread_of(event.content)
        read = await self._unread.has_read(room, user_id, thread, kept.timeline_version)
        return Notification(event.room_id, seen[0], verdict, read)
