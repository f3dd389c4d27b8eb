"""Who may read a room, and up to when.

Members read what is now; who has left reads what was when they left; a world-readable room is open to everybody.
"""

from dataclasses import dataclass
from typing import Final

from ranvier.protocol import history_visibility
from ranvier.protocol.refusal import forbidden
from ranvier.rooms.events import Events
from ranvier.rooms.heads import MEMBER, Head, Heads, Room
from ranvier.store import events as events_store
from ranvier.store import rooms as rooms_store
from ranvier.store import state as state_store
from ranvier.store.database import Database
from ranvier.store.events import StoredEvent
from ranvier.store.state import Root

_CHANGES: Final = 100
"""Memberships since the user's last stay that are looked through for its end."""


@dataclass(frozen=True, slots=True)
class Access:
    """A room as one user may read it: as it is now, or as it was after `departure` (their leave, kick or ban)."""

    room: Room
    head: Head
    departure: StoredEvent | None = None

    @property
    def is_current(self) -> bool:
        """Whether the user may read what the room is now."""
        return self.departure is None


class Accesses:
    """Decides what users may read of rooms."""

    def __init__(self, database: Database, heads: Heads, events: Events) -> None:
        self._database = database
        self._heads = heads
        self._events = events

    async def of(self, user_id: str, room_id: str) -> Access:
        """What the user may read; refused (M_FORBIDDEN) alike if the room is not there and if it is not for them."""
        room = self._heads.at_hand(room_id) or await self._heads.get(room_id)
        if room is not None:
            head = await self._heads.fault_in(room, [user_id])
            if is_joined(head, user_id) or is_world_readable(head):
                return Access(room, head)
            departure = await self._departure(room, head, user_id)
            if departure is not None:
                return Access(room, head, departure)
        raise forbidden(f"You are not in the room {room_id[:255]} and never were, or there is no such room.")

    async def joined(self, user_id: str, room_id: str) -> Access:
        """The room, for a member."""
        room = self._heads.at_hand(room_id) or await self._heads.get(room_id)
        if room is not None:
            head = await self._heads.fault_in(room, [user_id])
            if is_joined(head, user_id):
                return Access(room, head)
        raise forbidden(f"You are not in the room {room_id[:255]}, or there is no such room.")

    async def _departure(self, room: Room, head: Head, user_id: str) -> StoredEvent | None:
        """The event with which the user's last stay in the room ended; None if they forgot it or never were in it."""
        standing = head.state.get((MEMBER, user_id))
        if standing is None or standing.event.content.get("membership") not in ("leave", "ban"):
            return None
        membership = await rooms_store.membership(self._database, user_id, room.room_id)
        if membership is None or membership.forgotten:
            return None
        return await self.end_of_stay(user_id, standing)

    async def end_of_stay(self, user_id: str, standing: StoredEvent) -> StoredEvent | None:
        """The event that ended the user's last stay in a room before they became what they are now, not in it.

        None if they never were in the room.
        """
        later: StoredEvent | None = standing
        for _ in range(_CHANGES):
            if later is not None and not later.state_line:
                later = await self._newest_with_state(later, user_id)
            if later is None:
                return None
            root = Root(later.state_line, later.state_version)
            [nid] = await state_store.values_at(self._database, [(root, (MEMBER, user_id))])
            if nid is None:
                return None
            earlier = (await self._events.by_nids([nid]))[nid]
            if earlier.event.content.get("membership") == "join":
                return later
            later = earlier
        return None

    async def _newest_with_state(self, standing: StoredEvent, user_id: str) -> StoredEvent | None:
        """Where a peer told what the user became, without its place: the user's newest membership that has one."""
        nids = await events_store.memberships(self._database, standing.room, user_id)
        events = await self._events.by_nids(nids)
        placed = [one for one in events.values() if one.timeline_version]
        return max(placed, key=lambda one: one.timeline_version, default=None)


def is_joined(head: Head, user_id: str) -> bool:
    """Whether the user is in the room; the membership must have been faulted in."""
    member = head.state.get((MEMBER, user_id))
    return member is not None and member.event.content.get("membership") == "join"


def is_world_readable(head: Head) -> bool:
    """Whether the room, as it is now, is open to everybody."""
    kept = head.get("m.room.history_visibility")
    visibility = history_visibility.read_visibility(kept.event.content if kept is not None else None)
    return visibility == "world_readable"
