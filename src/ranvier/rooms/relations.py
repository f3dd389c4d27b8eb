"""Events that relate to others: bundled aggregations, and the pages of related events.

Source: Client-Server API, "Aggregations of child events", "Relationships API", "Threading".
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson

from ranvier.protocol import relations
from ranvier.protocol.client_format import full_json, unsigned_json
from ranvier.protocol.events import Event
from ranvier.protocol.relations import REFERENCE, REPLACE, THREAD, ThreadSummary
from ranvier.rooms.events import Events
from ranvier.rooms.heads import Heads, Room
from ranvier.rooms.visibility import Visibility
from ranvier.store import relations as store
from ranvier.store.database import Database
from ranvier.store.events import StoredEvent

Bundles = Mapping[str, Mapping[str, Any]]
"""`m.relations` by the parent's event id."""

CANDIDATES: Final = 10
"""The newest children of a kind that are looked at for the one that counts."""
MAX_REFERENCES: Final = 500
"""References that an aggregation names at most, the newest."""
MAX_HOPS: Final = 3
"""How far the relations of relations are followed."""


class _Children(NamedTuple):
    """What is known of the children of some events."""

    counts: dict[tuple[str, str], store.ChildCount]
    newest: dict[tuple[str, str], list[StoredEvent]]
    redacted: set[str]


class Relations:
    """Gathers what relates to events, for one user at a time."""

    def __init__(
        self,
        database: Database,
        heads: Heads,
        events: Events,
        visibility: Visibility,
    ) -> None:
        self._database = database
        self._heads = heads
        self._events = events
        self._visibility = visibility

    async def bundles(self, parents: Iterable[Event], user_id: str) -> Bundles:
        """The aggregations of these events, as the user may see them; events without any are left out."""
        by_id = {event.event_id: event for event in parents if event.state_key is None}
        bundled = await self._bundle(by_id, user_id)
        if not bundled:
            return {}
        return {event_id: bundle for event_id, bundle in bundled.items() if bundle}

    async def _bundle(self, parents: Mapping[str, Event], user_id: str, *, threads: bool = True) -> Bundles:
        ignored = sorted(await self._visibility.ignored_by(user_id))
        found = await store.counts(self._database, list(parents), user_id, ignored) if parents else []
        if not found:
            return {}
        children = await self._children(parents, found, user_id, ignored)
        summaries: Mapping[str, ThreadSummary] = {}
        if threads:
            summaries = await self._summarise(parents, children, user_id)
        bundled = {}
        for event_id in dict.fromkeys(one.parent for one in found):
            parent = parents[event_id]
            edits = children.newest.get((event_id, REPLACE), ())
            edit = relations.latest_edit(parent, [kept.event for kept in edits])
            bundled[event_id] = relations.bundle_relations(
                parent,
                redacted=event_id in children.redacted,
                edit=orjson.Fragment(full_json(edit)) if edit is not None else None,
                thread=summaries.get(event_id),
                references=[
                    kept.event.event_id for kept in reversed(children.newest.get((event_id, REFERENCE), ()))
                ],
            )
        return bundled

    async def _children(
        self,
        parents: Mapping[str, Event],
        found: Sequence[store.ChildCount],
        user_id: str,
        ignored: list[str],
    ) -> _Children:
        """The newest children that the user may see, those in other rooms than the parent left out."""
        rooms = await self._rooms_of(parents.values())
        nid_of = {
            event_id: rooms[event.room_id].nid
            for event_id, event in parents.items()
            if event.room_id in rooms
        }
        counts = {(one.parent, one.rel_type): one for one in found if nid_of.get(one.parent) == one.room}
        with_any = sorted({parent for parent, _ in counts})
        rows = await store.newest(self._database, with_any, [REPLACE, THREAD], ignored, CANDIDATES)
        referred = sorted({parent for parent, rel_type in counts if rel_type == REFERENCE})
        if referred:
            rows += await store.newest(self._database, referred, [REFERENCE], ignored, MAX_REFERENCES)
        rows = [row for row in rows if nid_of[row.parent] == row.room]
        events = await self._events.by_nids([row.child for row in rows])
        visible = await self._visible(rooms.values(), events.values(), user_id)
        newest: dict[tuple[str, str], list[StoredEvent]] = {}
        for row in rows:
            if row.child in visible:
                newest.setdefault((row.parent, row.rel_type), []).append(events[row.child])
        edited = [parent for parent, rel_type in newest if rel_type == REPLACE]
        redacted = await store.redacted_among(self._database, edited) if edited else set()
        return _Children(counts, newest, redacted)

    async def _rooms_of(self, events: Iterable[Event]) -> dict[str, Room]:
        rooms = {}
        for room_id in {event.room_id for event in events}:
            room = await self._heads.get(room_id)
            if room is not None:
                rooms[room_id] = room
        return rooms

    async def _visible(self, rooms: Iterable[Room], events: Iterable[StoredEvent], user_id: str) -> set[int]:
        by_room: dict[int, list[StoredEvent]] = {}
        for kept in events:
            by_room.setdefault(kept.room, []).append(kept)
        visible = set()
        for room in rooms:
            seen = await self._visibility.filter(room, user_id, by_room.get(room.nid, ()))
            visible |= {one.kept.nid for one in seen}
        return visible

    async def _summarise(
        self, parents: Mapping[str, Event], children: _Children, user_id: str
    ) -> dict[str, ThreadSummary]:
        latest = {
            event_id: candidates[0]
            for (event_id, rel_type), candidates in children.newest.items()
            if rel_type == THREAD and relations.may_root_thread(parents[event_id].content)
        }
        if not latest:
            return {}
        bundles = await self._bundle(
            {k.event.event_id: k.event for k in latest.values()}, user_id, threads=False
        )
        summaries = {}
        for event_id, kept in latest.items():
            count = children.counts[event_id, THREAD]
            unsigned = unsigned_json(relations=bundles.get(kept.event.event_id))
            summaries[event_id] = ThreadSummary(
                latest_event=orjson.Fragment(full_json(kept.event, unsigned)),
                count=count.number,
                current_user_participated=count.participated or parents[event_id].sender == user_id,
            )
        return summaries
