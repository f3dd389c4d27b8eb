"""One-time and fallback keys of devices: uploaded, counted, given out once."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ranvier.store import tuples
from ranvier.store.database import Entry, Reader, Transaction
from ranvier.store.log import Kind, device_audience

Wanted = tuple[str, str, str]
"""User, device and algorithm."""


class KeyRow(NamedTuple):
    """A key of an algorithm with its identifier; `key` is JSON."""

    algorithm: str
    key_id: str
    key: str


class FallbackRow(NamedTuple):
    """A fallback key, and whether somebody was given it."""

    algorithm: str
    key_id: str
    key: str
    used: bool


async def one_time_key_counts(reader: Reader, user_id: str, device_id: str) -> dict[str, int]:
    """Keys of a device that can be claimed, by algorithm."""
    rows = await reader.fetch(
        "SELECT algorithm, COUNT(*) FROM one_time_keys "
        "WHERE user_id = $1 AND device_id = $2 AND claimed_ts IS NULL GROUP BY algorithm",
        user_id,
        device_id,
    )
    # COMPAT(older clients): a count that vanishes is not read as zero by all of them.
    return {"signed_curve25519": 0, **{row[0]: row[1] for row in rows}}


async def unused_fallback_key_types(reader: Reader, user_id: str, device_id: str) -> list[str]:
    """Algorithms with a fallback key that nobody was given yet."""
    rows = await reader.fetch(
        "SELECT algorithm FROM fallback_keys WHERE user_id = $1 AND device_id = $2 AND used = FALSE "
        "ORDER BY algorithm",
        user_id,
        device_id,
    )
    return [row[0] for row in rows]


async def read_one_time_keys(
    reader: Reader, user_id: str, device_id: str, key_ids: Sequence[str]
) -> dict[tuple[str, str], tuple[str, bool]]:
    """Keys that are known under these identifiers, by algorithm and identifier: the key, and if it was claimed."""
    rows = await reader.fetch(
        "SELECT algorithm, key_id, key, claimed_ts FROM one_time_keys "
        "WHERE user_id = $1 AND device_id = $2 AND key_id = ANY($3)",
        user_id,
        device_id,
        list(key_ids),
    )
    return {(row[0], row[1]): (row[2], row[3] is not None) for row in rows}


async def insert_one_time_keys(
    transaction: Transaction, user_id: str, device_id: str, keys: Sequence[KeyRow]
) -> None:
    """Keep keys behind those that were uploaded before; a claimed one of the same name gives way."""
    place = await transaction.fetch_value(
        "SELECT COALESCE(MAX(place), 0) + 1 FROM one_time_keys WHERE user_id = $1 AND device_id = $2",
        user_id,
        device_id,
    )
    await transaction.insert(
        "one_time_keys",
        "user_id, device_id, algorithm, key_id, place, key, claimed_ts",
        [
            (user_id, device_id, key.algorithm, key.key_id, place + i, key.key, None)
            for i, key in enumerate(keys)
        ],
        "(user_id, device_id, algorithm, key_id) DO UPDATE SET "
        "place = excluded.place, key = excluded.key, claimed_ts = NULL",
    )


async def forget_claimed(transaction: Transaction, user_id: str, device_id: str, before: int) -> None:
    """Drop keys that were claimed before a time (milliseconds since the epoch)."""
    await transaction.execute(
        "DELETE FROM one_time_keys WHERE user_id = $1 AND device_id = $2 AND claimed_ts < $3",
        user_id,
        device_id,
        before,
    )


async def claim_one_time_keys(
    transaction: Transaction, wanted: Iterable[Wanted], now: int
) -> dict[Wanted, KeyRow]:
    """Give out, of each device and algorithm, the key that was uploaded first; each key is given once.

    Who has none is left out. `now` is the time in milliseconds since the epoch.
    """
    found: dict[Wanted, KeyRow] = {}
    for portion in tuples.slices(sorted(set(wanted))):
        missing = list(portion)
        while missing:
            claimed = await _claim(transaction, missing, now)
            if not claimed:
                break
            found |= claimed
            # What another process took in the same moment is tried again.
            missing = [one for one in missing if one not in found]
    return found


async def _claim(transaction: Transaction, wanted: Sequence[Sequence[str]], now: int) -> dict[Wanted, KeyRow]:
    table, values = tuples.table_of(wanted, ("TEXT", "TEXT", "TEXT"), first=2)
    rows = await transaction.fetch(
        f"WITH wanted (user_id, device_id, algorithm) AS ({table}), "  # noqa: S608
        "oldest AS (SELECT w.user_id, w.device_id, w.algorithm, ("
        "SELECT k.key_id FROM one_time_keys k WHERE k.user_id = w.user_id AND k.device_id = w.device_id "
        "AND k.algorithm = w.algorithm AND k.claimed_ts IS NULL ORDER BY k.place LIMIT 1"
        ") AS key_id FROM wanted w) "
        "UPDATE one_time_keys SET claimed_ts = $1 WHERE claimed_ts IS NULL "
        "AND (user_id, device_id, algorithm, key_id) IN (SELECT user_id, device_id, algorithm, key_id FROM oldest) "
        "RETURNING user_id, device_id, algorithm, key_id, key",
        now,
        *values,
    )
    return {(row[0], row[1], row[2]): KeyRow(row[2], row[3], row[4]) for row in rows}


async def read_fallback_keys(reader: Reader, user_id: str, device_id: str) -> dict[str, FallbackRow]:
    """A device's fallback keys by algorithm."""
    rows = await reader.fetch(
        "SELECT algorithm, key_id, key, used FROM fallback_keys WHERE user_id = $1 AND device_id = $2",
        user_id,
        device_id,
    )
    return {row[0]: FallbackRow(row[0], row[1], row[2], bool(row[3])) for row in rows}


