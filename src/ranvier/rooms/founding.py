"""Rooms that we enter through a peer: the first join of one of our users, and the return after all had left.

Events and state are written in portions beforehand, where nobody sees them yet; one short transaction then makes it
the room's. Source: Server-Server API, "Joining Rooms"; partial state: MSC3706, MSC3902.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial as bind
from typing import Any, Final, TypeVar

from ranvier.protocol.client_format import STRIPPED_STATE_TYPES, strip_state
from ranvier.protocol.events import Event
from ranvier.protocol.receipt_checks import judge
from ranvier.protocol.refusal import Refusal
from ranvier.protocol.relations import MAIN_TIMELINE
from ranvier.protocol.room_versions import RoomVersion
from ranvier.rooms.arrivals import auth_keys
from ranvier.rooms.auth_index import Slowly
from ranvier.rooms.heads import MEMBER, Heads, Room, TimelineItem
from ranvier.rooms.new_rows import NewRows
from ranvier.rooms.outliers import Outliers
from ranvier.rooms.writing import Stale, membership_of
from ranvier.store import auth_chains as auth_chains_store
from ranvier.store import events as events_store
from ranvier.store import gaps as gaps_store
from ranvier.store import partial_rooms as partial_store
from ranvier.store import remote_devices
from ranvier.store import rooms as rooms_store
from ranvier.store import state as state_store
from ranvier.store import unread as unread_store
from ranvier.store.database import Database, Transaction
from ranvier.store.database import Entry as DatabaseEntry
from ranvier.store.events import Judgement, StoredEvent
from ranvier.store.log import Kind, room_audience
from ranvier.store.partial_rooms import PartialRoom
from ranvier.store.rooms import Membership, RoomRow
from ranvier.store.state import Key, Root
from ranvier.store.unread import ReadRow
from ranvier.store.writer import Writer

_Row = TypeVar("_Row")
_SLICE: Final = 2_000
"""Rows that are written in one transaction."""
_RESERVED: Final = 2**40
"""Versions of a partial room's first line: what the peer left out goes beneath all that happens meanwhile."""
_TRIES: Final = 10


@dataclass(slots=True)
class _Entry:
    """A room on its way in: `root` is the state before the join, `base` the line that a partial one begins with."""

    row: RoomRow
    join: StoredEvent
    is_known: bool
    state: Mapping[Key, StoredEvent]
    root: Root
    base: int | None
    servers: Sequence[str]
    gaps: Sequence[str]


@dataclass(slots=True)
class _Difference:
    """What is to be changed of what the store holds of the room now."""

    current: list[tuple[int, str, str, int]]
    unset: list[Key]
    memberships: list[Membership]
    gone: list[tuple[str, str]]


