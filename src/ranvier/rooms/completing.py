"""The end of a partial join: the members that the peer left out have come (MSC3706, MSC3902).

They go beneath all that happened since: onto the line that the state before the join began with. So each state of the
room holds them, without a row of it being written anew. Then what was judged meanwhile is judged again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial as bind
from typing import Final, TypeVar

import orjson

from ranvier.protocol.events import Event
from ranvier.protocol.receipt_checks import judge
from ranvier.protocol.refusal import Refusal
from ranvier.rooms.auth_index import Slowly
from ranvier.rooms.events import Events
from ranvier.rooms.founding import standing_of
from ranvier.rooms.heads import MEMBER, Head, Heads, Room
from ranvier.rooms.outliers import Outliers
from ranvier.rooms.plans import Plans
from ranvier.rooms.resolving import StateAt
from ranvier.rooms.writing import Stale, membership_of
from ranvier.store import events as events_store
from ranvier.store import partial_rooms as partial_store
from ranvier.store import rooms as rooms_store
from ranvier.store import state as state_store
from ranvier.store.database import Database, Entry, Fence, Transaction
from ranvier.store.events import Judgement, StoredEvent
from ranvier.store.log import Kind, room_audience
from ranvier.store.partial_rooms import PartialRoom
from ranvier.store.state import Key, Root
from ranvier.store.writer import Writer

_SLICE: Final = 2_000
_PAGE: Final = 100
_REJECTED: Final = 1_000
"""Events that were rejected meanwhile and are judged again."""
_TRIES: Final = 20
_Row = TypeVar("_Row")
Write = Callable[[Transaction], Awaitable[object]]


class Completing:
    """Brings the rest of the state into rooms that are partial."""

    def __init__(
        self,
        database: Database,
        writer: Writer,
        heads: Heads,
        events: Events,
        outliers: Outliers,
        plans: Plans,
    ) -> None:
        self._reader = Slowly(database)
        self._writer = writer
        self._heads = heads
        self._events = events
        self._outliers = outliers
        self._plans = plans

    async def incomplete(self) -> list[str]:
        """The ids of the rooms that are partial, to go on with after a restart."""
        return await partial_store.incomplete(self._reader)

    async def standing(self, room: Room) -> PartialRoom | None:
        """What is partial of a room; None if it is complete."""
        found = await partial_store.get(self._reader, room.nid)
        return found if found is not None and found.completed is None else None

    async def complete(
        self, room: Room, state: Sequence[Event], auth_chain: Sequence[Event], fence: Fence | None = None
    ) -> None:
        """The whole state before the join that a partial room began with has come: what was judged is judged again.

        Does nothing in a room that is complete already. `fence` is that of the process whose work this is, if there
        are several.
        """
        standing = await self.standing(room)
        if standing is None:
            return
        kept = await self._outliers.keep_in(room.nid, room.version, room.room_id, [*auth_chain, *state])
        told = await asyncio.to_thread(standing_of, state, kept)
        await self._write_beneath(standing.base_line, told, fence)
        join = (await self._events.by_nids([standing.join]))[standing.join]
        head = await self._heads.fault_in(room, ())
        await self._add_members(room, head, fence)
        wrong: dict[str, StoredEvent] = {}
        await self._judge_again(room, head, join.timeline_version, wrong)
        # What came meanwhile is little; nothing more comes until it is judged as well.
        async with room.turn:
            await self._end(room, join, wrong, head.version, fence)

    async def _end(
        self,
        room: Room,
        join: StoredEvent,
        wrong: dict[str, StoredEvent],
        judged: int,
        fence: Fence | None,
    ) -> None:
        for _ in range(_TRIES):
            head = await self._heads.fault_in(room, ())
            await self._add_members(room, head, fence)
            await self._judge_again(room, head, judged, wrong)
            judged = head.version
            right = await self._right_after_all(room, join, wrong)
            try:
                write = bind(_write_end, room=room, head=head, wrong=list(wrong.values()), right=right)
                await self._writer.run(_fenced(write, fence))
            except Stale:
                self._heads.drop(room)
                continue
            for kept in (*wrong.values(), *right):
                self._events.forget(kept.nid)
            self._heads.drop(room)
            return
        raise Refusal("M_UNKNOWN", "The room is too busy; please try again.", status=503)

    async def _write_beneath(self, line: int, told: Mapping[Key, StoredEvent], fence: Fence | None) -> None:
        newest = await state_store.newest_version(self._reader, line)
        known = await state_store.at(self._reader, Root(line, newest))
        rows = [
            (line, *key, newest + place, kept.nid)
            for place, (key, kept) in enumerate(((k, one) for k, one in told.items() if k not in known), 1)
        ]
        for part in _portions(rows):
            await self._writer.run(_fenced(bind(state_store.insert_changes, rows=part), fence))

    async def _add_members(self, room: Room, head: Head, fence: Fence | None) -> None:
        """What the current state lacks of what is beneath it."""
        standing = await state_store.at(self._reader, head.root)
        current = await state_store.current(self._reader, room.nid)
        missing = {key: nid for key, nid in standing.items() if key not in current}
        events = await self._events.by_nids(list(missing.values()))
        for part in _portions([(room.nid, *key, nid) for key, nid in missing.items()]):
            await self._writer.run(_fenced(bind(state_store.add_current, rows=part), fence))
        memberships = [
            membership_of(room.room_id, events[nid]) for (kind, _), nid in missing.items() if kind == MEMBER
        ]
        for members in _portions(memberships):
            write = bind(rooms_store.set_memberships, memberships=members, unless_known=True)
            await self._writer.run(_fenced(write, fence))

    async def _judge_again(self, room: Room, head: Head, after: int, wrong: dict[str, StoredEvent]) -> None:
        """Add the events after a version that the whole state before them does not allow, the oldest first."""
        while after < head.version:
            until = min(after + _PAGE, head.version)
            for item in await self._heads.timeline(room, until=until, after=after, limit=_PAGE):
                if not await self._is_allowed(room, item.kept, wrong):
                    wrong[item.kept.event.event_id] = item.kept
            after = until

    async def _right_after_all(
        self, room: Room, join: StoredEvent, wrong: Mapping[str, StoredEvent]
    ) -> list[StoredEvent]:
        """Events that were rejected since the join, as something stood in the state that was wrong."""
        if not wrong:
            return []
        nids = await events_store.rejected_since(self._reader, room.nid, join.nid, _REJECTED)
        rejected = await self._events.by_nids(nids)
        return [
            rejected[nid]
            for nid in nids
            if rejected[nid].event.event_id not in wrong
            and await self._is_allowed(room, rejected[nid], wrong)
        ]

    async def _is_allowed(self, room: Room, kept: StoredEvent, wrong: Mapping[str, StoredEvent]) -> bool:
        before = StateAt(Root(kept.state_line, kept.state_version))
        auth_events = await self._events.by_ids(kept.event.auth_events)
        rejected = {e for e, one in auth_events.items() if one.judgement is Judgement.REJECTED}
        failure = judge(
            kept.event,
            auth_events={event_id: one.event for event_id, one in auth_events.items()},
            rejected=rejected | (auth_events.keys() & wrong.keys()),
            state_before=await self._without(wrong, await self._plans.state_for(room, kept.event, before)),
            current_state=None,
        )
        return failure is None

    async def _without(self, wrong: Mapping[str, StoredEvent], state: dict[Key, Event]) -> dict[Key, Event]:
        """A state as it is where events that were wrong give way to what was before them."""
        for key, event in list(state.items()):
            standing: Event | None = event
            while standing is not None and standing.event_id in wrong:
                one = wrong[standing.event_id]
                root = Root(one.state_line, one.state_version)
                [nid] = await state_store.values_at(self._reader, [(root, key)])
                standing = (await self._events.by_nids([nid]))[nid].event if nid is not None else None
            if standing is None:
                del state[key]
            else:
                state[key] = standing
        return state


def _fenced(write: Write, fence: Fence | None) -> Write:
    async def fenced(transaction: Transaction) -> None:
        if fence is not None:
            transaction.fence(fence)
        await write(transaction)

    return fenced


async def _write_end(
    transaction: Transaction,
    *,
    room: Room,
    head: Head,
    wrong: Sequence[StoredEvent],
    right: Sequence[StoredEvent],
) -> None:
    """The version of the timeline that brings the rest.

    Events that were wrong are taken out of what is shown and of each state; what they kept out comes in.
    """
    version = head.version + 1
    free = [(kept.state_line, kept.state_version + 1) for kept in wrong if kept.event.is_state]
    for kept in wrong:
        await state_store.take_back(transaction, Root(kept.state_line, kept.state_version + 1), kept.nid)
    undone = await _undone(transaction, room.nid, wrong)
    undone |= await _put_in(transaction, head.root, right, free)
    root = Root(head.root.line, head.root.version + len(undone))
    extremities = orjson.dumps([kept.nid for kept in head.extremities]).decode()
    if not await rooms_store.insert_timeline(transaction, [(room.nid, version, None, *root, extremities)]):
        raise Stale
    await partial_store.complete(transaction, room.nid, version)
    for kept in wrong:
        await events_store.judge(transaction, kept.nid, Judgement.REJECTED)
    changes = [
        (root.line, *key, head.root.version + place, nid)
        for place, (key, nid) in enumerate(undone.items(), 1)
    ]
    await state_store.insert_changes(transaction, changes)
    back = {key: nid for key, nid in undone.items() if nid is not None}
    await state_store.set_current(transaction, [(room.nid, *key, nid) for key, nid in back.items()])
    await state_store.unset_current(transaction, room.nid, undone.keys() - back.keys())
    await _write_members(transaction, room, undone)
    transaction.announce(Entry(Kind.STATE, room_audience(room.nid), str(version)))


async def _put_in(
    transaction: Transaction,
    current: Root,
    right: Sequence[StoredEvent],
    free: list[tuple[int, int]],
) -> dict[Key, int | None]:
    """Accept events that were rejected; answers what the current state holds by them.

    A change of state takes the place of one before it that was wrong; where there is none, the event stays rejected.
    """
    moved: dict[Key, int | None] = {}
    for kept in right:
        event = kept.event
        if event.state_key is not None:
            places = [one for one in free if one[0] == kept.state_line and one[1] <= kept.state_version]
            if not places:
                continue
            place = max(places)
            free.remove(place)
            key = (event.type, event.state_key)
            await state_store.insert_changes(transaction, [(place[0], *key, place[1], kept.nid)])
            [moved[key]] = await state_store.values_at(transaction, [(current, key)])
        await events_store.judge(transaction, kept.nid, Judgement.ACCEPTED)
    return moved


async def _undone(transaction: Transaction, room: int, wrong: Sequence[StoredEvent]) -> dict[Key, int | None]:
    """What the current state falls back to where it holds events that were wrong."""
    undone: dict[Key, int | None] = {}
    # The newest first: each falls back to what was before it, which may be wrong as well.
    for kept in reversed(wrong):
        event = kept.event
        if event.state_key is None:
            continue
        key = (event.type, event.state_key)
        holds = undone[key] if key in undone else await state_store.current_value(transaction, room, key)
        if holds == kept.nid:
            root = Root(kept.state_line, kept.state_version)
            [undone[key]] = await state_store.values_at(transaction, [(root, key)])
    return undone


async def _write_members(transaction: Transaction, room: Room, undone: Mapping[Key, int | None]) -> None:
    """What users are again, or no longer."""
    members = {user_id: nid for (kind, user_id), nid in undone.items() if kind == MEMBER}
    events = await events_store.by_nid(transaction, [nid for nid in members.values() if nid is not None])
    await rooms_store.set_memberships(
        transaction, [membership_of(room.room_id, one) for one in events.values()]
    )
    gone = [(user_id, room.room_id) for user_id, nid in members.items() if nid is None]
    await rooms_store.delete_memberships(transaction, gone)
    for user_id in members:
        transaction.announce(Entry(Kind.MEMBERSHIP, user_id, room.room_id))


def _portions(rows: Sequence[_Row]) -> Iterator[Sequence[_Row]]:
    for start in range(0, len(rows), _SLICE):
        yield rows[start : start + _SLICE]
