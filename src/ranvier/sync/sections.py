"""The parts of an answer that belong to one room, as bytes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import takewhile
from typing import Any

import orjson

from ranvier.protocol.events import Event
from ranvier.protocol.filters import EventFilter, Filter
from ranvier.rooms.events import Events
from ranvier.rooms.heads import MEMBER, Heads, Room
from ranvier.rooms.relations import Relations
from ranvier.store import rooms as rooms_store
from ranvier.store.database import Database
from ranvier.store.events import StoredEvent
from ranvier.store.rooms import Membership
from ranvier.sync.lazy_members import SentMembers
from ranvier.sync.request import SyncRequest
from ranvier.sync.shaping import EventShaper, events_json, object_json
from ranvier.sync.timelines import Gathered, State, Timelines

HEROES = 5


class RoomSections:
    """Shapes what was gathered of rooms."""

    def __init__(
        self,
        database: Database,
        heads: Heads,
        events: Events,
        relations: Relations,
        timelines: Timelines,
        now: Callable[[], int],
    ) -> None:
        self._database = database
        self._heads = heads
        self._events = events
        self._relations = relations
        self._timelines = timelines
        self._now = now

    async def shaper(self, request: SyncRequest, gathered: Iterable[Gathered]) -> EventShaper:
        """A shaper that knows the aggregations and redactions of these rooms' timelines."""
        shown = [one.item.kept for room in gathered for one in room.timeline]
        parents = [event for room in gathered for event in _possible_parents(room)]
        bundles: Mapping[str, Mapping[str, Any]] = {}
        if parents:
            bundles = await self._relations.bundles(parents, request.user_id)
        redactions = {}
        for kept in shown:
            if kept.redacted_by is not None:
                by = await self._events.by_id(kept.redacted_by)
                if by is not None:
                    redactions[kept.redacted_by] = by
        return EventShaper(
            self._now(), request.user_id, request.device_id, request.filter, bundles, redactions
        )

    # State, as the request wants it

    async def whole_state(
        self, request: SyncRequest, gathered: Gathered, sent: SentMembers | None, token: str
    ) -> None:
        """The state of a room that the reader has nothing of yet."""
        wanted = request.filter.room.state
        lazy = sent is not None
        state = await self._timelines.state_at(gathered.room, gathered.state_end, members=not lazy)
        if sent is not None:
            users = _named_users(gathered) | {request.user_id}
            state.update(await self._timelines.members_at(gathered.room, gathered.state_end, users))
        if not request.use_state_after:
            state = await self._timelines.before_timeline(gathered, state)
            if sent is not None:
                keep = {(MEMBER, user) for user in users}
                state = {key: kept for key, kept in state.items() if key[0] != MEMBER or key in keep}
        if sent is not None:
            state.update(await self._timelines.senders_of(gathered, state))
        self._take_state(gathered, state, wanted, sent, token)

    async def changed_state(
        self, request: SyncRequest, gathered: Gathered, first: int, sent: SentMembers | None, token: str
    ) -> None:
        """The state that changed between the reader's token and the timeline, or its end."""
        wanted = request.filter.room.state
        until = gathered.state_end if request.use_state_after else min(gathered.start, gathered.state_end)
        at_hand = bool(gathered.items) and gathered.items[0].version == first and not gathered.tangled
        state: State = {}
        if gathered.tangled or not gathered.items:
            # Branches met: what changed shows only by comparing.
            changed = await self._timelines.changes(gathered.room, first - 1, gathered.state_end)
            shown_nids = {one.item.kept.nid for one in gathered.timeline}
            state = {
                key: kept
                for key, kept in changed.items()
                if request.use_state_after or kept.nid not in shown_nids
            }
        else:
            if not at_hand:
                state = await self._timelines.changes(gathered.room, first - 1, until)
            _add_changes(gathered, state, until)
        if sent is not None:
            state.update(await self._missing_members(request, gathered, state, sent))
        self._take_state(gathered, state, wanted, sent, token)

    async def own_membership(self, request: SyncRequest, gathered: Gathered, nid: int) -> None:
        """With `state_after`, what became of the reader, where the room's state is not for them any more."""
        events = await self._events.by_nids([nid]) if request.use_state_after else {}
        if all(kept.nid != nid for kept in gathered.state):
            gathered.state += _wanted(events.values(), request.filter.room.state, gathered.room)

    def _take_state(
        self, gathered: Gathered, state: State, wanted: EventFilter, sent: SentMembers | None, token: str
    ) -> None:
        gathered.state = _wanted(state.values(), wanted, gathered.room)
        if sent is not None:
            _remember(sent, token, gathered.state)

    async def _missing_members(
        self, request: SyncRequest, gathered: Gathered, state: State, sent: SentMembers
    ) -> State:
        """Members whom the timeline or the summary names and whom the device lacks."""
        users = _named_users(gathered)
        users -= {key[1] for key in state if key[0] == MEMBER}
        if not users:
            return {}
        members = await self._timelines.members_at(gathered.room, gathered.state_end, users)
        if not request.use_state_after:
            members = await self._timelines.before_timeline(gathered, members)
        members.update(await self._timelines.senders_of(gathered, members))
        redundant = request.filter.room.state.include_redundant_members
        return {
            key: kept
            for key, kept in members.items()
            if key[0] == MEMBER and key[1] in users and (redundant or kept.nid not in sent.certain)
        }

    # Bytes

    def timeline(self, gathered: Gathered, shaper: EventShaper) -> bytes:
        """The timeline's JSON."""
        events = b",".join([shaper.shown(shown) for shown in gathered.timeline])
        limited = b"true" if gathered.limited else b"false"
        batch = b""
        if gathered.prev_batch is not None:
            batch = b',"prev_batch":"%b"' % str(gathered.prev_batch).encode()
        return b'{"events":[%b],"limited":%b%b}' % (events, limited, batch)

    def state(self, gathered: Gathered, shaper: EventShaper) -> bytes:
        """The state's JSON."""
        return events_json([shaper.state(kept) for kept in gathered.state])

    async def summary(self, room: Room, user_id: str) -> dict[str, Any]:
        """The room's summary: how many members, and whose names to show where it has none of its own."""
        counts = await self._heads.counts(room)
        head = room.head
        summary: dict[str, Any] = {
            "m.joined_member_count": counts.get("join", 0),
            "m.invited_member_count": counts.get("invite", 0),
        }
        named = head is not None and (
            head.content("m.room.name").get("name") or head.content("m.room.canonical_alias").get("alias")
        )
        if not named:
            users = await rooms_store.heroes(self._database, room.nid, ["join", "invite"], HEROES + 1)
            others = [user for user in users if user != user_id]
            if not others:
                users = await rooms_store.heroes(self._database, room.nid, ["leave", "ban"], HEROES + 1)
                others = [user for user in users if user != user_id]
            summary["m.heroes"] = others[:HEROES]
        return summary

    def invite(self, membership: Membership) -> bytes:
        """What an invited user sees of a room."""
        return object_json([(b'"invite_state"', _stripped(membership))])

    def knock(self, membership: Membership) -> bytes:
        """What one who knocks sees of a room."""
        return object_json([(b'"knock_state"', _stripped(membership))])

    def turned_away(self, membership: Membership) -> bytes:
        """What one sees of a room on other servers whose invite, or knock, came to nothing: the last of it."""
        return orjson.dumps({"timeline": {"events": membership.stripped_state or [], "limited": False}})


