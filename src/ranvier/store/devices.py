"""Devices of local users, and when each was last heard of."""

from collections.abc import Sequence
from dataclasses import dataclass

from ranvier.store.database import Reader, Transaction

_SELECT = (
    "SELECT d.device_id, d.display_name, s.seen_ts, s.address, s.user_agent FROM devices d "
    "LEFT JOIN device_sightings s ON s.user_id = d.user_id AND s.device_id = d.device_id "
)


@dataclass(frozen=True, slots=True)
class Device:
    """A device as its owner sees it; `seen_ts` (milliseconds) and `address` may be minutes old."""

    device_id: str
    display_name: str | None
    seen_ts: int | None
    address: str | None
    user_agent: str | None


@dataclass(frozen=True, slots=True)
class Sighting:
    """A device was heard of at `seen_ts` (milliseconds)."""

    user_id: str
    device_id: str
    seen_ts: int
    address: str
    user_agent: str | None


async def of_user(reader: Reader, user_id: str) -> list[Device]:
    """All devices of a user."""
    rows = await reader.fetch(_SELECT + "WHERE d.user_id = $1 ORDER BY d.device_id", user_id)
    return [Device(*row) for row in rows]


async def find(reader: Reader, user_id: str, device_id: str) -> Device | None:
    """One device, if there is such."""
    row = await reader.fetch_row(_SELECT + "WHERE d.user_id = $1 AND d.device_id = $2", user_id, device_id)
    return Device(*row) if row is not None else None


async def add(
    transaction: Transaction, user_id: str, device_id: str, display_name: str | None, now: int
) -> bool:
    """Make a device; one that is there stays as it is (False)."""
    row = (user_id, device_id, display_name, now)
    columns = "user_id, device_id, display_name, created_ts"
    return await transaction.insert("devices", columns, [row], "DO NOTHING") == 1


async def rename(transaction: Transaction, user_id: str, device_id: str, display_name: str) -> bool:
    """Give the device another name; False if there is no such device."""
    sql = "UPDATE devices SET display_name = $3 WHERE user_id = $1 AND device_id = $2"
    return await transaction.execute(sql, user_id, device_id, display_name) == 1


async def remove(transaction: Transaction, user_id: str, device_ids: Sequence[str]) -> list[str]:
    """Forget devices; answers those that were there."""
    ids = list(device_ids)
    rows = await transaction.fetch(
        "SELECT device_id FROM devices WHERE user_id = $1 AND device_id = ANY($2)", user_id, ids
    )
    for table in ("devices", "device_sightings"):
        sql = f"DELETE FROM {table} WHERE user_id = $1 AND device_id = ANY($2)"  # noqa: S608
        await transaction.execute(sql, user_id, ids)
    return [row[0] for row in rows]


async def write_sightings(transaction: Transaction, sightings: Sequence[Sighting]) -> None:
    """Note when devices were last heard of; those that are gone are left out."""
    users = sorted({sighting.user_id for sighting in sightings})
    rows = await transaction.fetch("SELECT user_id, device_id FROM devices WHERE user_id = ANY($1)", users)
    there = {(row[0], row[1]) for row in rows}
    await transaction.insert(
        "device_sightings",
        "user_id, device_id, seen_ts, address, user_agent",
        [
            (s.user_id, s.device_id, s.seen_ts, s.address, s.user_agent)
            for s in sightings
            if (s.user_id, s.device_id) in there
        ],
        "(user_id, device_id) DO UPDATE SET seen_ts = excluded.seen_ts, address = excluded.address, "
        "user_agent = excluded.user_agent",
    )


async def last_seen(reader: Reader, user_id: str) -> int | None:
    """When the user was last heard of, on any device."""
    sql = "SELECT MAX(seen_ts) FROM device_sightings WHERE user_id = $1"
    return await reader.fetch_value(sql, user_id)  # type: ignore[no-any-return]


async def stale(reader: Reader, before: int, limit: int) -> list[tuple[str, str]]:
    """(user, device) of devices that were neither heard of nor made since then."""
    rows = await reader.fetch(
        "SELECT d.user_id, d.device_id FROM devices d "
        "LEFT JOIN device_sightings s ON s.user_id = d.user_id AND s.device_id = d.device_id "
        "WHERE d.created_ts < $1 AND (s.seen_ts IS NULL OR s.seen_ts < $1) LIMIT $2",
        before,
        limit,
    )
    return [(row[0], row[1]) for row in rows]
