"""Events as they are kept: the PDU, and what this server knows of it besides."""

from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Any

import orjson

from ranvier.protocol.events import Event, redacted
from ranvier.protocol.room_versions import ROOM_VERSIONS
from ranvier.store.database import Reader, Row, Transaction


class Judgement(IntEnum):
    """What became of an event. Numbers are stored."""

    ACCEPTED = 0
    OUTLIER = 1
    REJECTED = 2
    SOFT_FAILED = 3
    WITHHELD = 4
    """Accepted, and in the timeline, but not shown to clients: a redaction whose right to redact is not proven."""


DELAYED = "*delayed"
"""Stands for the device in the transaction of an event that was sent later; its transaction id is the delay id."""


class StoredEvent:
    """An event with its number, the root of the state before it, and who redacted it, if anybody.

    `event` is what may be shown: after a redaction, the redacted form. `transaction` is (device id, transaction id)
    of the sender's own request. `received_ts` is in milliseconds since the epoch. `timeline_version` is the version of
    the room's timeline that it made, 0 if it never entered it.

    `state_line` is 0 where the state before it is not known, as of an outlier. Otherwise the state after a state event
    that was not rejected is at `state_version + 1` of that line, and after any other event it is the one before.
    """

    __slots__ = (
        "event",
        "judgement",
        "nid",
        "received_ts",
        "redacted_by",
        "room",
        "state_line",
        "state_version",
        "timeline_version",
        "transaction",
    )

    def __init__(
        self,
        nid: int,
        room: int,
        event: Event,
        *,
        state_line: int,
        state_version: int,
        received_ts: int,
        timeline_version: int = 0,
        judgement: Judgement = Judgement.ACCEPTED,
        redacted_by: str | None = None,
        transaction: tuple[str, str] | None = None,
    ) -> None:
        self.nid = nid
        self.room = room
        self.event = event
        self.state_line = state_line
        self.state_version = state_version
        self.received_ts = received_ts
        self.timeline_version = timeline_version
        self.judgement = judgement
        self.redacted_by = redacted_by
        self.transaction = transaction

    def as_redacted(self) -> "StoredEvent":
        """The same as one sees it from whom its content is kept."""
        return StoredEvent(
            self.nid,
            self.room,
            redacted(self.event),
            state_line=self.state_line,
            state_version=self.state_version,
            received_ts=self.received_ts,
            timeline_version=self.timeline_version,
            judgement=self.judgement,
            redacted_by=self.redacted_by,
            transaction=self.transaction,
        )


EVENT_COLUMNS = (
    "nid, event_id, room, type, state_key, sender, depth, received_ts, outcome, state_line, state_version, "
    "timeline_version, redacted_by, transaction_ref, pdu"
)
READ = (
    "e.nid, e.event_id, e.room, e.received_ts, e.outcome, e.state_line, e.state_version, e.redacted_by, "
    "e.transaction_ref, e.pdu, r.version, e.timeline_version"
)
FROM = "FROM events e JOIN rooms r ON r.nid = e.room"


def stored(row: Row) -> StoredEvent:
    """The event of a row that begins with what `READ` selects from `FROM`."""
    event = Event(row[1], ROOM_VERSIONS[row[10]], orjson.loads(row[9]), row[9])
    if row[7] is not None:
        event = redacted(event)
    return StoredEvent(
        row[0],
        row[2],
        event,
        received_ts=row[3],
        timeline_version=row[11] or 0,
        judgement=Judgement(row[4]),
        state_line=row[5],
        state_version=row[6],
        redacted_by=row[7],
        transaction=tuple(orjson.loads(row[8])) if row[8] is not None else None,
    )


async def insert(transaction: Transaction, events: Iterable[StoredEvent]) -> int:
    """Keep new events; answers how many were new by their ids."""
    return await transaction.insert("events", EVENT_COLUMNS, _rows(events), "(event_id) DO NOTHING")


async def put(transaction: Transaction, events: Iterable[StoredEvent], known: Exception) -> None:
    """Keep new events; one whose id is known ends the transaction with `known`."""
    await transaction.put("events", EVENT_COLUMNS, _rows(events), "(event_id) DO NOTHING", known)


def _rows(events: Iterable[StoredEvent]) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for kept in events:
        event = kept.event
        ref = orjson.dumps(kept.transaction).decode() if kept.transaction else None
        rows.append(
            (
                kept.nid,
                event.event_id,
                kept.room,
                event.type,
                event.state_key,
                event.sender,
                event.depth,
                kept.received_ts,
                int(kept.judgement),
                kept.state_line,
                kept.state_version,
                kept.timeline_version or None,
                kept.redacted_by,
                ref,
                event.pdu_json,
            )
        )
    return rows


