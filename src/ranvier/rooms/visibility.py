"""Which events of a room a user may see, and what they were in the room at each."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any, Final, NamedTuple

from ranvier.protocol import history_visibility
from ranvier.rooms.events import Events
from ranvier.rooms.heads import MEMBER, Head, Heads, Room
from ranvier.rooms.preferences import Preference, Preferences
from ranvier.store import events as events_store
from ranvier.store import state as state_store
from ranvier.store.database import Database
from ranvier.store.events import Judgement, StoredEvent
from ranvier.store.state import Key, Root

_STORIES: Final = 4
"""Lines of state that are read for the user as a whole; events on further lines are looked up."""
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

    async def preference_of(self, user_id: str) -> Preference:
        """What a user wants to see and hear of."""
        return await self._preferences.of(user_id)

    async def filter(self, room: Room, user_id: str, kept: Iterable[StoredEvent]) -> list[Seen]:
        """Those of the events that the user may see, in the same order."""
        head = await self._heads.fault_in(room, [user_id])
        accepted = [one for one in kept if one.judgement is Judgement.ACCEPTED]
        unsure = [one for one in accepted if not joined_throughout(head, user_id, one)]
        facts = await self._facts(head, user_id, unsure)
        seen = []
        for one in accepted:
            before = facts.get(one.nid)
            if before is None:
                seen.append(Seen(one, "join"))
                continue
            membership = before.membership_if_visible(one, user_id)
            if membership is not None:
                seen.append(Seen(one, membership))
        return seen

    async def may_see(self, room: Room, user_id: str, kept: StoredEvent) -> bool:
        """Whether the user may see one event."""
        return bool(await self.filter(room, user_id, [kept]))

    async def _facts(self, head: Head, user_id: str, kept: Sequence[StoredEvent]) -> dict[int, _Before]:
        """What decides on each of the events, by number."""
        if not kept:
            return {}
        told = await self._stories(user_id, kept)
        lone = [one for one in kept if one.state_line not in told]
        found = await self._at(user_id, lone)
        for one in kept:
            if one.state_line in told:
                found[one.nid] = told[one.state_line].at(one.state_version)
        joins = await self._joins(head, user_id, [one for one in kept if found[one.nid][0] == "shared"])
        return {
            one.nid: _Before(*found[one.nid], joined_since=joins is not None and joins.any_after(one))
            for one in kept
        }

    async def _stories(self, user_id: str, kept: Sequence[StoredEvent]) -> dict[int, _Story]:
        """The stories of lines that tell all of themselves, and are worth telling."""
        lines: dict[int, int] = {}
        for one in kept:
            lines[one.state_line] = lines.get(one.state_line, 0) + 1
        told = {}
        for line in sorted(lines, key=lambda each: -lines[each])[:_STORIES]:
            story = await self._story(line, user_id)
            if story is not None:
                told[line] = story
        return told

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

    async def _at(self, user_id: str, kept: Sequence[StoredEvent]) -> dict[int, tuple[str, str]]:
        """The room's visibility and the user's membership before events, by their numbers; one query for all."""
        if not kept:
            return {}
        keys = (_VISIBILITY, (MEMBER, user_id))
        wanted = [(Root(one.state_line, one.state_version), key) for one in kept for key in keys]
        nids = await state_store.values_at(self._database, wanted)
        events = await self._events.by_nids([nid for nid in nids if nid is not None])
        contents = [events[nid].event.content if nid is not None else None for nid in nids]
        return {
            one.nid: (
                history_visibility.read_visibility(contents[2 * place]),
                history_visibility.read_membership(contents[2 * place + 1]),
            )
            for place, one in enumerate(kept)
        }

    async def _joins(self, head: Head, user_id: str, kept: Sequence[StoredEvent]) -> _Joins | None:
        """When the user joined, if that matters for any of the events; None if they never did."""
        if not kept or head.state.get((MEMBER, user_id)) is None:
            return None
        if _is_joined(head, user_id):
            return _Joins(always=True)
        found = await events_store.memberships(self._database, kept[0].room, user_id)
        events = await self._events.by_nids(found)
        joins = [one for one in events.values() if one.event.content.get("membership") == "join"]
        return _Joins([one for one in joins if one.judgement is Judgement.ACCEPTED])


class _Before(NamedTuple):
    """The room's visibility and the user's membership before an event, and whether they joined after it."""

    visibility: str
    membership: str
    joined_since: bool

    def membership_if_visible(self, kept: StoredEvent, user_id: str) -> str | None:
        """The user's membership once the event holds; None if they may not see it."""
        visible = history_visibility.may_see(
            kept.event, user_id, self.visibility, self.membership, joined_since=self.joined_since
        )
        return history_visibility.membership_with(kept.event, user_id, self.membership) if visible else None


class _Joins:
    """The joins of one user, on whatever branch of the room's history."""

    __slots__ = ("_always", "_depth", "_version")

    def __init__(self, joins: Sequence[StoredEvent] = (), *, always: bool = False) -> None:
        self._always = always
        self._version = max((one.timeline_version for one in joins), default=0)
        self._depth = max((one.event.depth for one in joins), default=-1)

    def any_after(self, kept: StoredEvent) -> bool:
        """Whether one came after the event: to this server, or for what is only of the past, in the room's order."""
        if self._always:
            return True
        if kept.timeline_version and self._version:
            return self._version > kept.timeline_version
        return self._depth > kept.event.depth


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
        and kept.judgement is Judgement.ACCEPTED
        and member.event.content.get("membership") == "join"
    )


def all_joined_throughout(head: Head, user_id: str, kept: Iterable[StoredEvent]) -> bool:
    """Whether that is so of all events."""
    return all(joined_throughout(head, user_id, one) for one in kept)
