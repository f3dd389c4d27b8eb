"""Reading the state of rooms, as it is now or was at some moment.

Source: Client-Server API, "Getting events for a room".
"""

from collections.abc import Iterable, Sequence

from ranvier.protocol.refusal import not_found
from ranvier.rooms.access import Access, Accesses
from ranvier.rooms.events import Events
from ranvier.rooms.heads import MEMBER, Heads
from ranvier.rooms.pagination import END, Place
from ranvier.store import events as events_store
from ranvier.store import state as store
from ranvier.store.database import Database
from ranvier.store.events import Judgement, StoredEvent
from ranvier.store.state import Key, Root


class RoomState:
    """Reads state on users' behalf: members read what is now, who has left what was when they left."""

    def __init__(self, database: Database, heads: Heads, events: Events, accesses: Accesses) -> None:
        self._database = database
        self._heads = heads
        self._events = events
        self._accesses = accesses

    async def whole(self, user_id: str, room_id: str) -> list[StoredEvent]:
        """All state that the user may read."""
        access = await self._accesses.of(user_id, room_id)
        return list((await self._all(access)).values())

    async def get(self, user_id: str, room_id: str, kind: str, state_key: str) -> StoredEvent:
        """One state event; M_NOT_FOUND if there is none of this key."""
        access = await self._accesses.of(user_id, room_id)
        key = (kind, state_key)
        if access.departure is None:
            head = await self._heads.fault_in(access.room, [state_key]) if kind == MEMBER else access.head
            kept = head.state.get(key)
        else:
            kept = (await self.some_after(access.departure, [key])).get(key)
        if kept is None:
            raise not_found(f"The room has no state '{kind}' with the state key '{state_key}'.")
        return kept

    async def members(self, user_id: str, room_id: str, at: Place | None = None) -> list[StoredEvent]:
        """All memberships, now or at a place of the history that is not beyond what the user may see."""
        access = await self._accesses.of(user_id, room_id)
        if at is not None:
            kept = await self._newest_before(access, at) or await self._beginning(access)
            if kept is not None and not self._is_newest(access, kept):
                state = await self.all_after(kept)
                return [one for (kind, _), one in state.items() if kind == MEMBER]
        return [one for (kind, _), one in (await self._all(access)).items() if kind == MEMBER]

    async def joined_members(self, user_id: str, room_id: str) -> list[StoredEvent]:
        """The memberships of those who are in the room, for one who is in it too."""
        access = await self._accesses.joined(user_id, room_id)
        head = await self._heads.fault_in_all(access.room)
        return [
            kept
            for (kind, _), kept in head.state.items()
            if kind == MEMBER and kept is not None and kept.event.content.get("membership") == "join"
        ]

    async def all_after(self, kept: StoredEvent, *, members: bool = True) -> dict[Key, StoredEvent]:
        """The whole state once an event holds, memberships left out unless they are wanted."""
        change = None
        if kept.event.state_key is not None:
            change = ((kept.event.type, kept.event.state_key), kept.nid)
        root = Root(kept.state_line, kept.state_version)
        nids = await store.after(self._database, root, change, members=members)
        events = await self._events.by_nids(list(nids.values()))
        return {key: events[nid] for key, nid in nids.items()}

    async def some_after(self, kept: StoredEvent, keys: Sequence[Key]) -> dict[Key, StoredEvent]:
        """Some keys of the state once an event holds; those that it lacks are left out."""
        root = Root(kept.state_line, kept.state_version)
        nids = await store.values_at(self._database, [(root, key) for key in keys])
        events = await self._events.by_nids([nid for nid in nids if nid is not None])
        found = {key: events[nid] for key, nid in zip(keys, nids, strict=True) if nid is not None}
        if kept.event.state_key is not None and (kept.event.type, kept.event.state_key) in keys:
            found[kept.event.type, kept.event.state_key] = kept
        return found

    async def members_for(
        self, access: Access, kept: StoredEvent, user_ids: Iterable[str]
    ) -> list[StoredEvent]:
        """The memberships of some users once an event holds; from memory where nothing changed since."""
        head = await self._heads.fault_in(access.room, user_ids)
        found, unsure = [], []
        for user_id in dict.fromkeys(user_ids):
            standing = head.state.get((MEMBER, user_id))
            if (
                standing is not None
                and standing.state_line == kept.state_line
                and standing.state_version < kept.state_version
            ):
                found.append(standing)
            else:
                unsure.append((MEMBER, user_id))
        if unsure:
            found += (await self.some_after(kept, unsure)).values()
        return found

    async def _all(self, access: Access) -> dict[Key, StoredEvent]:
        if access.departure is not None:
            return await self.all_after(access.departure)
        head = await self._heads.fault_in_all(access.room)
        return {key: kept for key, kept in head.state.items() if kept is not None}

    async def _newest_before(self, access: Access, at: Place) -> StoredEvent | None:
        """The newest event of the history before a place."""
        high = at
        for _ in range(10):
            nids = await events_store.history(
                self._database, access.room.nid, before=high.at, after=(0, 0), backwards=True, limit=20
            )
            events = await self._events.by_nids(nids)
            for nid in nids:
                if events[nid].judgement is Judgement.ACCEPTED and at.has(events[nid]):
                    return events[nid]
            if not nids:
                return None
            high = Place(events[nids[-1]].event.depth, nids[-1])
        return None

    async def _beginning(self, access: Access) -> StoredEvent | None:
        """The first membership: before the first event there is nobody, so the room as it began stands for that."""
        nids = await events_store.history(
            self._database, access.room.nid, before=END.at, after=(0, 0), backwards=False, limit=20
        )
        events = await self._events.by_nids(nids)
        return next((events[nid] for nid in nids if events[nid].event.type == MEMBER), None)

    def _is_newest(self, access: Access, kept: StoredEvent) -> bool:
        """Whether nothing that the user may see is newer."""
        limit = access.departure
        if limit is not None:
            return (kept.event.depth, kept.nid) >= (limit.event.depth, limit.nid)
        return kept in access.head.extremities
