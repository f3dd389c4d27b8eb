"""Rooms in memory follow what other processes append to them.

An event that another process appended comes as a bare entry of the log. For a room that is in use here, it is read, and
becomes what it would be had it been appended here: the head moves by it, and so do the newest events, the numbers of
members, the unread counters and the memberships of users. A room whose state changed by more than the event, or that
nobody here has asked for in a while, is forgotten instead, and read when it is asked for.

Reading happens before the entries are heard, moving while they are, so that nobody sees a room ahead of the log.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ranvier.protocol import relations
from ranvier.protocol.identifiers import server_name_of
from ranvier.rooms.events import Events, cost_of
from ranvier.rooms.heads import Heads, Room, TimelineItem
from ranvier.rooms.joined import UserRooms
from ranvier.rooms.unread import Unread
from ranvier.rooms.writing import Made, next_head, recount
from ranvier.store import appended as appended_store
from ranvier.store import gaps as gaps_store
from ranvier.store import rooms as rooms_store
from ranvier.store import state as state_store
from ranvier.store.appended import Appended
from ranvier.store.database import Database, Entry
from ranvier.store.events import StoredEvent
from ranvier.store.log import Kind, room_of
from ranvier.store.rooms import Membership
from ranvier.store.state import Key, Root

_IDLE_S: Final = 10.0
"""Seconds for which a room follows what others do while nobody here asks for it."""


@dataclass(slots=True)
class _Move:
    """How a room at hand moves with an entry; without `made` it is forgotten."""

    room: Room
    version: int
    made: Made | None = None


class CatchingUp:
    """Fills entries of other processes (`store/tailing.py`), and moves rooms when they are heard."""

    def __init__(
        self,
        server_name: str,
        database: Database,
        heads: Heads,
        events: Events,
        unread: Unread,
        users: UserRooms,
    ) -> None:
        self._server_name = server_name
        self._database = database
        self._heads = heads
        self._events = events
        self._unread = unread
        self._users = users
        self._filled: Sequence[Entry] = ()
        self._moves: dict[int, _Move] = {}

    async def fill(self, entries: Sequence[Entry]) -> None:
        """Read what these entries mean for what is in memory."""
        self._filled, self._moves = entries, {}
        for audience in {entry.audience for entry in entries if entry.kind == Kind.STATE}:
            room = self._heads.in_use(audience)
            if room is None or room.head is None or room.head.partial:
                # Perhaps its members have come, and events were judged anew.
                self._events.forget_room(room_of(audience))
        rooms = self._in_use(entries)
        if rooms:
            await self._fill_rooms(entries, rooms)
        pairs = [
            (entry.audience, entry.ref)
            for entry in entries
            if entry.kind == Kind.MEMBERSHIP and self._users.at_hand(entry.audience) is not None
        ]
        if pairs:
            await self._fill_memberships(entries, pairs)

    def heard(self, entries: Sequence[Entry]) -> None:
        """Follow the log: rooms move by what others did."""
        if entries is not self._filled:
            return
        for entry in entries:
            if entry.kind == Kind.EVENT:
                self._move(entry)
        self._filled, self._moves = (), {}

    # Reading

    def _in_use(self, entries: Sequence[Entry]) -> dict[str, Room]:
        """The rooms that are to follow, by audience; those that nobody asks for are forgotten."""
        found: dict[str, Room] = {}
        for entry in entries:
            if entry.kind not in (Kind.EVENT, Kind.REDACTION):
                continue
            room = self._heads.in_use(entry.audience)
            if room is None:
                continue
            found[entry.audience] = room
        now = asyncio.get_running_loop().time()
        for audience, room in list(found.items()):
            if room.asked:
                room.asked, room.asked_at = False, now
            elif now - room.asked_at > _IDLE_S:
                self._heads.drop(room)
                del found[audience]
        return found

    async def _fill_rooms(self, entries: Sequence[Entry], rooms: dict[str, Room]) -> None:
        redacted = [int(e.ref) for e in entries if e.kind == Kind.REDACTION and e.audience in rooms]
        tangled = {(entry.audience, entry.ref) for entry in entries if entry.kind == Kind.STATE}
        news = [e for e in entries if e.kind == Kind.EVENT and e.audience in rooms]
        places = [(rooms[entry.audience], int(entry.ref)) for entry in news]
        # Together, as whoever waits for this waits for the slowest of them only.
        found, marks, targets = await asyncio.gather(
            appended_store.at(self._database, [(room.nid, version) for room, version in places]),
            self._unread.marks_at(places),
            self._events.read_anew(redacted),
        )
        appended = {(one.kept.room, one.version): one for one in found}
        standing: dict[tuple[int, Key], StoredEvent | None] = {}
        running: dict[tuple[int, str], int] = {}
        for entry in entries:
            if entry.kind == Kind.REDACTION:
                entry.payload = targets.get(int(entry.ref))
        for entry, (room, version) in zip(news, places, strict=True):
            move = self._moves[entry.position] = _Move(room, version)
            one = appended.get((room.nid, version))
            if one is None or (entry.audience, entry.ref) in tangled:
                continue
            self._events.take(one.kept)
            made = move.made = await self._made(room, one, standing)
            assert made.item is not None
            entry.payload, entry.weight = made.item, cost_of(one.kept)
            if room.counters is not None:
                thread = await self._thread_of(one.kept)
                counter = await self._unread.counters_at(room, thread, version, one.counters, running)
                own = marks.get((room.nid, version), [])
                made.counted = self._unread.counted_elsewhere(room, made.item, thread, counter, own)

    async def _made(
        self, room: Room, step: Appended, standing: dict[tuple[int, Key], StoredEvent | None]
    ) -> Made:
        """What the event did to the room, as if it had been appended here."""
        kept = step.kept
        moved: dict[Key, tuple[StoredEvent | None, StoredEvent | None]] = {}
        replaced = None
        if kept.event.state_key is not None:
            key = (kept.event.type, kept.event.state_key)
            replaced = await self._replaced(room, kept, key, standing)
            standing[room.nid, key] = kept
            moved[key] = (replaced, kept)
        has_gap = False
        if server_name_of(kept.event.sender) != self._server_name:
            has_gap = bool(await gaps_store.children_among(self._database, room.nid, [kept.nid]))
        item = TimelineItem(step.version, kept, step.root, replaced, after_gap=has_gap)
        known = {kept.nid: kept}
        if room.head is not None:
            known |= {one.nid: one for one in room.head.extremities}
        missing = [nid for nid in step.extremities if nid not in known]
        known |= await self._events.by_nids(missing) if missing else {}
        extremities = tuple(known[nid] for nid in step.extremities if nid in known)
        return Made(kept, item, extremities, moved, gaps=("",) if has_gap else ())

    async def _replaced(
        self, room: Room, kept: StoredEvent, key: Key, standing: dict[tuple[int, Key], StoredEvent | None]
    ) -> StoredEvent | None:
        """The event whose place a state event took."""
        if (room.nid, key) in standing:
            return standing[room.nid, key]
        head = room.head
        if head is not None and key in head.state:
            known = head.state[key]
            # A membership that was looked up may be newer than the head is.
            if known is None or known.timeline_version <= head.version:
                return known
        before = Root(kept.state_line, kept.state_version)
        nids = await state_store.keys_at(self._database, before, [key]) if before.version else {}
        return (await self._events.by_nids([nids[key]])).get(nids[key]) if key in nids else None

    async def _thread_of(self, kept: StoredEvent) -> str:
        if "m.relates_to" not in kept.event.content:
            return relations.MAIN_TIMELINE
        return await self._events.thread_of(kept.event.content)

    async def _fill_memberships(self, entries: Sequence[Entry], pairs: Sequence[tuple[str, str]]) -> None:
        found = await rooms_store.memberships_among(self._database, pairs)
        for entry in entries:
            if entry.kind == Kind.MEMBERSHIP:
                entry.payload = _shown(found.get((entry.audience, entry.ref)))

    # Moving

    def _move(self, entry: Entry) -> None:
        move = self._moves.get(entry.position)
        room = move.room if move is not None else self._heads.in_use(entry.audience)
        if room is None or room.head is None:
            return
        version, made = int(entry.ref), move.made if move is not None else None
        if room.head.version >= version:
            # It was read when this had happened already.
            return
        if made is None or room.head.version != version - 1:
            self._heads.drop(room)
            return
        assert made.item is not None
        room.advance(next_head(room.head, made), [made.item])
        recount(room, made)
        room.has_gaps = room.has_gaps or bool(made.gaps)
        if made.counted is not None:
            self._unread.follow(room, [made.counted])
        else:
            # They came into memory while this was read.
            room.counters = None


def _shown(membership: Membership | None) -> Membership | None:
    return membership if membership is not None and not membership.forgotten else None
