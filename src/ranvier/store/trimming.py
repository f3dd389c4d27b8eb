"""Taking out what has served its time: old entries of the log, transaction ids, originals of redacted events.

Everything goes in slices, so that no transaction is long.
"""

from ranvier.store import events
from ranvier.store.database import Reader, Transaction
from ranvier.store.log import Kind, read_horizon

LOG_SLICE = 5_000
"""Positions of the log that one transaction takes out."""
TRANSACTIONS_SLICE = 5_000
ORIGINALS_SLICE = 200


async def mark_log(transaction: Transaction, now: int) -> None:
    """Note how far the log is at this time (ms since the epoch)."""
    await transaction.execute(
        "INSERT INTO log_marks (position, marked_ts) SELECT MAX(position), CAST($1 AS BIGINT) FROM log "
        "HAVING MAX(position) IS NOT NULL ON CONFLICT DO NOTHING",
        now,
    )


async def find_horizon(reader: Reader, before: int, most: int) -> int:
    """The position below which the log may be trimmed: what is older than a time (ms), or exceeds `most` entries.

    The newest entry always stays, as positions are counted on from it.
    """
    marked = await reader.fetch_value("SELECT MAX(position) FROM log_marks WHERE marked_ts <= $1", before)
    tip = await reader.fetch_value("SELECT MAX(position) FROM log")
    return min(max(marked or 0, (tip or 0) - most), (tip or 0) - 1)


async def trim_log(transaction: Transaction, target: int) -> int:
    """Take out one slice of the log on the way to the target; answers the new horizon.

    Entries of messages that still wait for their device stay, as they say in which order it gets them.
    """
    horizon = await read_horizon(transaction)
    until = min(target, horizon + LOG_SLICE)
    if until <= horizon:
        return horizon
    await transaction.execute(
        "DELETE FROM log WHERE position > $1 AND position <= $2 AND NOT (kind = $3 AND EXISTS "
        "(SELECT 1 FROM to_device_messages m WHERE m.id = log.ref))",
        horizon,
        until,
        int(Kind.TO_DEVICE),
    )
    await transaction.execute("UPDATE meta SET value = $1 WHERE name = 'log_horizon'", str(until))
    await transaction.execute("DELETE FROM log_marks WHERE position < $1", until)
    return until


async def trim_delivered(transaction: Transaction) -> int:
    """Take out what was left below the horizon for a device that has its messages by now; answers how many."""
    return await transaction.execute(
        "DELETE FROM log WHERE position IN (SELECT l.position FROM log l "
        "LEFT JOIN to_device_messages m ON m.id = l.ref "
        "WHERE l.position <= $1 AND l.kind = $2 AND m.id IS NULL ORDER BY l.position LIMIT $3)",
        await read_horizon(transaction),
        int(Kind.TO_DEVICE),
        LOG_SLICE,
    )


async def trim_transactions(transaction: Transaction, before: int) -> int:
    """Forget a slice of the clients' transaction ids that are older than a time (ms); answers how many."""
    last = await transaction.fetch_value(
        "SELECT created_ts FROM transactions WHERE created_ts < $1 ORDER BY created_ts LIMIT 1 OFFSET $2",
        before,
        TRANSACTIONS_SLICE,
    )
    until = before if last is None else last + 1
    return await transaction.execute("DELETE FROM transactions WHERE created_ts < $1", until)


async def drop_originals(transaction: Transaction, before: int) -> int:
    """Overwrite a slice of the events redacted before a time (ms) with what redaction left; answers how many."""
    rows = await transaction.fetch(
        "SELECT event FROM kept_originals WHERE redacted_ts <= $1 ORDER BY redacted_ts LIMIT $2",
        before,
        ORIGINALS_SLICE,
    )
    nids = [row[0] for row in rows]
    if not nids:
        return 0
    for nid, kept in (await events.by_nid(transaction, nids)).items():
        await transaction.execute("UPDATE events SET pdu = $2 WHERE nid = $1", nid, kept.event.pdu_json)
    return await transaction.execute("DELETE FROM kept_originals WHERE event = ANY($1)", nids)
