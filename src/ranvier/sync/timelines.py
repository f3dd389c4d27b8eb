"""A room's part of a sync answer, gathered: its timeline and its state, for one reader."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ranvier.protocol.events import Event
from ranvier.protocol.filters import EventFilter
from ranvier.protocol.history_visibility import read_membership
from ranvier.rooms.access import Accesses
from ranvier.rooms.events import Events
from ranvier.rooms.heads import MEMBER, Head, Heads, Room, TimelineItem
from ranvier.rooms.pagination import Place, place_after, place_before
from ranvier.rooms.preferences import Preference
from ranvier.rooms.visibility import Visibility, all_joined_throughout
from ranvier.store import state as state_store
from ranvier.store import timeline as timeline_store
from ranvier.store.database import Database
from ranvier.store.events import StoredEvent
from ranvier.store.log import Kind, Tail, room_audience
from ranvier.store.state import Key, Root
from ranvier.sync.news import RoomNews

DEFAULT_LIMIT = 10
_PAGE = 50
_PAGES = 6
"""Pages of history that are looked through for events that a filter lets pass."""

State = dict[Key, StoredEvent]


@dataclass(frozen=True, slots=True)
class Shown:
    """An event of the timeline, and the reader's membership when it was sent."""

    item: TimelineItem
    membership: str


@dataclass(slots=True)
class Gathered:
    """What a room has for a reader: `version` is the room's at the end of the timeline.

    `items` are all versions with an event from some point, at or before the timeline's start, to the end, shown or not.
    With `tangled`, the room's state changed otherwise than by the events of `items` alone.
    `stay_end` is the version with which the reader left, after which the room's state is none of their concern: the
    timeline may go on with a ban. `summary` is given where it may have changed.
    """

    room: Room
    version: int
    items: Sequence[TimelineItem] = ()
    timeline: list[Shown] = field(default_factory=list)
    limited: bool = False
    prev_batch: Place | None = None
    state: list[StoredEvent] = field(default_factory=list)
    stay_end: int | None = None
    summary: dict[str, Any] | None = None
    tangled: bool = False

    @property
    def start(self) -> int:
        """The version before the timeline's first event."""
        return self.timeline[0].item.version - 1 if self.timeline else self.version

    @property
    def state_end(self) -> int:
        """The last version whose state the reader may know."""
        return self.version if self.stay_end is None else min(self.version, self.stay_end)

    def state_before(self, state: State) -> State:
        """The state with which the timeline leads to `state`, the one at `state_end`, unless it is `tangled`.

        What is changed by an event that the timeline does not show is in it as it is at the end.
        """
        earlier = dict(state)
        start, shown = self.start, {one.item.version for one in self.timeline}
        settled: set[Key] = set()
        for item in reversed(self.items):
            event = item.kept.event
            if event.state_key is None or not start < item.version <= self.state_end:
                continue
            key = (event.type, event.state_key)
            if item.version not in shown:
                settled.add(key)
            elif key not in settled and item.replaced is not None:
                earlier[key] = item.replaced
            elif key not in settled:
                earlier.pop(key, None)
        return earlier


