"""Which events of a room a user may see, and what they were in the room at each."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ranvier.protocol import history_visibility
from ranvier.rooms.events import Events
from ranvier.rooms.heads import MEMBER, Head, Heads, Room
from ranvier.store import state as state_store
from ranvier.store.database import Database
from ranvier.store.events import Judgement, StoredEvent
from ranvier.store.state import Key, Root

_VISIBILITY: Key = ("m.room.history_visibility", "")


class Seen(NamedTuple):
    """An event that the user may see, and their membership once it holds."""

    kept: StoredEvent
    membership: str


class Visibility:
    """Decides from the state at each event; the common cases without asking the store."""

    def __init__(self, database: Database, heads: Heads, events: Events) -> None:
        self._database = database
        self._heads = heads
        self._events = events

    async def filter(self, room: Room, user_id: str, kept: Iterable[StoredEvent]) -> list[Seen]:
        """Those of the events that the user may see, in the same order."""
        head = await self._heads.fault_in(room, [user_id])
        seen = []
        for one in kept:
            membership = await self._membership_if_visible(head, user_id, one)
            if membership is not None:
                seen.append(Seen(one, membership))
        return seen

    async def may_see(self, room: Room, user_id: str, kept: StoredEvent) -> bool:
        """Whether the user may see one event."""
        return bool(await self.filter(room, user_id, [kept]))

    async def _membership_if_visible(self, head: Head, user_id: str, kept: StoredEvent) -> str | None:
        if kept.judgement is not Judgement.ACCEPTED:
            return None
        if joined_throughout(head, user_id, kept):
            return "join"
        visibility, before = await self._at(kept, user_id)
        since = await self._joined_since(head, user_id, kept)
        event = kept.event
        if not history_visibility.may_see(event, user_id, visibility, before, joined_since=since):
            return None
        return history_visibility.membership_with(event, user_id, before)

    async def _at(self, kept: StoredEvent, user_id: str) -> tuple[str, str]:
        """The room's visibility and the user's membership before an event."""
        root = Root(kept.state_line, kept.state_version)
        member = (MEMBER, user_id)
        nids = await state_store.keys_at(self._database, root, [_VISIBILITY, member])
        events = await self._events.by_nids(list(nids.values()))
        contents = {key: events[nid].event.content for key, nid in nids.items()}
        return (
            history_visibility.read_visibility(contents.get(_VISIBILITY)),
            history_visibility.read_membership(contents.get(member)),
        )

    async def _joined_since(self, head: Head, user_id: str, kept: StoredEvent) -> bool:
        """Whether the user was in the room at any point after the event."""
        member = head.state.get((MEMBER, user_id))
        if member is None:
            return False
        if member.event.content.get("membership") == "join":
            return True
        return await state_store.had_membership_since(
            self._database, kept.state_line, kept.state_version, user_id, "join"
        )


def joined_throughout(head: Head, user_id: str, kept: StoredEvent) -> bool:
    """Whether the user's membership that stands now, a join, was there before the event already."""
    member = head.state.get((MEMBER, user_id))
    return (
        member is not None
        and member.state_line == kept.state_line
        and member.state_version < kept.state_version
        and member.event.content.get("membership") == "join"
    )


def all_joined_throughout(head: Head, user_id: str, kept: Sequence[StoredEvent]) -> bool:
    """`joined_throughout` for a run of events in the order of the room: the oldest decides."""
    return not kept or joined_throughout(head, user_id, kept[0])
