"""Heads: what a room is right now, in memory.

A head is a value: a version, the forward extremities, the resolved state as a persistent map, and the name of that
state in the store. A `Room` holds the newest committed head; readers may keep a head as long as they like, as it never
changes. Memberships are faulted in by key, so that a room of 100,000 members costs what is used of it.

A head is checked when something is appended to it (the room's timeline has one row for each version), so a stale one
costs a retry, never a wrong event.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from immutables import Map

from ranvier.protocol.refusal import Refusal
from ranvier.protocol.room_versions import ROOM_VERSIONS, RoomVersion
from ranvier.rooms.events import Events, cost_of
from ranvier.store import gaps as gaps_store
from ranvier.store import partial_rooms as partial_store
from ranvier.store import rooms as rooms_store
from ranvier.store import state as state_store
from ranvier.store import timeline as timeline_store
from ranvier.store.database import Database, Entry
from ranvier.store.events import StoredEvent
from ranvier.store.log import Kind, room_of
from ranvier.store.partial_rooms import PartialRoom
from ranvier.store.rooms import HeadRow
from ranvier.store.state import Key, Root

MEMBER = "m.room.member"
RECENT = 24
"""Events of the live timeline that a room in use keeps at hand."""
PATIENCE_S = 60
"""Seconds for which a request waits for members of a room whose state is partial."""
_AT_ONCE = 25
"""Rooms that are read together: on SQLite that takes the loop for some milliseconds."""
KEPT_MEMBERS = 2000
"""A room with more members is not held in memory as a whole."""
_ROOM_COST = 4096
_STATE_COST = 1500
"""Half of what an event takes: many a state event is in the cache of events as well."""


@dataclass(frozen=True, slots=True)
class Head:
    """A room after one version of its timeline.

    `state` maps (type, state_key) to the event; a membership that was looked up and isn't there is `None`. With
    `complete`, `state` holds all memberships, as in a room that was made since it is in memory. `state` is resolved
    from the states after all `extremities`. While it is `partial`, memberships are still to come from a peer.
    """

    version: int
    extremities: tuple[StoredEvent, ...]
    state: Map[Key, StoredEvent | None]
    root: Root
    complete: bool = False
    partial: bool = False

    @property
    def depth(self) -> int:
        """The depth of the next event."""
        return max((kept.event.depth for kept in self.extremities), default=0) + 1

    def get(self, kind: str, state_key: str = "") -> StoredEvent | None:
        """The state event of a key other than a membership."""
        return self.state.get((kind, state_key))

    def content(self, kind: str, state_key: str = "") -> dict[str, object]:
        """The content of that state event, empty if there is none."""
        kept = self.state.get((kind, state_key))
        return kept.event.content if kept is not None else {}


@dataclass(frozen=True, slots=True)
class TimelineItem:
    """One version of a room's timeline, the event that made it, and the root of the state after it.

    `replaced` is the state event whose place a state event took, if there was one. With `tangled`, the current state
    changed otherwise than by this event alone. With `after_gap`, some event just before it is missing here. With
    `by_peer`, another server gave the event, and tells all others of it, though it be of a user of ours whom it let in.
    """

    version: int
    kept: StoredEvent
    root_after: Root
    replaced: StoredEvent | None = None
    tangled: bool = False
    after_gap: bool = False
    by_peer: bool = False


class _NotEntered(LookupError):
    """The room's row is there, as its events may be, but nobody of ours ever came in."""


