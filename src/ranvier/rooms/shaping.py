"""Events as the client-server API gives them outside of sync: bytes, made once, with what depends on the reader."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson

from ranvier.protocol.client_format import client_json, full_json, unsigned_json
from ranvier.rooms.events import Events
from ranvier.rooms.relations import Bundles, Relations
from ranvier.rooms.visibility import Seen
from ranvier.store import accounts as accounts_store
from ranvier.store import state as state_store
from ranvier.store.database import Database
from ranvier.store.events import DELAYED, StoredEvent
from ranvier.store.state import Root

_SLICE: Final = 1_000
"""Events that are shaped without letting others have their turn."""


class Reader(NamedTuple):
    """Who reads: a transaction id is only shown to the device that sent it."""

    user_id: str
    device_id: str | None = None


class Shapes:
    """Gathers what the shapes of events need besides the events."""

    def __init__(
        self, database: Database, events: Events, relations: Relations, now: Callable[[], int]
    ) -> None:
        self._database = database
        self._events = events
        self._relations = relations
        self._now = now

    async def of(self, seen: Sequence[Seen], reader: Reader) -> list[bytes]:
        """Each event for this reader, with its room's id, aggregations, and what it replaced or was redacted by."""
        seen = await self._without_erased(seen)
        kept = [one.kept for one in seen]
        bundles = await self._relations.bundles([one.event for one in kept], reader.user_id)
        redactions = await self._redactions(kept)
        replaced = await self._replaced(kept)
        shape = _Shape(self._now(), reader, bundles, redactions, replaced)
        return [shape.of(one) for one in seen]

    async def plainly(self, kept: Sequence[StoredEvent]) -> list[bytes]:
        """State events, with no more than their age besides."""
        now = self._now()
        shaped: list[bytes] = []
        for start in range(0, len(kept), _SLICE):
            if start:
                await asyncio.sleep(0)
            shaped += [
                full_json(one.event, b'{"age":%d}' % (now - one.event.origin_server_ts))
                for one in kept[start : start + _SLICE]
            ]
        return shaped

    async def _without_erased(self, seen: Sequence[Seen]) -> Sequence[Seen]:
        """To those who were not there, messages of users who had themselves erased are shown as if redacted."""
        senders = {
            one.kept.event.sender for one in seen if one.membership != "join" and not one.kept.event.is_state
        }
        erased = await accounts_store.erased_of(self._database, sorted(senders)) if senders else set()
        if not erased:
            return seen
        return [
            one._replace(kept=one.kept.as_redacted())
            if one.membership != "join" and not one.kept.event.is_state and one.kept.event.sender in erased
            else one
            for one in seen
        ]

    async def _redactions(self, kept: Iterable[StoredEvent]) -> dict[str, StoredEvent]:
        found = {}
        for event_id in {one.redacted_by for one in kept if one.redacted_by is not None}:
            redaction = await self._events.by_id(event_id)
            if redaction is not None:
                found[event_id] = redaction
        return found

    async def _replaced(self, kept: Iterable[StoredEvent]) -> dict[int, StoredEvent]:
        """For each state event's number, the one whose place it took."""
        changing = [one for one in kept if one.event.state_key is not None and one.state_version > 0]
        if not changing:
            return {}
        wanted = [
            (Root(one.state_line, one.state_version), (one.event.type, one.event.state_key or ""))
            for one in changing
        ]
        nids = await state_store.values_at(self._database, wanted)
        events = await self._events.by_nids([nid for nid in nids if nid is not None])
        return {
            one.nid: events[nid]
            for one, nid in zip(changing, nids, strict=True)
            if nid is not None and nid in events
        }


class _Shape:
    """Makes the bytes of events for one reader."""

    def __init__(
        self,
        now: int,
        reader: Reader,
        bundles: Bundles,
        redactions: Mapping[str, StoredEvent],
        replaced: Mapping[int, StoredEvent],
    ) -> None:
        self._now = now
        self._reader = reader
        self._bundles = bundles
        self._redactions = redactions
        self._replaced = replaced
        self._room_ids: dict[str, bytes] = {}

    def of(self, seen: Seen) -> bytes:
        kept, membership = seen
        event = kept.event
        own = kept.transaction is not None and event.sender == self._reader.user_id
        if (
            membership == "join"
            and not own
            and kept.redacted_by is None
            and event.state_key is None
            and event.event_id not in self._bundles
        ):
            # The common case, without a detour through an object.
            return b'{"room_id":%b,%b,"unsigned":{"age":%d,"membership":"join"}}' % (
                self._room_id(event.room_id),
                client_json(event)[1:-1],
                self._now - event.origin_server_ts,
            )
        return full_json(event, unsigned_json(**self._unsigned(kept, membership, own)))

    def _room_id(self, room_id: str) -> bytes:
        known = self._room_ids.get(room_id)
        if known is None:
            known = self._room_ids[room_id] = orjson.dumps(room_id)
        return known

    def _unsigned(self, kept: StoredEvent, membership: str, own: bool) -> dict[str, Any]:
        event = kept.event
        said: dict[str, Any] = {"age": self._now - event.origin_server_ts, "membership": membership}
        if own and kept.transaction is not None and kept.transaction[0] == (self._reader.device_id or ""):
            said["transaction_id"] = kept.transaction[1]
        elif own and kept.transaction is not None and kept.transaction[0] == DELAYED:
            said["delay_id"] = kept.transaction[1]
        replaced = self._replaced.get(kept.nid)
        if replaced is not None:
            said["prev_content"] = replaced.event.content
            said["prev_sender"] = replaced.event.sender
            said["replaces_state"] = replaced.event.event_id
        because = self._redactions.get(kept.redacted_by) if kept.redacted_by is not None else None
        if because is not None:
            said["redacted_because"] = full_json(because.event)
        said["relations"] = self._bundles.get(event.event_id)
        return said