class Founding:
    """Makes rooms of what `/send_join` answered."""

    def __init__(
        self,
        server_name: str,
        database: Database,
        writer: Writer,
        heads: Heads,
        outliers: Outliers,
        rows: NewRows,
    ) -> None:
        self._suffix = f":{server_name}"
        self._reader = Slowly(database)
        self._writer = writer
        self._heads = heads
        self._outliers = outliers
        self._rows = rows

    async def found(
        self,
        version: RoomVersion,
        room_id: str,
        join: Event,
        state: Sequence[Event],
        auth_chain: Sequence[Event],
        *,
        servers: Sequence[str] = (),
        partial: bool = False,
    ) -> Room:
        """The room as it is with `join` in it, upon the state before it; durable, and told to all who follow.

        The events' forms, hashes and signatures have been checked. With `partial`, `state` lacks members that
        matter to none of our users so far, and `servers` are those that the peer says are in the room.
        Raises `Refusal` if that state does not allow the join, or has no valid create event of this room and version.
        """
        _check_create(version, room_id, state)
        row = await self._row(version, room_id)
        kept = await self._outliers.keep_in(row.nid, version, room_id, [*auth_chain, *state])
        # Where we were before, the peer need not tell us of what we did.
        lacking = [event_id for event_id in join.auth_events if event_id not in kept]
        known = await events_store.by_ids(self._reader, lacking)
        kept.update({event_id: one for event_id, one in known.items() if one.room == row.nid})
        standing = await asyncio.to_thread(standing_of, state, kept)
        if partial:
            # Members are left out of the state, also those that let the user in.
            for one in (kept[event_id] for event_id in join.auth_events if event_id in kept):
                if one.judgement is not Judgement.REJECTED:
                    standing.setdefault((one.event.type, one.event.state_key or ""), one)
        _check_join(version, room_id, join, standing, kept)
        standing_join = (await events_store.by_ids(self._reader, [join.event_id])).get(join.event_id)
        if standing_join is None or not standing_join.state_line:
            await self._enter(row, join, standing_join, standing, servers, partial=partial)
        room = await self._heads.get(room_id)
        if room is None:
            raise LookupError(f"the room {room_id} was entered and is not there")
        return room

    async def _row(self, version: RoomVersion, room_id: str) -> RoomRow:
        """The room's row; it shows nothing as long as the room has no timeline."""
        row = await rooms_store.by_id(self._reader, room_id)
        while row is None:
            made = RoomRow(await self._rows.number("room"), room_id, version.identifier)
            await self._writer.run(bind(rooms_store.add_room, room=made))
            row = await rooms_store.by_id(self._reader, room_id)
        if row.version != version.identifier:
            raise Refusal("M_UNSUPPORTED_ROOM_VERSION", f"The room is of version {row.version}.", status=400)
        return row

    async def _enter(
        self,
        row: RoomRow,
        join: Event,
        known: StoredEvent | None,
        standing: Mapping[Key, StoredEvent],
        servers: Sequence[str],
        *,
        partial: bool,
    ) -> None:
        root, base = await self._write_state(row.nid, standing, partial=partial)
        kept = await self._rows.event(row.nid, join, Judgement.ACCEPTED, root, known=known)
        previous = await events_store.by_ids(self._reader, join.prev_events)
        gaps = [event_id for event_id in join.prev_events if not _has_state(previous.get(event_id))]
        entry = _Entry(row, kept, known is not None, standing, root, base, servers, gaps)
        for _ in range(_TRIES):
            try:
                await self._make_current(entry)
            except Stale:
                continue
            break
        else:
            raise Refusal("M_UNKNOWN", "The room is too busy; please try again.", status=503)
        held = self._heads.at_hand(row.room_id)
        if held is not None:
            self._heads.drop(held)

    async def _write_state(
        self, room: int, standing: Mapping[Key, StoredEvent], *, partial: bool
    ) -> tuple[Root, int | None]:
        """The state before the join on lines of its own, in portions."""
        line = await self._rows.number("line")
        base = await self._rows.number("line") if partial else None
        lines: list[tuple[int, int, int | None, int | None]] = [(line, room, base, None)]
        if base is not None:
            lines = [(base, room, None, None), (line, room, base, _RESERVED)]
        await self._writer.run(lambda transaction: state_store.insert_lines(transaction, lines))
        for first, part in enumerate(_portions(list(standing.items()))):
            rows = [
                (base or line, *key, place, kept.nid)
                for place, (key, kept) in enumerate(part, 1 + first * _SLICE)
            ]
            await self._writer.run(bind(state_store.insert_changes, rows=rows))
        return (Root(line, _RESERVED), base) if base is not None else (Root(line, len(standing)), None)

    async def _make_current(self, entry: _Entry) -> None:
        head = await rooms_store.head(self._reader, entry.row.nid)
        difference = await self._difference(entry)
        if head is None:
            await self._write_ahead(difference)
        version = head.version + 1 if head is not None else 1
        entry.join.timeline_version = version
        await self._writer.run(lambda transaction: self._finish(transaction, entry, difference, version))

    async def _difference(self, entry: _Entry) -> _Difference:
        """How what the store says of the room differs from the new state, the join among it."""
        standing = await state_store.current(self._reader, entry.row.nid)
        members = await rooms_store.membership_events(self._reader, entry.row.room_id)
        # Where there are many members it takes long, and others must get their turn.
        return await asyncio.to_thread(self._compare, entry, standing, members)

    def _compare(
        self, entry: _Entry, standing: Mapping[Key, int], members: Mapping[str, tuple[int, str]]
    ) -> _Difference:
        row, join = entry.row, entry.join
        state = {**entry.state, (MEMBER, join.event.state_key or ""): join}
        current = [(row.nid, *key, one.nid) for key, one in state.items() if standing.get(key) != one.nid]
        memberships = [
            membership_of(row.room_id, one, self._shown(entry, one))
            for (kind, user_id), one in state.items()
            if kind == MEMBER and members.get(user_id, (None,))[0] != one.nid
        ]
        gone = [
            (user_id, row.room_id)
            for user_id, (nid, membership) in members.items()
            # Invites from elsewhere have no event here, and those of ours who left may read what was.
            if (MEMBER, user_id) not in state
            and nid
            and not (user_id.endswith(self._suffix) and membership in ("leave", "ban"))
        ]
        return _Difference(current, [key for key in standing if key not in state], memberships, gone)

    def _shown(self, entry: _Entry, kept: StoredEvent) -> list[dict[str, Any]] | None:
        event = kept.event
        if event.content.get("membership") not in ("invite", "knock"):
            return None
        if not (event.state_key or "").endswith(self._suffix):
            return None
        faces = [entry.state.get((kind, "")) for kind in STRIPPED_STATE_TYPES]
        inviter = entry.state.get((MEMBER, event.sender))
        return [strip_state(one.event) for one in (*faces, inviter, kept) if one is not None]

    async def _write_ahead(self, difference: _Difference) -> None:
        """What nobody sees before the room has a timeline is written in portions."""
        for part in _portions(difference.current):
            await self._writer.run(bind(state_store.set_current, rows=part))
        ours = [one for one in difference.memberships if one.user_id.endswith(self._suffix)]
        others = [one for one in difference.memberships if not one.user_id.endswith(self._suffix)]
        for members in _portions(others):
            await self._writer.run(bind(rooms_store.set_memberships, memberships=members))
        difference.current, difference.memberships = [], ours

    async def _finish(
        self, transaction: Transaction, entry: _Entry, difference: _Difference, version: int
    ) -> None:
        room, join, root = entry.row.nid, entry.join, entry.root
        after = Root(root.line, root.version + 1)
        if not await rooms_store.insert_timeline(transaction, [(room, version, join.nid, *after, None)]):
            raise Stale
        await self._keep_join(transaction, entry, after)
        await state_store.set_current(transaction, difference.current)
        await state_store.unset_current(transaction, room, difference.unset)
        await rooms_store.set_memberships(transaction, difference.memberships)
        await rooms_store.delete_memberships(transaction, difference.gone)
        # While nobody of ours was in the room, its members' servers told this one of no new devices.
        await remote_devices.mark_members_stale(transaction, room)
        if entry.base is not None:
            partial = PartialRoom(room, join.nid, entry.base, tuple(entry.servers))
            await partial_store.insert(transaction, partial)
        else:
            await partial_store.delete(transaction, room)
        counter = await unread_store.counter_at(transaction, room, MAIN_TIMELINE, version)
        read = ReadRow(room, join.event.sender, "", version, counter)
        await unread_store.write_reads(transaction, [read])
        self._announce(transaction, entry, difference, version)

    async def _keep_join(self, transaction: Transaction, entry: _Entry, after: Root) -> None:
        join = entry.join
        if entry.is_known:
            await events_store.bring_in(transaction, [join])
        elif not await events_store.insert(transaction, [join]) or not await auth_chains_store.insert(
            transaction, [join]
        ):
            raise Stale
        change = (after.line, MEMBER, join.event.state_key or "", after.version, join.nid)
        await state_store.insert_changes(transaction, [change])
        await gaps_store.fill(transaction, join.room, [join.event.event_id])
        await gaps_store.insert(transaction, join.room, [(event_id, join.nid) for event_id in entry.gaps])

    def _announce(
        self, transaction: Transaction, entry: _Entry, difference: _Difference, version: int
    ) -> None:
        for membership in difference.memberships:
            if membership.user_id.endswith(self._suffix):
                transaction.announce(
                    DatabaseEntry(Kind.MEMBERSHIP, membership.user_id, membership.room_id, membership)
                )
        for user_id, room_id in difference.gone:
            if user_id.endswith(self._suffix):
                transaction.announce(DatabaseEntry(Kind.MEMBERSHIP, user_id, room_id))
        after = Root(entry.root.line, entry.root.version + 1)
        item = TimelineItem(
            version, entry.join, after, tangled=True, after_gap=bool(entry.gaps), by_peer=True
        )
        audience = room_audience(entry.row.nid)
        transaction.announce(DatabaseEntry(Kind.EVENT, audience, str(version), item))
        transaction.announce(DatabaseEntry(Kind.STATE, audience, str(version)))


