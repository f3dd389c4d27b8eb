"""How events relate to one another. A child that is redacted loses its row: it relates to nothing any more."""

from collections.abc import Sequence
from typing import NamedTuple

from ranvier.store.database import Database, Reader, Transaction


class ChildCount(NamedTuple):
    """The children of one kind that an event has within a room, and whether one user sent any of them."""

    parent: str
    rel_type: str
    room: int
    number: int
    participated: bool


class Child(NamedTuple):
    """A child event by its number."""

    parent: str
    rel_type: str
    room: int
    child: int


async def annotation_exists(reader: Reader, parent: str, sender: str, kind: str, key: str) -> bool:
    """Whether the user has already annotated an event with this type and key."""
    row = await reader.fetch_row(
        "SELECT 1 FROM relations WHERE parent = $1 AND rel_type = 'm.annotation' AND sender = $2 AND type = $3 "
        "AND aggregation_key = $4",
        parent,
        sender,
        kind,
        key,
    )
    return row is not None


async def delete_child(transaction: Transaction, child: int) -> None:
    """A child was redacted: its relation is no more."""
    await transaction.execute("DELETE FROM relations WHERE child = $1", child)


async def counts(
    reader: Reader, parents: Sequence[str], user_id: str, ignored: Sequence[str]
) -> list[ChildCount]:
    """The edits, thread events and references of each parent, those of ignored users left out."""
    rows = await reader.fetch(
        "SELECT parent, rel_type, room, COUNT(*), MAX(CASE WHEN sender = $2 THEN 1 ELSE 0 END) FROM relations "
        "WHERE parent = ANY($1) AND rel_type IN ('m.replace', 'm.thread', 'm.reference') "
        "AND NOT (sender = ANY($3)) GROUP BY parent, rel_type, room",
        list(parents),
        user_id,
        list(ignored),
    )
    return [ChildCount(row[0], row[1], row[2], row[3], bool(row[4])) for row in rows]


async def newest(
    reader: Reader, parents: Sequence[str], rel_types: Sequence[str], ignored: Sequence[str], most: int
) -> list[Child]:
    """Up to `most` children of each kind for each parent, the newest first."""
    rows = await reader.fetch(
        "SELECT parent, rel_type, room, child FROM (SELECT parent, rel_type, room, child, "
        "ROW_NUMBER() OVER (PARTITION BY parent, rel_type ORDER BY child DESC) AS place FROM relations "
        "WHERE parent = ANY($1) AND rel_type = ANY($2) AND NOT (sender = ANY($3))) AS ranked "
        "WHERE place <= $4 ORDER BY parent, rel_type, child DESC",
        list(parents),
        list(rel_types),
        list(ignored),
        most,
    )
    return [Child(*row) for row in rows]


async def redacted_among(reader: Reader, event_ids: Sequence[str]) -> set[str]:
    """Those of the events that were redacted."""
    rows = await reader.fetch(
        "SELECT event_id FROM events WHERE event_id = ANY($1) AND redacted_by IS NOT NULL", list(event_ids)
    )
    return {row[0] for row in rows}


async def page(
    reader: Reader,
    room: int,
    parent: str,
    *,
    rel_type: str | None,
    kind: str | None,
    hops: int,
    before: tuple[int, int],
    after: tuple[int, int],
    backwards: bool,
    limit: int,
) -> list[int]:
    """The numbers of the events that relate to one, over up to `hops` relations, in the order of the room.

    Each event on the way has the wanted `rel_type` and type (`kind`), if any. The bounds are places (depth,
    number): `after <= place < before`.
    """
    order = "DESC" if backwards else "ASC"
    wanted = "r.room = $2 AND ($3 = '' OR r.rel_type = $3) AND ($4 = '' OR r.type = $4)"
    sql = (
        "WITH RECURSIVE related(nid, event_id, depth, hop) AS ("  # noqa: S608
        "SELECT e.nid, e.event_id, e.depth, 1 FROM relations r JOIN events e ON e.nid = r.child "
        f"WHERE r.parent = $1 AND {wanted} UNION "
        "SELECT e.nid, e.event_id, e.depth, x.hop + 1 FROM related x JOIN relations r ON r.parent = x.event_id "
        f"JOIN events e ON e.nid = r.child WHERE x.hop < $5 AND {wanted}) "
        "SELECT nid FROM related WHERE (depth, nid) < ($6, $7) AND (depth, nid) >= ($8, $9) "
        f"ORDER BY depth {order}, nid {order} LIMIT $10"
    )
    rows = await reader.fetch(sql, parent, room, rel_type or "", kind or "", hops, *before, *after, limit)
    return [row[0] for row in rows]


async def thread_roots(
    database: Database,
    room: int,
    *,
    participant: str | None,
    ignored: Sequence[str],
    before: int,
    limit: int,
) -> list[tuple[str, int]]:
    """Roots of the room's threads with the number of each thread's newest event, the newest thread first.

    With `participant`, only threads in which that user sent something, be it the root. `before` bounds the newest
    events' numbers.
    """
    took_part = (
        "" if participant is None else " AND MAX(CASE WHEN $5 IN (r.sender, p.sender) THEN 1 ELSE 0 END) = 1"
    )
    rows = await database.fetch_slowly(
        "SELECT r.parent, MAX(r.child) FROM relations r JOIN events p ON p.event_id = r.parent AND p.room = r.room "  # noqa: S608
        "WHERE r.room = $1 AND r.rel_type = 'm.thread' AND NOT (r.sender = ANY($2)) "
        f"GROUP BY r.parent HAVING MAX(r.child) < $3{took_part} ORDER BY MAX(r.child) DESC LIMIT $4",
        room,
        list(ignored),
        before,
        limit,
        *(() if participant is None else (participant,)),
    )
    return [(row[0], row[1]) for row in rows]


async def child_senders(reader: Reader, parents: Sequence[str]) -> list[tuple[str, str, str]]:
    """(parent, rel_type, sender), each once, of all children: for filters that ask for them."""
    rows = await reader.fetch(
        "SELECT DISTINCT parent, rel_type, sender FROM relations WHERE parent = ANY($1)", list(parents)
    )
    return [(row[0], row[1], row[2]) for row in rows]
