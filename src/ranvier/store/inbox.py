"""What other servers sent and the rooms have still to take in; and what was answered to their transactions."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from ranvier.store.database import Reader, Transaction

TRANSACTIONS_SLICE = 5_000


class Staged(NamedTuple):
    """An event that waits for its room: `pdu` is what may be used of it, `tries` how often it was tried in vain."""

    room: int
    event_id: str
    place: int
    origin: str
    pdu: bytes
    tries: int = 0


async def answer_to(reader: Reader, origin: str, txn_id: str) -> dict[str, Any] | None:
    """What was answered to a transaction, if it is known."""
    found = await reader.fetch_value(
        "SELECT answer FROM received_transactions WHERE origin = $1 AND txn_id = $2", origin, txn_id
    )
    return orjson.loads(found) if found is not None else None


async def note_answer(
    transaction: Transaction, origin: str, txn_id: str, answer: dict[str, Any], now: int
) -> bool:
    """Keep what a transaction is answered; False if it was answered before."""
    row = (origin, txn_id, orjson.dumps(answer).decode(), now)
    written = await transaction.insert(
        "received_transactions", "origin, txn_id, answer, received_ts", [row], "DO NOTHING"
    )
    return written == 1


async def stage(transaction: Transaction, staged: Sequence[Staged], now: int) -> None:
    """Keep events for their rooms; one that waits already is due now, as what it lacked may have come."""
    await transaction.insert(
        "inbox",
        "room, event_id, place, origin, pdu, tries, due_ts",
        [(*one, now) for one in staged],
        "(room, event_id) DO UPDATE SET due_ts = excluded.due_ts",
    )


async def rooms_due(reader: Reader, now: int) -> list[int]:
    """Rooms with events that may be tried now."""
    rows = await reader.fetch("SELECT DISTINCT room FROM inbox WHERE due_ts <= $1", now)
    return [row[0] for row in rows]


async def next_of(reader: Reader, room: int, now: int, limit: int) -> list[Staged]:
    """The room's first events that may be tried now, in the order in which they came."""
    rows = await reader.fetch(
        "SELECT room, event_id, place, origin, pdu, tries FROM inbox "
        "WHERE room = $1 AND due_ts <= $2 ORDER BY place LIMIT $3",
        room,
        now,
        limit,
    )
    return [Staged(*row) for row in rows]


async def waiting(reader: Reader, rooms: Sequence[int]) -> dict[int, int]:
    """How many events wait for each of these rooms; those for which none do are left out."""
    rows = await reader.fetch(
        "SELECT room, COUNT(*) FROM inbox WHERE room = ANY($1) GROUP BY room", list(rooms)
    )
    return {row[0]: int(row[1]) for row in rows}


async def take_out(transaction: Transaction, staged: Sequence[Staged]) -> None:
    """These events have been taken in, or never will be."""
    # No two events have one place.
    await transaction.execute(
        "DELETE FROM inbox WHERE room = ANY($1) AND place = ANY($2)",
        list({one.room for one in staged}),
        [one.place for one in staged],
    )


async def postpone(transaction: Transaction, room: int, event_id: str, due_ts: int) -> None:
    """An event was tried in vain: it is due again at a time (ms since the epoch)."""
    await transaction.execute(
        "UPDATE inbox SET tries = tries + 1, due_ts = $3 WHERE room = $1 AND event_id = $2",
        room,
        event_id,
        due_ts,
    )


async def trim_answers(transaction: Transaction, before: int) -> int:
    """Forget a slice of the answers that are older than a time (ms); answers how many."""
    last = await transaction.fetch_value(
        "SELECT received_ts FROM received_transactions WHERE received_ts < $1 "
        "ORDER BY received_ts LIMIT 1 OFFSET $2",
        before,
        TRANSACTIONS_SLICE,
    )
    until = before if last is None else last + 1
    return await transaction.execute("DELETE FROM received_transactions WHERE received_ts < $1", until)