class Room:
    """A room in use: its newest committed head, and its newest live events.

    `recent` is contiguous and ends at the head's version, if it holds anything.
    """

    __slots__ = (
        "asked",
        "asked_at",
        "completed",
        "counted",
        "counters",
        "counts",
        "disorder",
        "epoch",
        "faulted",
        "has_gaps",
        "head",
        "is_whole",
        "moves",
        "named_servers",
        "nid",
        "recent",
        "room_id",
        "servers",
        "turn",
        "version",
        "weight",
    )

    def __init__(self, nid: int, room_id: str, version: RoomVersion) -> None:
        self.nid = nid
        self.room_id = room_id
        self.version = version
        self.head: Head | None = None
        self.recent: deque[TimelineItem] | None = None
        # The newest version of `recent` whose event does not come after the one before it by depth and number.
        self.disorder = 0
        # Users by membership, as of the version `counted`.
        self.counts: dict[str, int] | None = None
        self.counted = 0
        # What `rooms.unread` counts; it alone reads and writes this.
        self.counters: Any = None
        # Memberships that were looked up while events were on their way that were built without them.
        self.faulted: dict[Key, StoredEvent | None] = {}
        # Rises when what was read of the room so far is void.
        self.epoch = 0
        # Bytes that the events of `recent` take, as they may be cached nowhere else.
        self.weight = 0
        # Joined members by server, kept along with `counts`; `rooms.servers` fills it.
        self.servers: dict[str, int] | None = None
        # Rises with each membership that changed.
        self.moves = 0
        # The version that brought the rest of a partial state; set whenever the state is no longer partial.
        self.completed = 0
        self.is_whole = asyncio.Event()
        # Servers that a peer named while the room's state is partial.
        self.named_servers: frozenset[str] = frozenset()
        # Whether events that others refer to are absent.
        self.has_gaps = False
        # Held by what must not be overtaken again: others let it go first.
        self.turn = asyncio.Lock()
        # Whether it was asked for since `asked_at`; `rooms.catching_up` reads and resets this.
        self.asked = True
        self.asked_at = 0.0

    def move_member(self, user_id: str, *, was_joined: bool, is_joined: bool) -> None:
        """Keep the numbers of joined members by server."""
        self.moves += 1
        if self.servers is None or was_joined == is_joined:
            return
        server = user_id.partition(":")[2]
        number = self.servers.get(server, 0) + (1 if is_joined else -1)
        if number > 0:
            self.servers[server] = number
        else:
            self.servers.pop(server, None)

    def advance(self, head: Head, items: Iterable[TimelineItem]) -> None:
        """The head that was just committed takes the old one's place."""
        missing = {key: kept for key, kept in self.faulted.items() if key not in head.state}
        if missing and not head.complete:
            # Otherwise a busy room would forget newcomers as fast as they are looked up.
            head = replace(head, state=head.state.update(missing))
        self.faulted.clear()
        self.head = head
        if self.recent is not None:
            for item in items:
                if self.recent and not _comes_after(item, self.recent[-1]):
                    self.disorder = item.version
                if len(self.recent) == RECENT:
                    self.weight -= cost_of(self.recent.popleft().kept)
                self.recent.append(item)
                self.weight += cost_of(item.kept)

    def fault(self, head: Head, members: Mapping[Key, StoredEvent | None]) -> Head:
        """Memberships that were looked up enter the head."""
        self.faulted.update(members)
        self.head = replace(head, state=head.state.update(members))
        return self.head

    def keep_recent(self, items: Sequence[TimelineItem]) -> None:
        """The newest live events, up to the head's version."""
        self.recent = deque(items)
        turns = [later.version for item, later in pairwise(items) if not _comes_after(later, item)]
        self.disorder = turns[-1] if turns else 0
        self.weight = sum(cost_of(item.kept) for item in items)

    def is_in_order_since(self, version: int) -> bool:
        """Whether all events from a version on are at hand, each after the one before it by depth and number."""
        if not self.recent:
            return False
        return self.disorder <= self.recent[0].version <= version

    def forget_recent(self) -> None:
        """The newest live events are to be read anew."""
        self.recent = None
        self.weight = 0

    def cost(self) -> int:
        """Bytes that this takes in memory, about."""
        state = _STATE_COST * len(self.head.state) if self.head is not None else 0
        return _ROOM_COST + state + self.weight + (self.counters.cost() if self.counters is not None else 0)


