"""What is written of events that were judged: one function for a batch, whoever made them.

Also the values that say what there is to write, and what becomes of a head by them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from ranvier.protocol import relations
from ranvier.rooms.events import cost_of
from ranvier.rooms.heads import MEMBER, Head, Room, TimelineItem
from ranvier.rooms.unread import Counted
from ranvier.store import auth_chains as auth_chains_store
from ranvier.store import events as events_store
from ranvier.store import gaps as gaps_store
from ranvier.store import redactions as redactions_store
from ranvier.store import relations as relations_store
from ranvier.store import rooms as rooms_store
from ranvier.store import state as state_store
from ranvier.store import unread as unread_store
from ranvier.store.database import Crowded, Entry, Transaction
from ranvier.store.events import Judgement, StoredEvent
from ranvier.store.log import Kind, room_audience
from ranvier.store.rooms import Membership
from ranvier.store.state import Key, Root

Moved = Mapping[Key, tuple[StoredEvent | None, StoredEvent | None]]
"""Current state that changed: by key the event that stood and the one that stands now."""


class Stale(Exception):
    """The head, or a part of it that the event needs, is no longer or not yet in memory: gather again."""


@dataclass(frozen=True, slots=True)
class Branch:
    """A state that no line holds yet: that at `root`, with changes (events' numbers, None where a key goes away).

    `line` is a number for the line that it starts if it can't go on where `root` is; `head_line` is the line of the
    room's head, which is not to be grown here.
    """

    root: Root
    changes: Mapping[Key, int | None]
    line: int
    head_line: int


@dataclass(slots=True)
class Made:
    """An event that was judged, and what its commit writes besides it.

    Without `item` it does not enter the timeline and moves nothing. `branch` is the state before it, where that is
    still to be written. With `known`, it is kept as an outlier already. `redacted_by` are redactions that waited for
    it; `awaits` is the id of the event that this one waits for.
    """

    kept: StoredEvent
    item: TimelineItem | None
    extremities: tuple[StoredEvent, ...] = ()
    moved: Moved = field(default_factory=dict)
    counted: Counted | None = None
    targets: Sequence[StoredEvent] = ()
    redacted_by: Sequence[StoredEvent] = ()
    stripped_state: list[dict[str, Any]] | None = None
    branch: Branch | None = None
    known: bool = False
    gaps: Sequence[str] = ()
    fills_gap: bool = False
    awaits: str | None = None


def next_head(head: Head, made: Made) -> Head:
    """The head that the event leads to."""
    if made.item is None:
        return head
    state = head.state
    if len(made.moved) == 1:
        for key, (_, new) in made.moved.items():
            state = state.set(key, new)
    elif made.moved:
        state = state.update({key: new for key, (_, new) in made.moved.items()})
    return replace(
        head,
        version=made.item.version,
        extremities=made.extremities,
        state=state,
        root=made.item.root_after,
    )


async def write_timeline(transaction: Transaction, made: Iterable[Made]) -> set[int]:
    """The compare-and-set of all that moves heads; answers the rooms in which another was faster.

    Nothing is written of those. It may end the transaction instead, which is then run again, with care.
    """
    rows = [
        (one.kept.room, one.item.version, one.kept.nid, *one.item.root_after, _extremities_json(one))
        for one in made
        if one.item is not None
    ]
    # In one order whoever writes, so that no two processes wait for each other.
    rows.sort(key=lambda row: row[:2])
    if not transaction.is_careful:
        await rooms_store.put_timeline(transaction, rows, Crowded())
        return set()
    if not rows or await rooms_store.insert_timeline(transaction, rows) == len(rows):
        return set()
    return await rooms_store.take_back_timeline(transaction, [(row[0], row[1], row[2]) for row in rows])


def _extremities_json(made: Made) -> str | None:
    if len(made.extremities) == 1 and made.extremities[0].nid == made.kept.nid:
        return None
    return orjson.dumps([kept.nid for kept in made.extremities]).decode()


async def write_made(transaction: Transaction, made: Sequence[Made], server_name: str) -> None:
    """Everything else about the events; entries of the log included."""
    for one in made:
        if one.branch is not None:
            await write_branch(transaction, one)
    await _write_events(transaction, made)
    await _write_state(transaction, made)
    await _write_memberships(transaction, made, server_name)
    await _write_relations(transaction, made)
    placed = [one.kept for one in made if one.kept.event.is_state and not one.known]
    if placed and not await auth_chains_store.insert(transaction, placed):
        raise Stale
    for one in made:
        for target in one.targets:
            await write_redaction(transaction, one.kept.event.event_id, target)
        if one.redacted_by:
            await _write_late_redactions(transaction, one)
        if one.awaits is not None:
            await redactions_store.expect(transaction, one.awaits, one.kept.nid)
        if one.fills_gap:
            await gaps_store.fill(transaction, one.kept.room, [one.kept.event.event_id])
        if one.gaps:
            await gaps_store.insert(
                transaction, one.kept.room, [(event_id, one.kept.nid) for event_id in one.gaps]
            )


def announce(transaction: Transaction, made: Iterable[Made]) -> None:
    """Entries of the log, in the order of the events."""
    for one in made:
        item = one.item
        if item is None:
            continue
        audience = room_audience(one.kept.room)
        entry = Entry(Kind.EVENT, audience, str(item.version), item)
        entry.weight = cost_of(one.kept)
        transaction.announce(entry)
        if item.tangled:
            transaction.announce(Entry(Kind.STATE, audience, str(item.version), one.moved))


async def write_branch(transaction: Transaction, made: Made) -> None:
    """Give the state before an event, and the change that it makes itself, a line; the event then knows its root."""
    branch, kept = made.branch, made.kept
    assert branch is not None
    rows = list(branch.changes.items())
    own = kept.event.is_state and kept.judgement is not Judgement.REJECTED
    if own:
        rows.append(((kept.event.type, kept.event.state_key or ""), kept.nid))
    root = branch.root
    if rows:
        grown = None
        if root.line == 0:
            # Before it there was nothing: it begins a line.
            await state_store.insert_lines(transaction, [(branch.line, kept.room, None, None)])
            grown = await state_store.extend(transaction, Root(branch.line, 0), rows)
        elif root.line != branch.head_line:
            grown = await state_store.extend(transaction, root, rows)
        if grown is None:
            forked = await state_store.fork(transaction, branch.line, kept.room, root)
            grown = await state_store.extend(transaction, forked, rows)
        assert grown is not None
        root = Root(grown.line, grown.version - 1) if own else grown
    kept.state_line, kept.state_version = root


async def _write_events(transaction: Transaction, made: Iterable[Made]) -> None:
    new = [one.kept for one in made if not one.known]
    # Another process may have been faster with an event that both received.
    await events_store.put(transaction, new, Stale())
    brought = [one.kept for one in made if one.known]
    if brought:
        await events_store.bring_in(transaction, brought)


async def _write_state(transaction: Transaction, made: Iterable[Made]) -> None:
    changes = []
    current: dict[tuple[int, str, str], int | None] = {}
    for one in made:
        if one.item is None:
            continue
        root = one.item.root_after
        first = root.version - len(one.moved) + 1
        for place, (key, (_, new)) in enumerate(one.moved.items()):
            nid = new.nid if new is not None else None
            changes.append((root.line, *key, first + place, nid))
            current[(one.kept.room, *key)] = nid
    if changes:
        await state_store.insert_changes(transaction, changes)
    standing = [(*key, nid) for key, nid in current.items() if nid is not None]
    if standing:
        await state_store.set_current(transaction, standing)
    for (room, kind, state_key), nid in current.items():
        if nid is None:
            await state_store.unset_current(transaction, room, [(kind, state_key)])


async def _write_memberships(transaction: Transaction, made: Iterable[Made], server_name: str) -> None:
    newest: dict[tuple[str, str], Membership | None] = {}
    for one in made:
        for (kind, user_id), (_, new) in one.moved.items():
            if kind != MEMBER:
                continue
            room_id = one.kept.event.room_id
            newest[user_id, room_id] = (
                membership_of(room_id, new, one.stripped_state if new.nid == one.kept.nid else None)
                if new is not None
                else None
            )
    if not newest:
        return
    await rooms_store.set_memberships(transaction, [one for one in newest.values() if one is not None])
    gone = [pair for pair, one in newest.items() if one is None]
    if gone:
        await rooms_store.delete_memberships(transaction, gone)
    suffix = f":{server_name}"
    for (user_id, room_id), membership in newest.items():
        if user_id.endswith(suffix):
            transaction.announce(Entry(Kind.MEMBERSHIP, user_id, room_id, membership))


def membership_of(
    room_id: str, kept: StoredEvent, stripped_state: list[dict[str, Any]] | None = None
) -> Membership:
    """What a membership event makes of the user whose it is."""
    event = kept.event
    return Membership(
        event.state_key or "",
        room_id,
        kept.room,
        event.content["membership"],
        kept.nid,
        event.sender,
        forgotten=False,
        stripped_state=stripped_state,
    )


async def _write_relations(transaction: Transaction, made: Iterable[Made]) -> None:
    rows = []
    for one in made:
        event = one.kept.event
        if one.kept.judgement is not Judgement.ACCEPTED or "m.relates_to" not in event.content:
            continue
        relation = relations.relation_of(event.content)
        if relation is not None:
            rows.append(
                (
                    relation.event_id,
                    one.kept.nid,
                    one.kept.room,
                    relation.rel_type,
                    event.type,
                    event.sender,
                    relation.key,
                )
            )
    if rows:
        await events_store.insert_relations(transaction, rows)


async def write_redaction(transaction: Transaction, by: str, target: StoredEvent) -> None:
    """Note that an event was redacted, if it was not before."""
    if await events_store.mark_redacted(transaction, target.event.event_id, by):
        await relations_store.delete_child(transaction, target.nid)
        if target.timeline_version:
            thread = await _thread_of(transaction, target.event.content)
            await unread_store.take_back(transaction, target.room, thread, target.timeline_version)
        transaction.announce(Entry(Kind.REDACTION, room_audience(target.room), str(target.nid), target))


async def _thread_of(transaction: Transaction, content: Mapping[str, Any]) -> str:
    """As `Events.thread_of`, within the transaction."""
    for _ in range(relations.MAX_THREAD_HOPS):
        relation = relations.relation_of(content) if "m.relates_to" in content else None
        if relation is None:
            break
        if relation.rel_type == relations.THREAD:
            return relation.event_id
        parent = await events_store.by_id(transaction, relation.event_id)
        if parent is None:
            break
        content = parent.event.content
    return relations.MAIN_TIMELINE


async def _write_late_redactions(transaction: Transaction, made: Made) -> None:
    """The event that redactions waited for has come, and they are right: from now on clients are shown them."""
    for redaction in made.redacted_by:
        await write_redaction(transaction, redaction.event.event_id, made.kept)
        await events_store.judge(transaction, redaction.nid, Judgement.ACCEPTED)
    await redactions_store.settle(transaction, made.kept.event.event_id)


def recount(room: Room, made: Made) -> None:
    """Keep the room's numbers of members by membership, and by server."""
    if made.item is None or room.counts is None or made.item.version <= room.counted:
        return
    for (kind, user_id), (old, new) in made.moved.items():
        if kind != MEMBER:
            continue
        before = old.event.content["membership"] if old is not None else None
        now = new.event.content["membership"] if new is not None else None
        if before is not None:
            room.counts[before] = room.counts.get(before, 0) - 1
        if now is not None:
            room.counts[now] = room.counts.get(now, 0) + 1
        room.move_member(user_id, was_joined=before == "join", is_joined=now == "join")
    room.counted = made.item.version
