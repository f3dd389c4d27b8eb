"""A room's history in pages, an event with what surrounds it, and single events.

Source: Client-Server API, "Getting events for a room", "Event context".
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from ranvier.protocol.filters import EVERYTHING, EventFilter
from ranvier.protocol.refusal import Refusal, not_found
from ranvier.rooms.access import Access, Accesses
from ranvier.rooms.events import Events
from ranvier.rooms.heads import Heads, Room
from ranvier.rooms.pagination import END, START, Place, place_after, place_before
from ranvier.rooms.visibility import Seen, Visibility
from ranvier.store import events as store
from ranvier.store import relations as relations_store
from ranvier.store import timeline as timeline_store
from ranvier.store.database import Database
from ranvier.store.events import StoredEvent

SCANNED: Final = 2_000
"""Events that one page is looked for among, when a filter or the room's visibility hides most of them."""
_STEP: Final = 200
_NEAREST: Final = 50


@dataclass(slots=True)
class Page:
    """Events in the order in which they were asked for, and the places where they begin and end.

    `end` is None if there is nothing more in that direction.
    """

    access: Access
    events: list[Seen] = field(default_factory=list)
    start: Place = END
    end: Place | None = None


@dataclass(slots=True)
class Context:
    """An event, and the pages on both sides of it."""

    access: Access
    event: Seen
    before: Page
    after: Page


class History:
    """Reads the past of rooms on users' behalf."""

    def __init__(
        self,
        database: Database,
        heads: Heads,
        events: Events,
        visibility: Visibility,
        accesses: Accesses,
    ) -> None:
        self._database = database
        self._heads = heads
        self._events = events
        self._visibility = visibility
        self._accesses = accesses

    async def page(
        self,
        user_id: str,
        room_id: str,
        *,
        start: Place | None,
        to: Place | None,
        backwards: bool,
        limit: int,
        wanted: EventFilter = EVERYTHING,
    ) -> Page:
        """Up to `limit` events from `start` (by default an end of the history) up to `to`."""
        access = await self._accesses.of(user_id, room_id)
        if start is None:
            start = _newest_place(access) if backwards else START
        if not wanted.wants_room(room_id):
            return Page(access, start=start)
        return await self._read(access, user_id, start, to, backwards, limit, wanted)

    async def check_access(self, user_id: str, room_id: str) -> None:
        """Refuse whoever may read nothing of the room."""
        await self._accesses.of(user_id, room_id)

    async def event(self, user_id: str, room_id: str, event_id: str) -> tuple[Access, Seen]:
        """One event; refused with M_NOT_FOUND alike if it is not there and if it is not for this user."""
        absent = not_found(f"There is no event {event_id[:255]} in this room, or it is not for you.")
        try:
            access = await self._accesses.of(user_id, room_id)
        except Refusal as refusal:
            raise absent from refusal
        kept = await self._events.by_id(event_id)
        if kept is not None and kept.room == access.room.nid:
            seen = await self._visibility.filter(access.room, user_id, [kept])
            if seen:
                return access, seen[0]
        raise absent

    async def context(
        self, user_id: str, room_id: str, event_id: str, limit: int, wanted: EventFilter = EVERYTHING
    ) -> Context:
        """An event, and up to `limit` events around it, the newer half of them one more if they are odd."""
        return await self.around(user_id, room_id, event_id, limit // 2, limit - limit // 2, wanted)

    async def around(
        self,
        user_id: str,
        room_id: str,
        event_id: str,
        older: int,
        newer: int,
        wanted: EventFilter = EVERYTHING,
    ) -> Context:
        """An event, and up to so many older and newer ones beside it."""
        access, seen = await self.event(user_id, room_id, event_id)
        before_it, after_it = place_before(seen.kept), place_after(seen.kept)
        before = await self._read(access, user_id, before_it, None, True, older, wanted)
        after = await self._read(access, user_id, after_it, None, False, newer, wanted)
        return Context(access, seen, before, after)

    async def place_at(self, room_id: str, position: int) -> Place | None:
        """The place that a position of the log is in a room's history: after all that had arrived by then.

        None if there is no such room, which is for others to refuse.
        """
        room = await self._heads.get(room_id)
        if room is None or room.head is None:
            return None
        version = await timeline_store.version_at(self._database, room.nid, position)
        if version is None:
            version = room.head.version
        rows = await timeline_store.page(self._database, room.nid, 0, version, _NEAREST)
        events = await self._events.by_nids([row.event for row in rows if row.event is not None])
        # What arrived last need not be the deepest, where servers disagree on the order.
        return max((place_after(kept) for kept in events.values()), default=START)

    async def _read(
        self,
        access: Access,
        user_id: str,
        start: Place,
        to: Place | None,
        backwards: bool,
        limit: int,
        wanted: EventFilter,
    ) -> Page:
        page = Page(access, start=start, end=start)
        if limit == 0:
            return page
        low, high = (to or START, start) if backwards else (start, to or END)
        if access.departure is not None:
            # What came after one has left can't be seen, and might be much.
            high = min(high, place_after(access.departure))
        scanned, filtered = 0, not wanted.wants_all()
        step = limit if wanted.wants_all() else max(limit, _STEP)
        while scanned < SCANNED:
            nids = await store.history(
                self._database,
                access.room.nid,
                before=high.at,
                after=low.at,
                backwards=backwards,
                limit=step,
            )
            events = await self._events.by_nids(nids)
            kept = [events[nid] for nid in nids]
            seen = [one for one in kept if start.has(one)]
            shown = await self._show(access.room, user_id, seen, wanted)
            room_left = limit - len(page.events)
            page.events += shown[:room_left]
            if len(shown) >= room_left:
                page.end = _beyond(page.events[-1].kept, backwards, start)
                return page
            if len(nids) < step:
                # COMPAT(complement): where a filter chose, the page after the last that has any is empty.
                page.end = _beyond(kept[-1], backwards, start) if kept and page.events and filtered else None
                return page
            scanned += len(nids)
            # A long search lets others have their turn; the database by itself need not.
            await asyncio.sleep(0)
            page.end = _beyond(kept[-1], backwards, start)
            low, high = (low, page.end) if backwards else (page.end, high)
        return page

    async def _show(
        self, room: Room, user_id: str, kept: Sequence[StoredEvent], wanted: EventFilter
    ) -> list[Seen]:
        if not wanted.wants_all():
            kept = [one for one in kept if wanted.wants_event(one.event)]
            if wanted.asks_for_children() and kept:
                kept = await self._with_children(kept, wanted)
        ignored = await self._visibility.ignored_by(user_id)
        if ignored:
            kept = [one for one in kept if one.event.is_state or one.event.sender not in ignored]
        return await self._visibility.filter(room, user_id, kept)

    async def _with_children(self, kept: Sequence[StoredEvent], wanted: EventFilter) -> list[StoredEvent]:
        rows = await relations_store.child_senders(self._database, [one.event.event_id for one in kept])
        children: dict[str, list[tuple[str, str]]] = {}
        for parent, rel_type, sender in rows:
            children.setdefault(parent, []).append((rel_type, sender))
        return [one for one in kept if wanted.wants_parent_of(children.get(one.event.event_id, ()))]


def _newest_place(access: Access) -> Place:
    """The place after all that is there now, so that what comes meanwhile is not part of these pages."""
    if access.departure is not None:
        return place_after(access.departure)
    return Place(access.head.depth, 0)


def _beyond(kept: StoredEvent, backwards: bool, start: Place) -> Place:
    place = place_before(kept) if backwards else place_after(kept)
    return place._replace(until=start.until)