def _add_changes(gathered: Gathered, state: State, until: int) -> None:
    """What the events changed up to a version, and what those changed after it that the timeline does not show."""
    shown = {one.item.version for one in gathered.timeline}
    for item in gathered.items:
        event = item.kept.event
        if event.state_key is None or item.version > gathered.state_end:
            continue
        if item.version <= until or item.version not in shown:
            state[event.type, event.state_key] = item.kept


def _possible_parents(gathered: Gathered) -> Iterable[Event]:
    """Those events of the timeline to which others may relate.

    Children come later than what they relate to; where all that came later is at hand, it is looked at there.
    """
    recent = gathered.room.recent
    head = gathered.room.head
    events = [(one.item.version, one.item.kept.event) for one in gathered.timeline]
    if head is not None and events and events[0][0] == head.version:
        return ()
    if head is None or not recent or not events or recent[0].version > events[0][0] + 1:
        return [event for _, event in events]
    later = takewhile(lambda item: item.version > events[0][0], reversed(recent))
    named = {_parent_of(item.kept.event) for item in later}
    return [event for _, event in events if event.event_id in named]


def _parent_of(event: Event) -> object:
    relates_to = event.content.get("m.relates_to")
    parent = relates_to.get("event_id") if isinstance(relates_to, dict) else None
    return parent if isinstance(parent, str) else None


def lazily(wanted: Filter) -> bool:
    """Whether the client loads members lazily."""
    return wanted.room.state.lazy_load_members


def _named_users(gathered: Gathered) -> set[str]:
    """The users whom a client must be able to name: those who speak, and those whom the room is named after."""
    heroes = (gathered.summary or {}).get("m.heroes", ())
    return {*heroes, *(shown.item.kept.event.sender for shown in gathered.timeline)}


def _wanted(state: Iterable[StoredEvent], wanted: EventFilter, room: Room) -> list[StoredEvent]:
    if wanted.wants_all():
        return list(state)
    if wanted.wants_none() or not wanted.wants_room(room.room_id):
        return []
    return [kept for kept in state if wanted.wants_event(kept.event)]


def _remember(sent: SentMembers, token: str, state: Sequence[StoredEvent]) -> None:
    members = {kept.nid for kept in state if kept.event.type == MEMBER}
    if members:
        sent.pending.setdefault(token, set()).update(members)


def _stripped(membership: Membership) -> bytes:
    return orjson.dumps({"events": membership.stripped_state or []})