async def write_fallback_keys(
    transaction: Transaction, user_id: str, device_id: str, keys: Sequence[KeyRow]
) -> None:
    """Keep new fallback keys in place of those of the same algorithms."""
    await transaction.insert(
        "fallback_keys",
        "user_id, device_id, algorithm, key_id, key, used",
        [(user_id, device_id, key.algorithm, key.key_id, key.key, False) for key in keys],
        "(user_id, device_id, algorithm) DO UPDATE SET "
        "key_id = excluded.key_id, key = excluded.key, used = excluded.used",
    )


async def claim_fallback_keys(
    transaction: Transaction, wanted: Iterable[Wanted]
) -> tuple[dict[Wanted, KeyRow], set[Wanted]]:
    """Fallback keys of devices and algorithms, and which of them were used for the first time."""
    found: dict[Wanted, KeyRow] = {}
    fresh: set[Wanted] = set()
    for portion in tuples.slices(sorted(set(wanted))):
        table, values = tuples.table_of(portion, ("TEXT", "TEXT", "TEXT"))
        condition = f"(user_id, device_id, algorithm) IN ({table})"
        rows = await transaction.fetch(
            f"SELECT user_id, device_id, algorithm, key_id, key FROM fallback_keys WHERE {condition}",  # noqa: S608
            *values,
        )
        found |= {(row[0], row[1], row[2]): KeyRow(row[2], row[3], row[4]) for row in rows}
        if not rows:
            continue
        changed = await transaction.fetch(
            f"UPDATE fallback_keys SET used = TRUE WHERE used = FALSE AND {condition} "  # noqa: S608
            "RETURNING user_id, device_id, algorithm",
            *values,
        )
        fresh |= {(row[0], row[1], row[2]) for row in changed}
    return found, fresh


def announce_key_counts(transaction: Transaction, devices: Iterable[tuple[str, str]]) -> None:
    """Say to devices that their counts, or their unused fallback keys, changed."""
    for user_id, device_id in devices:
        transaction.announce(Entry(Kind.ONE_TIME_KEYS, device_audience(user_id, device_id), ""))