def standing_of(state: Sequence[Event], kept: Mapping[str, StoredEvent]) -> dict[Key, StoredEvent]:
    """What of a state may stand, of the events that are kept."""
    found = {}
    for event in state:
        one = kept.get(event.event_id)
        if event.state_key is not None and one is not None and one.judgement is not Judgement.REJECTED:
            found[event.type, event.state_key] = one
    return found


def _portions(rows: Sequence[_Row]) -> Iterator[Sequence[_Row]]:
    for start in range(0, len(rows), _SLICE):
        yield rows[start : start + _SLICE]


def _has_state(kept: StoredEvent | None) -> bool:
    return kept is not None and kept.state_line != 0


def _check_create(version: RoomVersion, room_id: str, state: Iterable[Event]) -> None:
    creates = [event for event in state if event.type == "m.room.create" and event.state_key == ""]
    if len(creates) != 1 or creates[0].room_id != room_id:
        raise Refusal("M_BAD_STATE", "The state of the room has no create event of this room.", status=502)
    if creates[0].content.get("room_version", "1") != version.identifier:
        raise Refusal("M_BAD_STATE", "The room is of another version than it was said to be.", status=502)


def _check_join(
    version: RoomVersion,
    room_id: str,
    join: Event,
    standing: Mapping[Key, StoredEvent],
    kept: Mapping[str, StoredEvent],
) -> None:
    if join.room_id != room_id or join.type != MEMBER or join.content.get("membership") != "join":
        raise Refusal("M_BAD_STATE", "A room is entered by a join.", status=502)
    auth_events = {event_id: kept[event_id] for event_id in join.auth_events if event_id in kept}
    failure = judge(
        join,
        auth_events={event_id: one.event for event_id, one in auth_events.items()},
        rejected={event_id for event_id, one in auth_events.items() if one.judgement is Judgement.REJECTED},
        state_before={key: standing[key].event for key in auth_keys(version, join) if key in standing},
        current_state=None,
    )
    if failure is not None:
        raise Refusal("M_FORBIDDEN", f"The room's state does not allow the join: {failure.reason}")
