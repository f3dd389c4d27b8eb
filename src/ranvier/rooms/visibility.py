"""Which events of a room a user may see, and what they were in the room at each."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from ranvier.protocol import history_visibility
from ranvier.rooms.events import Events
from ranvier.rooms.heads import MEMBER, Head, Heads, Room
from ranvier.rooms.preferences import Preferences
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

    def __init__(self, database: Database, heads: Heads, events: Events, preferences: Preferences) -> None:
        self._database = database
        self._heads = heads
        self._events = events
        self._preferences = preferences

    async def ignored_by(self, user_id: str) -> frozenset[str]:
        """The users whose messages are not shown to this one; their state events are, as rooms depend on them."""
        return (await self._preferences.of(user_id)).ignored

    async def filter(self, room: Room, user_id: str, kept: Iterable[StoredEvent]) -> list[Seen]:
        """Those of the events that the user may see, in the same order."""
        head = await self._heads.fault_in(room, [user_id])
        stories: dict[int, _Story | None] = {}
        seen = []
        for one in kept:
            if one.judgement is not Judgement.ACCEPTED:
                continue
            if joined_throughout(head, user_id, one):
                seen.append(Seen(one, "join"))
                continue
            if one.state_line not in stories:
                stories[one.state_line] = await self._story(one.state_line, user_id)
            membership = await self._membership_if_visible(head, user_id, one, stories[one.state_line])
            if membership is not None:
                seen.append(Seen(one, membership))
        return seen

    async def may_see(self, room: Room, user_id: str, kept: StoredEvent) -> bool:
        """Whether the user may see one event."""
        return bool(await self.filter(room, user_id, [kept]))

    async def _membership_if_visible(
        self, head: Head, user_id: str, kept: StoredEvent, story: _Story | None
    ) -> str | None:
        if story is not None:
            visibility, before = story.at(kept.state_version)
            since = story.joined_after(kept.state_version) or _is_joined(head, user_id)
        else:
            visibility, before = await self._at(kept, user_id)
            since = await self._joined_since(head, user_id, kept)
        event = kept.event
        if not history_visibility.may_see(event, user_id, visibility, before, joined_since=since):
            return None
        return history_visibility.membership_with(event, user_id, before)

    async def _story(self, line: int, user_id: str) -> _Story | None:
        member = (MEMBER, user_id)
        told = await state_store.story(self._database, line, [_VISIBILITY, member])
        if told is None:
            return None
        events = await self._events.by_nids(
            [nid for changes in told.values() for _, nid in changes if nid is not None]
        )

        def contents(key: Key) -> list[tuple[int, dict[str, Any] | None]]:
            return [
                (version, events[nid].event.content if nid is not None else None)
                for version, nid in told[key]
            ]

        return _Story(
            [(v, history_visibility.read_visibility(content)) for v, content in contents(_VISIBILITY)],
            [(v, history_visibility.read_membership(content)) for v, content in contents(member)],
        )

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
        if (MEMBER, user_id) not in head.state:
            return False
        if _is_joined(head, user_id):
            return True
        return await state_store.had_membership_since(
            self._database, kept.state_line, kept.state_version, user_id, "join"
        )


class _Story:
    """A line's history visibility and one user's membership, by the version that brought each."""

    __slots__ = ("_memberships", "_visibilities")

    def __init__(self, visibilities: list[tuple[int, str]], memberships: list[tuple[int, str]]) -> None:
        self._visibilities = visibilities
        self._memberships = memberships

    def at(self, version: int) -> tuple[str, str]:
        """Both at a version of the line."""
        return (
            _value_at(self._visibilities, version) or history_visibility.DEFAULT_VISIBILITY,
            _value_at(self._memberships, version) or history_visibility.NO_MEMBERSHIP,
        )

    def joined_after(self, version: int) -> bool:
        """Whether the user joined after a version."""
        return any(at > version and membership == "join" for at, membership in self._memberships)


def _value_at(changes: list[tuple[int, str]], version: int) -> str | None:
    place = bisect_right(changes, version, key=itemgetter(0))
    return changes[place - 1][1] if place else None


def _is_joined(head: Head, user_id: str) -> bool:
    member = head.state.get((MEMBER, user_id))
    return member is not None and member.event.content.get("membership") == "join"


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
