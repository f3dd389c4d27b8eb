"""What changed of the devices of this server's users, in a sequence of its own for each user, as peers are told.

Source: server-server API, "Device Management": `stream_id` and `prev_id`.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from ranvier.store.database import Reader, Transaction

GONE = 1_000
"""Devices of a user whose change is remembered at most, those without keys by then: the newest."""


class DeviceChange(NamedTuple):
    """A device, and the newest place in its user's sequence that is about it."""

    stream_id: int
    device_id: str


async def note(transaction: Transaction, user_id: str, device_ids: Collection[str]) -> int:
    """These devices of a user were added, changed or deleted; answers the place that the user's sequence had before."""
    before = await newest(transaction, user_id)
    rows = [
        (user_id, device_id, before + number) for number, device_id in enumerate(sorted(set(device_ids)), 1)
    ]
    await transaction.insert(
        "device_changes",
        "user_id, device_id, stream_id",
        rows,
        "(user_id, device_id) DO UPDATE SET stream_id = excluded.stream_id",
    )
    if before >= GONE and rows:
        await _forget(transaction, user_id)
    return before


async def newest(reader: Reader, user_id: str) -> int:
    """The place of the user's newest change; 0 if there was none."""
    value = await reader.fetch_value("SELECT MAX(stream_id) FROM device_changes WHERE user_id = $1", user_id)
    return int(value or 0)


async def after(reader: Reader, user_id: str, stream_id: int, limit: int) -> list[DeviceChange]:
    """The devices that changed after a place, in the order of their newest change."""
    rows = await reader.fetch(
        "SELECT stream_id, device_id FROM device_changes WHERE user_id = $1 AND stream_id > $2 "
        "ORDER BY stream_id LIMIT $3",
        user_id,
        stream_id,
        limit,
    )
    return [DeviceChange(*row) for row in rows]


async def _forget(transaction: Transaction, user_id: str) -> None:
    """Devices come and go: what is remembered of those that went must end somewhere."""
    await transaction.execute(
        "DELETE FROM device_changes WHERE user_id = $1 AND stream_id < "
        "(SELECT MIN(stream_id) FROM (SELECT stream_id FROM device_changes WHERE user_id = $1 "
        "ORDER BY stream_id DESC LIMIT $2) AS kept) AND NOT EXISTS (SELECT 1 FROM device_keys k "
        "WHERE k.user_id = device_changes.user_id AND k.device_id = device_changes.device_id)",
        user_id,
        GONE,
    )


async def owners(reader: Reader, rooms: Sequence[int], server_name: str) -> list[str]:
    """The users of this server who are joined to any of these rooms and whose devices ever changed."""
    rows = await reader.fetch(
        "SELECT DISTINCT m.user_id FROM memberships m WHERE m.room = ANY($1) AND m.membership = 'join' "
        "AND m.user_id LIKE $2 AND EXISTS (SELECT 1 FROM device_changes c WHERE c.user_id = m.user_id)",
        list(rooms),
        f"%:{server_name}",
    )
    return [row[0] for row in rows]