class Timelines:
    """Gathers timelines and state; of a room's timeline at most `longest` events, where that is given."""

    def __init__(
        self,
        database: Database,
        tail: Tail,
        heads: Heads,
        events: Events,
        visibility: Visibility,
        accesses: Accesses,
        longest: int | None = None,
    ) -> None:
        self._database = database
        self._tail = tail
        self._heads = heads
        self._events = events
        self._visibility = visibility
        self._accesses = accesses
        self._longest = longest

    def _limit(self, wanted: EventFilter) -> int:
        """How many events of a room an answer holds at most."""
        limit = wanted.limit_or(DEFAULT_LIMIT)
        return limit if self._longest is None else min(limit, self._longest)

    async def preference_of(self, user_id: str) -> Preference:
        """What the user wants to hear of."""
        return await self._visibility.preference_of(user_id)

    async def version_at(self, room: Room, until: int) -> int:
        """The room's timeline version at a position."""
        head = room.head
        while head is None:
            await self._heads.fault_in(room, ())
            head = room.head
        if not self._tail.reaches(until):
            # Much happened while this answer was gathered.
            version = await timeline_store.version_at(self._database, room.nid, until)
            return head.version if version is None else version
        audience = room_audience(room.nid)
        if self._tail.latest(audience) > until:
            for entry in self._tail.between(until, self._tail.tip):
                if entry.audience == audience and entry.kind in (Kind.EVENT, Kind.STATE):
                    return int(entry.ref) - 1
        return head.version

    async def whole(
        self, room: Room, user_id: str, version: int, wanted: EventFilter, *, own: int = 0
    ) -> Gathered:
        """The newest events up to a version, for one who has none yet; `own` as for `since`."""
        gathered = Gathered(room, version)
        limit = self._limit(wanted)
        items: list[TimelineItem] = []
        below = version
        blocked = _blocks_all(wanted, room)
        for _ in range(1 if blocked else _PAGES):
            page = await self._page(room, below, max(limit, DEFAULT_LIMIT if wanted.wants_all() else _PAGE))
            if not page:
                break
            connected, has_gap = _after_gap(page)
            items = [*connected, *items]
            below = connected[0].version - 1
            gathered.timeline, cut = await self._show(room, user_id, items, wanted, own)
            gathered.limited = not blocked and (cut or has_gap or below > 0 or len(gathered.timeline) > limit)
            if cut or has_gap or len(gathered.timeline) >= limit:
                break
        gathered.timeline = gathered.timeline[-limit:] if limit else []
        self._place_prev_batch(gathered, items)
        return gathered

    async def since(
        self, room: Room, user_id: str, news: RoomNews, until: int, wanted: EventFilter, *, own: int = 0
    ) -> Gathered:
        """What is new in a room that the reader was in all the time, up to a version.

        `own` is the number of an event that concerns the reader whatever they may see: it ends their membership.
        """
        gathered = Gathered(room, until)
        limit = self._limit(wanted)
        items: Sequence[TimelineItem]
        if news.at_hand():
            items = [item for item in await self._as_they_are(news) if item.version <= until]
        else:
            items = await self._heads.timeline(
                room, until=until, after=news.first - 1, limit=max(limit, _PAGE)
            )
        # Rows without an event are not counted: fewer than were asked for are all.
        complete = len(items) < max(limit, _PAGE) or items[0].version == news.first
        items, has_gap = _after_gap(items)
        shown, cut = await self._show(room, user_id, items, wanted, own)
        blocked = _blocks_all(wanted, room)
        gathered.limited = not blocked and (cut or has_gap or len(shown) > limit or not complete)
        gathered.timeline = shown[-limit:] if limit else []
        self._place_prev_batch(gathered, items)
        return gathered

    async def _as_they_are(self, news: RoomNews) -> Sequence[TimelineItem]:
        """The new events without what was redacted since they were new."""
        if not news.redacted:
            return news.items
        now = await self._events.by_nids(list(news.redacted))

        def fresh(kept: StoredEvent) -> StoredEvent:
            return now.get(kept.nid, kept)

        return [
            replace(item, kept=fresh(item.kept), replaced=fresh(item.replaced) if item.replaced else None)
            for item in news.items
        ]

    async def _page(self, room: Room, until: int, limit: int) -> Sequence[TimelineItem]:
        recent = await self._heads.recent(room)
        if recent and recent[0].version <= until <= recent[-1].version:
            items = [item for item in recent if item.version <= until]
            if len(items) >= limit or items[0].version == 1:
                return items[-limit:]
        return await self._heads.timeline(room, until=until, limit=limit)

    async def _show(
        self, room: Room, user_id: str, items: Sequence[TimelineItem], wanted: EventFilter, own: int
    ) -> tuple[list[Shown], bool]:
        """What the reader may see and wants of these, and whether it was cut.

        It begins after the last change of state that the reader may not see: who is given the state before it and
        what came since could not know of that.
        """
        if _blocks_all(wanted, room):
            return [], False
        head = await self._heads.fault_in(room, [user_id])
        cut = False
        if all_joined_throughout(head, user_id, [item.kept for item in items]):
            shown = [Shown(item, "join") for item in items]
        else:
            seen = await self._visibility.filter(room, user_id, [item.kept for item in items])
            by_nid = {one.kept.nid: one.membership for one in seen}
            by_nid |= {i.kept.nid: read_membership(i.kept.event.content) for i in items if i.kept.nid == own}
            hidden = [i.version for i in items if i.kept.event.is_state and i.kept.nid not in by_nid]
            after = hidden[-1] if hidden else 0
            cut = any(item.version < after and item.kept.nid in by_nid for item in items)
            shown = [
                Shown(i, by_nid[i.kept.nid]) for i in items if i.version > after and i.kept.nid in by_nid
            ]
        if not wanted.wants_all():
            shown = [one for one in shown if wanted.wants_event(one.item.kept.event)]
        ignored = await self._visibility.ignored_by(user_id)
        if ignored:
            shown = [one for one in shown if _is_heard(one.item.kept.event, ignored)]
        return shown, cut

    def _place_prev_batch(self, gathered: Gathered, items: Sequence[TimelineItem]) -> None:
        gathered.items = items
        is_gapless = not items or gathered.version - items[0].version + 1 == len(items)
        gathered.tangled = not is_gapless or any(item.tangled for item in items)
        if gathered.timeline:
            gathered.prev_batch = _place_of_earlier(gathered.room, gathered.timeline[0].item, items)
        elif items:
            gathered.prev_batch = place_after(items[-1].kept)

    # State

    async def state_at(self, room: Room, version: int, *, members: bool) -> State:
        """The room's state after a version; with `members`, all of them."""
        head = await self._heads.fault_in_all(room) if members else room.head
        while head is None:
            head = await self._heads.fault_in(room, ())
        if head.version == version:
            return {
                k: kept for k, kept in head.state.items() if kept is not None and (members or k[0] != MEMBER)
            }
        root = await timeline_store.root_at(self._database, room.nid, version)
        assert root is not None
        nids = await state_store.at(self._database, root, members=members)
        events = await self._events.by_nids(list(nids.values()))
        return {key: events[nid] for key, nid in nids.items()}

    async def before_timeline(self, gathered: Gathered, state: State) -> State:
        """The state with which the timeline leads to `state`, the one at `state_end`.

        Where branches met, a key is taken back only if it holds an event that the timeline shows: all else is as it is
        at the end, since no event of the timeline would bring it about.
        """
        if not gathered.tangled:
            return gathered.state_before(state)
        shown = {one.item.kept.nid for one in gathered.timeline if one.item.version <= gathered.state_end}
        keys = [key for key, kept in state.items() if kept.nid in shown]
        if not keys:
            return state
        root = await timeline_store.root_at(self._database, gathered.room.nid, gathered.start)
        if root is None:
            first = gathered.timeline[0].item.kept
            root = Root(first.state_line, first.state_version)
        nids = await state_store.keys_at(self._database, root, keys)
        events = await self._events.by_nids(list(nids.values()))
        earlier = {key: kept for key, kept in state.items() if key not in keys}
        return earlier | {key: events[nid] for key, nid in nids.items()}

    async def members_at(self, room: Room, version: int, user_ids: Iterable[str]) -> State:
        """The memberships of some users after a version."""
        head: Head = await self._heads.fault_in(room, user_ids)
        if head.version == version:
            found = {(MEMBER, user_id): head.state.get((MEMBER, user_id)) for user_id in user_ids}
            return {key: kept for key, kept in found.items() if kept is not None}
        root = await timeline_store.root_at(self._database, room.nid, version)
        assert root is not None
        nids = await state_store.keys_at(self._database, root, [(MEMBER, user_id) for user_id in user_ids])
        events = await self._events.by_nids(list(nids.values()))
        return {key: events[nid] for key, nid in nids.items()}

    async def senders_of(self, gathered: Gathered, known: State) -> State:
        """The memberships of the timeline's senders whom the room's state lacks so far, as their events name them.

        There are none but in a room that was joined a moment ago, whose members are still to come (MSC3902).
        """
        head = gathered.room.head
        if head is None or not head.partial:
            return {}
        shown = [one.item.kept.event for one in gathered.timeline]
        unknown = {event.sender for event in shown} - {key[1] for key in known if key[0] == MEMBER}
        named = [name for event in shown if event.sender in unknown for name in event.auth_events]
        found = (await self._events.by_ids(named)).values()
        return {
            (MEMBER, kept.event.state_key): kept
            for kept in found
            if kept.event.type == MEMBER and kept.event.state_key in unknown
        }

    async def version_of(self, nid: int) -> int:
        """The version of its room's timeline that an event made; 0 if it never entered it."""
        kept = (await self._events.by_nids([nid])).get(nid)
        return kept.timeline_version if kept is not None else 0

    async def stay_end(self, user_id: str, nid: int) -> int:
        """The version with which the user's last stay in the room ended, 0 if they never were in it.

        `nid` is the number of the event that makes them what they are now, not in the room.
        """
        events = await self._events.by_nids([nid])
        end = await self._accesses.end_of_stay(user_id, events[nid]) if nid in events else None
        return end.timeline_version if end is not None else 0

    async def membership_of(self, nid: int | None) -> str:
        """The membership that an event sets, by its number."""
        events = await self._events.by_nids([nid]) if nid is not None else {}
        return read_membership(events[nid].event.content if nid in events else None)

    async def changes(self, room: Room, after: int, until: int) -> State:
        """The state that changed after one version and up to another."""
        if until <= after:
            return {}
        old = await timeline_store.root_at(self._database, room.nid, after)
        new = await timeline_store.root_at(self._database, room.nid, until)
        assert old is not None and new is not None
        changed = await self._changed_keys(old, new)
        events = await self._events.by_nids([nid for nid in changed.values() if nid is not None])
        return {key: events[nid] for key, nid in changed.items() if nid is not None}

    async def _changed_keys(self, old: Root, new: Root) -> Mapping[Key, int | None]:
        if old.line == new.line:
            return await state_store.changes_between(self._database, old.line, old.version, new.version)
        return await state_store.changes_from(self._database, old, new)


def _place_of_earlier(room: Room, first: TimelineItem, items: Sequence[TimelineItem]) -> Place:
    """The place from which backwards is all that had come before an event: where branches met, some of it is deeper."""
    place = place_before(first.kept)
    if room.is_in_order_since(items[0].version if items else first.version):
        return place
    earlier = [place_after(one.kept) for one in (*(room.recent or ()), *items) if one.version < first.version]
    deepest = max(earlier, default=place)
    return deepest._replace(until=first.version - 1) if deepest > place else place


def _blocks_all(wanted: EventFilter, room: Room) -> bool:
    """Whether nothing of the room can pass, however much of it were given."""
    return not wanted.wants_room(room.room_id) or (wanted.limit != 0 and wanted.wants_none())


def _after_gap(items: Sequence[TimelineItem]) -> tuple[Sequence[TimelineItem], bool]:
    """What comes after the newest gap among the items, and whether there is one."""
    for place in range(len(items) - 1, -1, -1):
        if items[place].after_gap:
            return items[place:], True
    return items, False


def _is_heard(event: Event, ignored: frozenset[str]) -> bool:
    return event.is_state or event.sender not in ignored
