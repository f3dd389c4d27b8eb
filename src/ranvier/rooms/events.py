"""Events by id or number, through a cache that is bounded in bytes."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ranvier.protocol import relations
from ranvier.protocol.relations import Relation
from ranvier.store import events as store
from ranvier.store import redactions as redactions_store
from ranvier.store.database import Database, Entry
from ranvier.store.events import StoredEvent
from ranvier.store.log import Kind

_AT_ONCE = 250
_REDACTIONS = 20
"""Redactions of one event that waited for it and are looked at."""
_OVERHEAD = 1500
"""Bytes that an event's objects take in memory besides its JSON, about."""


class Events:
    """Kept events. An event never changes, except that a redaction evicts it.

    What has no place in its room yet may get one, and a judgement with it; where the database `is_shared`, by another
    process, which says nothing of it: such events are not kept in memory then.
    """

    def __init__(self, database: Database, capacity: int, *, is_shared: bool = False) -> None:
        self._database = database
        self._capacity = capacity
        self._is_shared = is_shared
        self._size = 0
        self._by_nid: OrderedDict[int, StoredEvent] = OrderedDict()
        self._nid_of: dict[str, int] = {}
        self._redactions = 0

    def keep(self, kept: StoredEvent) -> None:
        """Remember an event that was just written or read."""
        if kept.nid in self._by_nid or (self._is_shared and not kept.state_line):
            return
        self._by_nid[kept.nid] = kept
        self._nid_of[kept.event.event_id] = kept.nid
        self._size += cost_of(kept)
        while self._size > self._capacity and self._by_nid:
            self._forget(next(iter(self._by_nid)))

    def _forget(self, nid: int) -> None:
        kept = self._by_nid.pop(nid, None)
        if kept is not None:
            self._nid_of.pop(kept.event.event_id, None)
            self._size -= cost_of(kept)

    async def by_id(self, event_id: str) -> StoredEvent | None:
        """One event, whatever was judged of it."""
        nid = self._nid_of.get(event_id)
        if nid is not None:
            return self._by_nid[nid]
        while True:
            redactions = self._redactions
            kept = await store.by_id(self._database, event_id)
            if redactions == self._redactions:
                break
        if kept is not None:
            self.keep(kept)
        return kept

    async def by_ids(self, event_ids: Iterable[str]) -> dict[str, StoredEvent]:
        """Events by id, whatever was judged of them; unknown ones are left out."""
        found = {}
        missing = []
        for event_id in dict.fromkeys(event_ids):
            nid = self._nid_of.get(event_id)
            if nid is None:
                missing.append(event_id)
            else:
                found[event_id] = self._by_nid[nid]
        for start in range(0, len(missing), _AT_ONCE):
            if start:
                await asyncio.sleep(0)
            found |= await self._read_ids(missing[start : start + _AT_ONCE])
        return found

    async def _read_ids(self, event_ids: Sequence[str]) -> dict[str, StoredEvent]:
        while True:
            redactions = self._redactions
            read = await store.by_ids(self._database, event_ids)
            if redactions == self._redactions:
                break
        for kept in read.values():
            self.keep(kept)
        return read

    async def redactions_awaiting(self, event_id: str) -> list[StoredEvent]:
        """Redactions that came before this event, which they would redact; not more than some."""
        found = await redactions_store.awaiting(self._database, [event_id])
        kept = await self.by_nids([nid for _, nid in found[:_REDACTIONS]])
        return list(kept.values())

    def forget(self, nid: int) -> None:
        """What is kept of an event changed: it is to be read anew."""
        self._forget(nid)

    def forget_room(self, room: int) -> None:
        """Events of a room were judged anew."""
        for nid in [nid for nid, kept in self._by_nid.items() if kept.room == room]:
            self._forget(nid)

    async def read_anew(self, nids: Sequence[int]) -> dict[int, StoredEvent]:
        """Events by number as they are now, whatever is known of them; unknown ones are left out."""
        for nid in nids:
            self._forget(nid)
        found = await store.by_nid(self._database, nids) if nids else {}
        for kept in found.values():
            self.take(kept)
        return found

    def take(self, kept: StoredEvent) -> None:
        """An event as another process left it."""
        self.renew(kept)
        redaction = self._nid_of.get(kept.redacted_by) if kept.redacted_by is not None else None
        if redaction is not None:
            # It may have waited for this event, and counts since that is here.
            self._forget(redaction)

    def renew(self, kept: StoredEvent) -> None:
        """An outlier was brought in: what was known of it before holds no more."""
        self._forget(kept.nid)
        self.keep(kept)

    async def by_nids(self, nids: Sequence[int]) -> dict[int, StoredEvent]:
        """Events by number; unknown ones are left out."""
        found = {}
        missing = []
        for nid in nids:
            kept = self._by_nid.get(nid)
            if kept is None:
                missing.append(nid)
            else:
                found[nid] = kept
        for start in range(0, len(missing), _AT_ONCE):
            if start:
                # Others get their turn between the portions of a long read.
                await asyncio.sleep(0)
            found |= await self._read(missing[start : start + _AT_ONCE])
        return found

    async def _read(self, nids: Sequence[int]) -> dict[int, StoredEvent]:
        while True:
            redactions = self._redactions
            read = await store.by_nid(self._database, nids)
            # What was redacted meanwhile may have been read as it was before.
            if redactions == self._redactions:
                break
        for kept in read.values():
            self.keep(kept)
        return read

    async def relations(self, content: Mapping[str, Any]) -> list[Relation]:
        """What an event with this content relates to, what that relates to, and so on, up to a bound."""
        found: list[Relation] = []
        relation = relations.relation_of(content) if "m.relates_to" in content else None
        while relation is not None and len(found) < relations.MAX_THREAD_HOPS:
            found.append(relation)
            parent = await self.by_id(relation.event_id)
            relation = relations.relation_of(parent.event.content) if parent is not None else None
        return found

    async def thread_of(self, content: Mapping[str, Any]) -> str:
        """The thread that an event with this content belongs to: its root, or "main"."""
        for relation in await self.relations(content):
            if relation.rel_type == relations.THREAD:
                return relation.event_id
        return relations.MAIN_TIMELINE

    def heard(self, entries: Iterable[Entry]) -> None:
        """Follow the log: forget what was redacted."""
        for entry in entries:
            if entry.kind == Kind.REDACTION:
                self._redactions += 1
                self._forget(int(entry.ref))


def cost_of(kept: StoredEvent) -> int:
    """Bytes that an event takes in memory, about."""
    return _OVERHEAD + 2 * len(kept.event.pdu_json)