async def bring_in(transaction: Transaction, events: Iterable[StoredEvent]) -> None:
    """Events that were outliers have a place now, and the judgement that goes with it."""
    for kept in events:
        await transaction.execute(
            "UPDATE events SET outcome = $2, state_line = $3, state_version = $4, timeline_version = $5, "
            "received_ts = $6 WHERE nid = $1",
            kept.nid,
            int(kept.judgement),
            kept.state_line,
            kept.state_version,
            kept.timeline_version or None,
            kept.received_ts,
        )


async def judge(transaction: Transaction, nid: int, judgement: Judgement) -> None:
    """Another judgement takes the place of an event's."""
    await transaction.execute("UPDATE events SET outcome = $2 WHERE nid = $1", nid, int(judgement))


async def rejected_since(reader: Reader, room: int, after: int, limit: int) -> list[int]:
    """The numbers of the room's events after one that were rejected by the state before them, oldest first."""
    rows = await reader.fetch(
        "SELECT nid FROM events WHERE nid > $1 AND room = $2 AND outcome = $3 AND state_line <> 0 "
        "ORDER BY nid LIMIT $4",
        after,
        room,
        int(Judgement.REJECTED),
        limit,
    )
    return [row[0] for row in rows]


async def by_nid(reader: Reader, nids: Sequence[int]) -> dict[int, StoredEvent]:
    """Events by number; unknown ones are left out."""
    rows = await reader.fetch(f"SELECT {READ} {FROM} WHERE e.nid = ANY($1)", list(nids))
    return {row[0]: stored(row) for row in rows}


async def by_id(reader: Reader, event_id: str) -> StoredEvent | None:
    """One event by its id."""
    row = await reader.fetch_row(f"SELECT {READ} {FROM} WHERE e.event_id = $1", event_id)
    return stored(row) if row is not None else None


async def by_ids(reader: Reader, event_ids: Sequence[str]) -> dict[str, StoredEvent]:
    """Events by id; unknown ones are left out."""
    rows = await reader.fetch(f"SELECT {READ} {FROM} WHERE e.event_id = ANY($1)", list(event_ids))
    return {row[1]: stored(row) for row in rows}


async def nids_of(reader: Reader, event_ids: Sequence[str]) -> dict[str, int]:
    """The numbers of events by id."""
    rows = await reader.fetch("SELECT event_id, nid FROM events WHERE event_id = ANY($1)", list(event_ids))
    return {row[0]: row[1] for row in rows}


async def mark_redacted(transaction: Transaction, event_id: str, by: str) -> int:
    """Note the first redaction of an event, by one that is kept already; answers how many rows changed.

    The original PDU stays until its time is over.
    """
    changed = await transaction.execute(
        "UPDATE events SET redacted_by = $2 WHERE event_id = $1 AND redacted_by IS NULL", event_id, by
    )
    if changed:
        await transaction.execute(
            "INSERT INTO kept_originals (event, redacted_ts) SELECT e.nid, r.received_ts FROM events e "
            "JOIN events r ON r.event_id = $2 WHERE e.event_id = $1 ON CONFLICT DO NOTHING",
            event_id,
            by,
        )
    return changed


async def memberships(reader: Reader, room: int, user_id: str, most: int = 200) -> list[int]:
    """The numbers of a user's membership events of a room, on whatever branch; the newest to arrive first."""
    rows = await reader.fetch(
        "SELECT nid FROM events WHERE type = 'm.room.member' AND room = $1 AND state_key = $2 "
        "ORDER BY nid DESC LIMIT $3",
        room,
        user_id,
        most,
    )
    return [row[0] for row in rows]


async def history(
    reader: Reader,
    room: int,
    *,
    before: tuple[int, int],
    after: tuple[int, int],
    backwards: bool,
    limit: int,
) -> list[int]:
    """The numbers of a room's accepted events by (depth, number), `after <= place < before`.

    Newest first if `backwards`. This reads an index and nothing else.
    """
    order = "DESC" if backwards else "ASC"
    sql = (
        "SELECT nid FROM events WHERE outcome = 0 AND room = $1 "  # noqa: S608
        "AND (depth, nid) < ($2, $3) AND (depth, nid) >= ($4, $5) "
        f"ORDER BY depth {order}, nid {order} LIMIT $6"
    )
    return [row[0] for row in await reader.fetch(sql, room, *before, *after, limit)]


async def insert_relations(transaction: Transaction, rows: Sequence[Sequence[Any]]) -> None:
    """Rows of (parent event id, child number, room, rel_type, type, sender, aggregation key or None)."""
    await transaction.put(
        "relations", "parent, child, room, rel_type, type, sender, aggregation_key", rows, "DO NOTHING"
    )