class Heads:
    """The rooms in use, bounded in bytes."""

    def __init__(self, database: Database, events: Events, capacity: int) -> None:
        self._database = database
        self._events = events
        self._capacity = capacity
        self._rooms: OrderedDict[str, Room] = OrderedDict()
        self._by_nid: dict[int, Room] = {}
        self._added = 0

    def at_hand(self, room_id: str) -> Room | None:
        """The room if it is in memory with its head."""
        room = self._rooms.get(room_id)
        if room is None or room.head is None:
            return None
        self._rooms.move_to_end(room_id)
        room.asked = True
        return room

    def in_use(self, audience: str) -> Room | None:
        """The room that an audience follows, if it is in memory with its head; that is no use of it."""
        room = self._by_nid.get(room_of(audience))
        return room if room is not None and room.head is not None else None

    async def get(self, room_id: str) -> Room | None:
        """The room with a head, or `None` if this server has no such room."""
        room = self._rooms.get(room_id)
        if room is None:
            row = await rooms_store.by_id(self._database, room_id)
            if row is None:
                return None
            # Another caller may have been faster while this one waited.
            room = self._rooms.get(room_id) or self.add(
                Room(row.nid, row.room_id, ROOM_VERSIONS[row.version])
            )
        else:
            self._rooms.move_to_end(room_id)
            room.asked = True
        while room.head is None:
            try:
                await self._load(room)
            except _NotEntered:
                self._discard(room)
                return None
        return room

    def add(self, room: Room) -> Room:
        """Hold a room."""
        self._rooms[room.room_id] = room
        self._by_nid[room.nid] = room
        self._added += 1
        if self._added % 64 == 0:
            self._trim()
        return room

    def _trim(self) -> None:
        size = sum(room.cost() for room in self._rooms.values())
        while size > self._capacity and len(self._rooms) > 1:
            _, room = self._rooms.popitem(last=False)
            del self._by_nid[room.nid]
            size -= room.cost()

    async def load(self, room_ids: Sequence[str], user_id: str) -> None:
        """Have rooms in memory with their heads, and a user's membership in them: few reads for many rooms.

        Those that this server does not have are passed over; so are, as ever, those for which there is no space.
        """
        for first in range(0, len(room_ids), _AT_ONCE):
            portion = room_ids[first : first + _AT_ONCE]
            absent = [room_id for room_id in portion if room_id not in self._rooms]
            for row in await rooms_store.by_ids(self._database, absent) if absent else ():
                if row.room_id not in self._rooms:
                    self.add(Room(row.nid, row.room_id, ROOM_VERSIONS[row.version]))
            rooms = [room for room in map(self._rooms.get, portion) if room is not None]
            for room in rooms:
                room.asked = True
            for room in await self._load_all([room for room in rooms if room.head is None]):
                self._discard(room)
            await self._fault_in_one(rooms, user_id)
            await asyncio.sleep(0)

    def _discard(self, room: Room) -> None:
        if self._rooms.get(room.room_id) is room:
            del self._rooms[room.room_id], self._by_nid[room.nid]

    async def _load(self, room: Room) -> None:
        if await self._load_all([room]):
            raise _NotEntered(f"room {room.nid} has no timeline")

    async def _load_all(self, rooms: Sequence[Room]) -> list[Room]:
        """Read the heads of rooms, as of one moment; answers those rooms that have none."""
        if not rooms:
            return []
        epochs = [room.epoch for room in rooms]
        nids = [room.nid for room in rooms]
        async with self._database.snapshot() as reader:
            rows = await rooms_store.heads(reader, nids)
            keys = await state_store.current_without_members(reader, nids)
            counts = await rooms_store.member_counts(reader, nids)
            with_gaps = await gaps_store.rooms_with(reader, nids)
            partial = await partial_store.of_rooms(reader, nids)
        wanted = [nid for state in keys.values() for nid in state.values()]
        wanted += [nid for row in rows.values() for nid in row.extremities]
        events = await self._events.by_nids(wanted)
        for room, epoch in zip(rooms, epochs, strict=True):
            row = rows.get(room.nid)
            # Otherwise another was faster, or what was read is void.
            if row is not None and room.epoch == epoch:
                room.counts, room.counted = counts[room.nid], row.version
                room.has_gaps = room.nid in with_gaps
                _begin(room, row, keys[room.nid], partial.get(room.nid), events)
        return [room for room in rooms if room.nid not in rows]

    async def _fault_in_one(self, rooms: Iterable[Room], user_id: str) -> None:
        """One user's membership of many rooms into their heads; a room that changes meanwhile is left as it is."""
        key = (MEMBER, user_id)
        lacking = [
            (room, room.epoch)
            for room in rooms
            if room.head is not None and not room.head.complete and key not in room.head.state
        ]
        if not lacking:
            return
        found = await state_store.member_of_rooms(self._database, [room.nid for room, _ in lacking], user_id)
        events = await self._events.by_nids(list(found.values()))
        for room, epoch in lacking:
            if room.head is not None and room.epoch == epoch and key not in room.head.state:
                room.fault(room.head, {key: events[found[room.nid]] if room.nid in found else None})

    async def fault_in(self, room: Room, user_ids: Iterable[str]) -> Head:
        """The room's head with the memberships of these users in it."""
        while True:
            head = room.head
            if head is None:
                await self._load(room)
                continue
            missing = [user_id for user_id in user_ids if (MEMBER, user_id) not in head.state]
            if head.complete or not missing:
                return head
            epoch = room.epoch
            found = await state_store.current_members(self._database, room.nid, missing)
            events = await self._events.by_nids(list(found.values()))
            head = room.head
            if head is None or room.epoch != epoch:
                continue
            # Whose membership changed while this was read is in the head already, by the event that changed it.
            added = {
                (MEMBER, u): events[found[u]] if u in found else None
                for u in missing
                if (MEMBER, u) not in head.state
            }
            return room.fault(head, added)

    async def know(self, room: Room, user_ids: Collection[str]) -> Head:
        """As `fault_in`; waits for the whole state where these users' memberships may be among what is to come."""
        head = await self.fault_in(room, user_ids)
        while head.partial and any(head.state.get((MEMBER, user_id)) is None for user_id in user_ids):
            await self.until_whole(room)
            head = await self.fault_in(room, user_ids)
        return head

    async def recent(self, room: Room) -> Sequence[TimelineItem]:
        """The newest live events, oldest first, up to the head's version."""
        while room.recent is None:
            head = room.head
            if head is None:
                await self._load(room)
                continue
            epoch = room.epoch
            items = await self.timeline(room, until=head.version, limit=RECENT)
            if room.head is not None and room.head.version == head.version and room.epoch == epoch:
                room.keep_recent(items)
        return room.recent

    async def timeline(self, room: Room, *, until: int, limit: int, after: int = 0) -> list[TimelineItem]:
        """The newest `limit` live events with `after < version <= until`, oldest first."""
        # One more shows what the state was before the first.
        rows = await timeline_store.page(self._database, room.nid, max(after - 1, 0), until, limit + 1)
        events = await self._events.by_nids([row.event for row in rows if row.event is not None])
        shown = [row for row in rows if row.event is not None and row.version > after][-limit:]
        kept = [events[row.event] for row in shown if row.event is not None]
        replaced = await self._replaced(kept)
        gaps = set()
        if room.has_gaps:
            gaps = await gaps_store.children_among(self._database, room.nid, [one.nid for one in kept])
        before = {row.version: earlier.root for earlier, row in pairwise(rows)}
        return [
            TimelineItem(
                row.version,
                one,
                row.root,
                replaced.get(one.nid),
                tangled=_is_tangled(one, before.get(row.version, Root(row.root.line, 0)), row.root),
                after_gap=one.nid in gaps,
            )
            for row, one in zip(shown, kept, strict=True)
        ]

    async def _replaced(self, run: Sequence[StoredEvent]) -> dict[int, StoredEvent]:
        """For each state event of a run of the timeline, the one whose place it took, if there was one.

        Along one line of state each event takes the place of the newest before it; only what stood when the run began
        is looked up.
        """
        found: dict[int, StoredEvent] = {}
        for line in dict.fromkeys(kept.state_line for kept in run):
            states = [kept for kept in run if kept.event.is_state and kept.state_line == line]
            if not states:
                continue
            start = Root(line, states[0].state_version)
            keys = list(dict.fromkeys(_key(kept) for kept in states))
            nids = await state_store.keys_at(self._database, start, keys) if start.version else {}
            events = await self._events.by_nids(list(nids.values()))
            standing = {key: events[nid] for key, nid in nids.items()}
            for kept in states:
                before = standing.get(_key(kept))
                if before is not None:
                    found[kept.nid] = before
                standing[_key(kept)] = kept
        return found

    async def fault_in_all(self, room: Room) -> Head:
        """The room's head with all memberships in it; waits a while for those that are still to come from a peer.

        Raises `Refusal` if they don't.
        """
        while True:
            head = room.head
            if head is None:
                await self._load(room)
                continue
            if head.partial:
                await self.until_whole(room)
                continue
            if head.complete:
                return head
            epoch = room.epoch
            nids = await state_store.all_members(self._database, room.nid)
            events = await self._events.by_nids(list(nids.values()))
            head = room.head
            if head is None or room.epoch != epoch:
                continue
            members: dict[Key, StoredEvent | None] = {
                (MEMBER, user_id): events[nid]
                for user_id, nid in nids.items()
                if (MEMBER, user_id) not in head.state
            }
            head = replace(head, state=head.state.update(members), complete=True)
            if len(nids) <= KEPT_MEMBERS:
                room.head = head
            return head

    async def until_whole(self, room: Room) -> None:
        """Wait until the room's state is no longer partial; raises `Refusal` if that takes too long."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while room.head is not None and room.head.partial:
                    room.is_whole.clear()
                    await room.is_whole.wait()
        except TimeoutError:
            raise Refusal(
                "M_UNKNOWN", "The members of this room are still being fetched; please try again.", status=503
            ) from None

    async def counts(self, room: Room) -> dict[str, int]:
        """How many users have each membership."""
        while room.counts is None:
            async with self._database.snapshot() as reader:
                row = await rooms_store.head(reader, room.nid)
                counts = (await rooms_store.member_counts(reader, [room.nid]))[room.nid]
            # The store may be ahead of memory by a commit that is still to be settled, but must not be behind.
            if row is not None and (room.head is None or row.version >= room.head.version):
                room.counts, room.counted = counts, row.version
        return room.counts

    async def joined_of_server(self, room: Room, server: str, most: int = 20) -> list[str]:
        """Some users of a server who are in the room."""
        return await rooms_store.joined_of_server(self._database, room.nid, server, most)

    def settled(self, room: Room) -> None:
        """A room that a request still held was appended to: if another has taken its place here, that reads anew."""
        held = self._by_nid.get(room.nid)
        if held is not None and held is not room:
            self.drop(held)

    def drop(self, room: Room) -> None:
        """Forget the head, as it was built upon something that did not come to be."""
        room.head = None
        room.forget_recent()
        room.counts = None
        room.counters = None
        room.servers = None
        room.faulted.clear()
        room.epoch += 1
        room.is_whole.set()

    def heard(self, entries: Iterable[Entry]) -> None:
        """Follow the log: a redacted event is read anew wherever a room holds it.

        So is a room whose state changed by more than an event: one that was entered, or is no longer partial.
        """
        for entry in entries:
            if entry.kind == Kind.STATE and entry.payload is None:
                room = self._by_nid.get(room_of(entry.audience))
                if room is not None:
                    self.drop(room)
                continue
            if entry.kind != Kind.REDACTION:
                continue
            room = self._by_nid.get(room_of(entry.audience))
            if room is None:
                continue
            target: StoredEvent | None = entry.payload
            if target is None or target.event.is_state:
                self.drop(room)
            room.forget_recent()
            room.epoch += 1


def _begin(
    room: Room,
    row: HeadRow,
    keys: Mapping[Key, int],
    partial: PartialRoom | None,
    events: Mapping[int, StoredEvent],
) -> None:
    """Give a room the head that was read."""
    state: Map[Key, StoredEvent | None] = Map({key: events[nid] for key, nid in keys.items()})
    room.servers = None
    room.forget_recent()
    room.epoch += 1
    is_partial = partial is not None and partial.completed is None
    room.named_servers = frozenset(partial.servers) if partial is not None and is_partial else frozenset()
    room.completed = (partial.completed or 0) if partial is not None else 0
    extremities = tuple(events[nid] for nid in row.extremities)
    room.head = Head(row.version, extremities, state, row.root, partial=is_partial)


def _comes_after(item: TimelineItem, other: TimelineItem) -> bool:
    kept, before = item.kept, other.kept
    return (kept.event.depth, kept.nid) > (before.event.depth, before.nid)


def _is_tangled(kept: StoredEvent, before: Root, after: Root) -> bool:
    """Whether the current state went from one root to the other otherwise than by this event alone."""
    if not kept.event.is_state:
        return after != before
    return after != (before.line, before.version + 1) or (kept.state_line, kept.state_version) != before


def _key(kept: StoredEvent) -> Key:
    return kept.event.type, kept.event.state_key or ""
