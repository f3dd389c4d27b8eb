"""What other servers may read of a room's past.

Source: Server-Server API, "Backfilling and retrieving missing events", "Retrieving events"; Client-Server API, "Room
History Visibility", for what a server may see for the sake of its users.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Final

from ranvier.protocol import history_visibility
from ranvier.protocol.events import Event, redacted
from ranvier.rooms.auth_index import AuthIndex, Slowly
from ranvier.rooms.events import Events
from ranvier.rooms.heads import MEMBER, Heads, Room
from ranvier.rooms.resolving import StateAt, state_after
from ranvier.store import state as state_store
from ranvier.store.database import Database
from ranvier.store.events import Judgement, StoredEvent
from ranvier.store.state import Key, Root

_VISIBILITY: Key = ("m.room.history_visibility", "")
_SHOWN: Final = (Judgement.ACCEPTED, Judgement.WITHHELD)
_WALKED: Final = 1_000
"""Events that one walk back looks at, however few of them are shown."""
_LONGEST: Final = 500
"""Events that one walk gives."""
_OPEN: Final = ("world_readable", "shared")


@dataclass(frozen=True, slots=True)
class StateIds:
    """The state before an event and its whole auth chain, by ids."""

    state: tuple[str, ...]
    auth_chain: tuple[str, ...]


class PeerHistory:
    """Reads the past of rooms on peers' behalf. That the peer is in the room is for the caller to check."""

    def __init__(self, database: Database, heads: Heads, events: Events) -> None:
        self._reader = Slowly(database)
        self._index = AuthIndex(self._reader)
        self._heads = heads
        self._events = events

    async def state_ids(self, room: Room, event_id: str) -> StateIds | None:
        """The resolved state before an event; None if the event is not in this room or its state is not known.

        While the room's state is partial it is not known of any.
        """
        kept = await self._events.by_id(event_id)
        head = await self._heads.fault_in(room, ())
        if kept is None or kept.room != room.nid or not kept.state_line or head.partial:
            return None
        return await self._state_ids(StateAt(Root(kept.state_line, kept.state_version)))

    async def state_ids_after(self, room: Room, event_id: str) -> StateIds | None:
        """The same, once the event holds: what one who joins with it begins with is the state before it."""
        kept = await self._events.by_id(event_id)
        if kept is None or kept.room != room.nid or not kept.state_line:
            return None
        return await self._state_ids(state_after(kept))

    async def _state_ids(self, state: StateAt) -> StateIds:
        nids = await state_store.at(self._reader, state.root)
        events = await self._events.by_nids(list(nids.values()))
        ids = [kept.event.event_id for kept in events.values()]
        return StateIds(tuple(ids), tuple(await self._index.chain(ids)))

    async def auth_chain(self, room: Room, event_ids: Sequence[str]) -> list[str]:
        """The ids of the whole auth chain of events of the room, themselves left out."""
        known = await self._events.by_ids(event_ids)
        named = {
            event_id
            for kept in known.values()
            if kept.room == room.nid
            for event_id in kept.event.auth_events
        }
        return sorted({*named, *await self._index.chain(named)})

    async def events(self, room: Room, event_ids: Sequence[str], origin: str) -> list[Event]:
        """Events of the room by ids, for a peer: what it may not see is redacted; unknown ones are left out."""
        known = await self._events.by_ids(event_ids)
        kept = [
            known[event_id]
            for event_id in event_ids
            if event_id in known and known[event_id].room == room.nid
        ]
        return await self._for_peer([one for one in kept if one.judgement is not Judgement.REJECTED], origin)

    async def backfill(
        self, room: Room, from_event_ids: Sequence[str], limit: int, origin: str
    ) -> list[Event]:
        """The events given and those before them, up to `limit`, newest first; what `origin` may not see redacted."""
        walked = await self._walk(room, from_event_ids, frozenset(), min(limit, _LONGEST), 0)
        return await self._for_peer(walked, origin)

    async def missing_events(
        self,
        room: Room,
        earliest: Sequence[str],
        latest: Sequence[str],
        limit: int,
        min_depth: int,
        origin: str,
    ) -> list[Event]:
        """The events between two sets of events, walked back from `latest`, oldest first, up to `limit`."""
        known = await self._events.by_ids(latest)
        behind = {event_id for kept in known.values() for event_id in kept.event.prev_events}
        walked = await self._walk(
            room, sorted(behind - set(latest)), frozenset(earliest), min(limit, _LONGEST), min_depth
        )
        shown = await self._for_peer(walked, origin)
        shown.reverse()
        return shown

    async def _walk(
        self, room: Room, start: Iterable[str], stop: frozenset[str], limit: int, min_depth: int
    ) -> list[StoredEvent]:
        """The deepest events that lead back from some, these included, the newest first."""
        found: list[StoredEvent] = []
        seen = set(stop)
        waiting: list[tuple[int, int, StoredEvent]] = []
        named = [event_id for event_id in start if event_id not in seen]
        for _ in range(_WALKED):
            seen.update(named)
            for kept in (await self._events.by_ids(named)).values():
                if kept.room == room.nid and kept.state_line and kept.event.depth >= min_depth:
                    heappush(waiting, (-kept.event.depth, -kept.nid, kept))
            if not waiting or len(found) >= limit:
                break
            kept = heappop(waiting)[2]
            if kept.judgement in _SHOWN:
                found.append(kept)
            named = [event_id for event_id in kept.event.prev_events if event_id not in seen]
        return found

    async def seen(self, kept: Sequence[StoredEvent], origin: str) -> list[Event]:
        """Those of the events that some of the server's users could see."""
        allowed = await self._are_seen(kept, origin)
        return [one.event for one, is_seen in zip(kept, allowed, strict=True) if is_seen]

    async def _for_peer(self, kept: Sequence[StoredEvent], origin: str) -> list[Event]:
        """The events, redacted where none of the server's users could see them."""
        allowed = await self._are_seen(kept, origin)
        return [
            one.event if is_seen else redacted(one.event) for one, is_seen in zip(kept, allowed, strict=True)
        ]

    async def _are_seen(self, kept: Sequence[StoredEvent], origin: str) -> list[bool]:
        wanted = [(Root(one.state_line, one.state_version), _VISIBILITY) for one in kept]
        nids = await state_store.values_at(self._reader, wanted)
        events = await self._events.by_nids([nid for nid in nids if nid is not None])
        memberships: dict[Root, frozenset[str]] = {}
        shown = []
        for one, (root, _), nid in zip(kept, wanted, nids, strict=True):
            content = events[nid].event.content if nid is not None else None
            visibility = history_visibility.read_visibility(content)
            members: frozenset[str] = frozenset()
            if visibility not in _OPEN:
                if root not in memberships:
                    memberships[root] = await self._memberships(root, origin)
                members = memberships[root]
            shown.append(history_visibility.may_server_see_event(one.event, origin, visibility, members))
        await asyncio.sleep(0)
        return shown

    async def _memberships(self, root: Root, server: str) -> frozenset[str]:
        """The memberships that a server's users had in a state."""
        nids = await state_store.members_of_server(self._reader, root, server)
        events = await self._events.by_nids(nids)
        return frozenset(
            history_visibility.read_membership(kept.event.content)
            for kept in events.values()
            if kept.event.type == MEMBER
        )
