"""Events that are referred to and absent: a room's backward extremities."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ranvier.store.database import Reader, Transaction


class Gap(NamedTuple):
    """An absent event, and the event (its number, id and depth) that names it as one of its `prev_events`."""

    event_id: str
    child: int
    child_id: str
    child_depth: int


async def insert(transaction: Transaction, room: int, rows: Iterable[tuple[str, int]]) -> None:
    """Note absent events: (id, number of the event that names it)."""
    await transaction.insert(
        "gaps", "room, event_id, child", [(room, event_id, child) for event_id, child in rows], "DO NOTHING"
    )


async def fill(transaction: Transaction, room: int, event_ids: Sequence[str]) -> None:
    """These events are there now."""
    await transaction.execute(
        "DELETE FROM gaps WHERE room = $1 AND event_id = ANY($2)", room, list(event_ids)
    )


async def newest(reader: Reader, room: int, below: int, limit: int) -> list[Gap]:
    """Gaps whose child's depth is at most `below`, the deepest first: what backfill asks for next."""
    rows = await reader.fetch(
        "SELECT g.event_id, g.child, e.event_id, e.depth FROM gaps g JOIN events e ON e.nid = g.child "
        "WHERE g.room = $1 AND e.depth <= $2 ORDER BY e.depth DESC, g.child DESC LIMIT $3",
        room,
        below,
        limit,
    )
    return [Gap(*row) for row in rows]


async def children_among(reader: Reader, room: int, nids: Sequence[int]) -> set[int]:
    """Those of the events (numbers) before which there is a gap."""
    rows = await reader.fetch(
        "SELECT DISTINCT child FROM gaps WHERE room = $1 AND child = ANY($2)", room, list(nids)
    )
    return {row[0] for row in rows}


async def rooms_with(reader: Reader, rooms: Sequence[int]) -> set[int]:
    """Those of the rooms that have any gap."""
    rows = await reader.fetch(
        "SELECT r.nid FROM rooms r "
        "WHERE r.nid = ANY($1) AND EXISTS (SELECT 1 FROM gaps g WHERE g.room = r.nid)",
        list(rooms),
    )
    return {row[0] for row in rows}


async def children(reader: Reader, room: int, event_id: str) -> list[int]:
    """The numbers of the events that refer to an absent one."""
    rows = await reader.fetch("SELECT child FROM gaps WHERE room = $1 AND event_id = $2", room, event_id)
    return [row[0] for row in rows]
