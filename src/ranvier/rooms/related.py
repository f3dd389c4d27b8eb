"""Pages of events that relate to one, and of the threads of a room.

Source: Client-Server API, "Relationships API", "Threading".
"""

import re
from dataclasses import dataclass, field
from typing import Final, Literal

from ranvier.protocol import relations
from ranvier.protocol.refusal import invalid_param
from ranvier.rooms.access import Accesses
from ranvier.rooms.events import Events
from ranvier.rooms.history import History
from ranvier.rooms.pagination import END, START, Place, place_after, place_before
from ranvier.rooms.relations import MAX_HOPS
from ranvier.rooms.visibility import Seen, Visibility
from ranvier.store import relations as store
from ranvier.store.database import Database
from ranvier.store.events import StoredEvent

_PAGES: Final = 10
_THREAD_TOKEN = re.compile(r"h([0-9]{1,19})\Z")
_GREATEST: Final = 2**63 - 1


@dataclass(slots=True)
class RelatedPage:
    """Events in the order in which they were asked for; `next` is where they go on, if they do."""

    events: list[Seen] = field(default_factory=list)
    start: Place = END
    next: Place | None = None


@dataclass(slots=True)
class ThreadsPage:
    """Roots of threads, those with the newest events first; `next_batch` is the token to go on with, if any."""

    roots: list[Seen] = field(default_factory=list)
    next_batch: str | None = None


class Related:
    """Reads relations on users' behalf."""

    def __init__(
        self,
        database: Database,
        events: Events,
        visibility: Visibility,
        accesses: Accesses,
        history: History,
    ) -> None:
        self._database = database
        self._events = events
        self._visibility = visibility
        self._accesses = accesses
        self._history = history

    async def page(
        self,
        user_id: str,
        room_id: str,
        event_id: str,
        *,
        rel_type: str | None = None,
        kind: str | None = None,
        start: Place | None = None,
        to: Place | None = None,
        backwards: bool = True,
        limit: int,
        recurse: bool = False,
    ) -> RelatedPage:
        """The children of an event, and with `recurse` theirs, of one kind of relation and type if these are given."""
        access, _ = await self._history.event(user_id, room_id, event_id)
        room = access.room
        ignored = await self._visibility.ignored_by(user_id)
        start = start or (END if backwards else START)
        page = RelatedPage(start=start)
        low, high = (to or START, start) if backwards else (start, to or END)
        for _ in range(_PAGES):
            nids = await store.page(
                self._database,
                room.nid,
                event_id,
                rel_type=rel_type,
                kind=kind,
                hops=MAX_HOPS if recurse else 1,
                before=high.at,
                after=low.at,
                backwards=backwards,
                limit=limit + 1,
            )
            events = await self._events.by_nids(nids)
            kept = [events[nid] for nid in nids[:limit]]
            wanted = [one for one in kept if one.event.sender not in ignored]
            seen = await self._visibility.filter(room, user_id, wanted)
            left = limit - len(page.events)
            page.events += seen[:left]
            if len(seen) > left:
                page.next = _beyond(page.events[-1].kept, backwards)
                break
            if len(nids) <= limit:
                page.next = None
                break
            page.next = _beyond(kept[-1], backwards)
            if len(seen) == left:
                break
            low, high = (low, page.next) if backwards else (page.next, high)
        return page

    async def threads(
        self,
        user_id: str,
        room_id: str,
        *,
        include: Literal["all", "participated"],
        token: str | None,
        limit: int,
    ) -> ThreadsPage:
        """Roots of the room's threads. The root by an ignored user is shown redacted."""
        access = await self._accesses.of(user_id, room_id)
        ignored = await self._visibility.ignored_by(user_id)
        before = _GREATEST if token is None else _parse_thread_token(token)
        if access.departure is not None:
            before = min(before, access.departure.nid)
        rows = await store.thread_roots(
            self._database,
            access.room.nid,
            participant=user_id if include == "participated" else None,
            ignored=sorted(ignored),
            before=before,
            limit=limit + 1,
        )
        found = [await self._events.by_id(root) for root, _ in rows[:limit]]
        kept = [
            one.as_redacted() if one.event.sender in ignored else one
            for one in found
            if one is not None and not one.event.is_state and relations.may_root_thread(one.event.content)
        ]
        roots = await self._visibility.filter(access.room, user_id, kept)
        return ThreadsPage(roots, f"h{rows[limit - 1][1]}" if len(rows) > limit else None)


def _beyond(kept: StoredEvent, backwards: bool) -> Place:
    return place_before(kept) if backwards else place_after(kept)


def _parse_thread_token(token: str) -> int:
    form = _THREAD_TOKEN.match(token)
    if form is None:
        raise invalid_param("This is no token of this server's lists of threads.")
    return min(int(form[1]), _GREATEST)
