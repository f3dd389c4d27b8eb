"""The bytes of a sync answer. Events are serialised once, wherever they go; what depends on the reader is added."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from ranvier.protocol.client_format import client_event, client_json, splice_unsigned, unsigned_json
from ranvier.protocol.filters import Filter
from ranvier.rooms.heads import TimelineItem
from ranvier.store.events import DELAYED, StoredEvent
from ranvier.sync.timelines import Shown

Bundles = Mapping[str, Mapping[str, Any]]
"""Aggregations (`m.relations`) by the parent's event id."""


class EventShaper:
    """Turns events into the bytes that one reader gets."""

    def __init__(
        self,
        now: int,
        user_id: str,
        device_id: str | None,
        wanted: Filter,
        bundles: Bundles,
        redactions: Mapping[str, StoredEvent],
    ) -> None:
        self._now = now
        self._user_id = user_id
        self._device_id = device_id
        self._bundles = bundles
        self._redactions = redactions
        self._projection = wanted.event_fields
        self._federation = wanted.event_format == "federation"

    def shown(self, shown: Shown) -> bytes:
        """An event of the timeline."""
        return self._shape(shown.item.kept, shown.membership, shown.item)

    def state(self, kept: StoredEvent) -> bytes:
        """An event of the state."""
        return self._shape(kept, None, None)

    def _shape(self, kept: StoredEvent, membership: str | None, item: TimelineItem | None) -> bytes:
        event = kept.event
        if self._projection is not None or self._federation:
            return self._project(kept, self._unsigned(kept, membership, item))
        plain = (
            kept.transaction is None
            and kept.redacted_by is None
            and event.state_key is None
            and event.event_id not in self._bundles
        )
        if plain and membership == "join":
            # The common case, without a detour through an object.
            return b'%b,"unsigned":{"age":%d,"membership":"join"}}' % (
                client_json(event)[:-1],
                self._now - event.origin_server_ts,
            )
        unsigned = self._unsigned(kept, membership, item)
        return splice_unsigned(client_json(event), unsigned) if unsigned is not None else client_json(event)

    def _unsigned(self, kept: StoredEvent, membership: str | None, item: TimelineItem | None) -> bytes | None:
        event = kept.event
        own = kept.transaction if event.sender == self._user_id else None
        txn_id = own[1] if own is not None and own[0] == self._device_id else None
        delay_id = own[1] if own is not None and own[0] == DELAYED else None
        replaced = item.replaced if item is not None else None
        because = self._redactions.get(kept.redacted_by) if kept.redacted_by is not None else None
        return unsigned_json(
            age=self._now - event.origin_server_ts,
            transaction_id=txn_id,
            delay_id=delay_id,
            membership=membership,
            prev_content=replaced.event.content if replaced is not None else None,
            prev_sender=replaced.event.sender if replaced is not None else None,
            replaces_state=replaced.event.event_id if replaced is not None else None,
            redacted_because=client_json(because.event) if because is not None else None,
            relations=self._bundles.get(event.event_id),
        )

    def _project(self, kept: StoredEvent, unsigned: bytes | None) -> bytes:
        event = kept.event
        shape = {**event.pdu, "event_id": event.event_id} if self._federation else client_event(event)
        if unsigned is not None:
            shape = {**shape, "unsigned": orjson.loads(unsigned)}
        return orjson.dumps(self._projection.project(shape) if self._projection is not None else shape)


def events_json(events: Iterable[bytes]) -> bytes:
    """`{"events": [...]}`."""
    return b'{"events":[%b]}' % b",".join(events)


def object_json(parts: Sequence[tuple[bytes, bytes]]) -> bytes:
    """A JSON object of keys (already JSON) and values (already JSON)."""
    return b"{%b}" % b",".join([b"%b:%b" % part for part in parts])


def key_json(key: str) -> bytes:
    """A key as JSON."""
    return orjson.dumps(key)
