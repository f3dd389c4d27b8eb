"""Messages that wait for devices, in the order of the log."""

import secrets
from collections.abc import Sequence
from typing import NamedTuple

from ranvier.store import tuples
from ranvier.store.database import Entry, Reader, Transaction
from ranvier.store.log import Kind, device_audience

QUEUE = 10_000
"""Messages that wait for one device at most."""


class ToDeviceMessage(NamedTuple):
    """A message as it is delivered: the log's position that brought it, and the event as JSON."""

    position: int
    message: str


class Outgoing(NamedTuple):
    """A message (the event as JSON) for one device."""

    user_id: str
    device_id: str
    message: str


async def read_to_device(
    reader: Reader, user_id: str, device_id: str, after: int, until: int, limit: int
) -> list[ToDeviceMessage]:
    """What waits for a device with `after < position <= until`, oldest first.

    It relies on the log's entries: trimming the log must leave those whose message waits.
    """
    rows = await reader.fetch(
        "SELECT l.position, m.message FROM log l JOIN to_device_messages m ON m.id = l.ref "
        "WHERE l.audience = $1 AND l.kind = $2 AND l.position > $3 AND l.position <= $4 "
        "ORDER BY l.position LIMIT $5",
        device_audience(user_id, device_id),
        int(Kind.TO_DEVICE),
        after,
        until,
        limit,
    )
    return [ToDeviceMessage(row[0], row[1]) for row in rows]


async def acknowledge(transaction: Transaction, user_id: str, device_id: str, until: int) -> int:
    """The device has what came up to this position: delete it. Answers how many messages went."""
    return await transaction.execute(
        "DELETE FROM to_device_messages WHERE id IN (SELECT l.ref FROM log l "
        "WHERE l.audience = $1 AND l.kind = $2 AND l.position <= $3)",
        device_audience(user_id, device_id),
        int(Kind.TO_DEVICE),
        until,
    )


async def waits(reader: Reader, user_id: str, device_id: str) -> bool:
    """Whether any message waits for a device: without one, nothing needs to be acknowledged."""
    found = await reader.fetch_value(
        "SELECT 1 FROM to_device_messages WHERE user_id = $1 AND device_id = $2 LIMIT 1", user_id, device_id
    )
    return found is not None


async def write_to_device(transaction: Transaction, messages: Sequence[Outgoing], now: int) -> list[Outgoing]:
    """Queue messages and announce each to its device; answers those that found their device's queue full."""
    ends = await _ends(transaction, [(m.user_id, m.device_id) for m in messages])
    rows, entries, refused = [], [], []
    for message in messages:
        audience = (message.user_id, message.device_id)
        first, last = ends.get(audience, (1, 0))
        if last - first + 1 >= QUEUE:
            refused.append(message)
            continue
        ends[audience] = (first, last + 1)
        # Ids begin with the time, so that new rows lie side by side in the index.
        ref = f"{now:012x}{secrets.token_hex(8)}"
        rows.append((ref, message.user_id, message.device_id, last + 1, message.message))
        entry = Entry(Kind.TO_DEVICE, device_audience(*audience), ref, message.message)
        entry.weight = len(message.message)
        entries.append(entry)
    await transaction.insert("to_device_messages", "id, user_id, device_id, place, message", rows)
    for entry in entries:
        transaction.announce(entry)
    return refused


async def _ends(reader: Reader, devices: Sequence[tuple[str, str]]) -> dict[tuple[str, str], tuple[int, int]]:
    """The first and last place of each device's queue; devices for which nothing waits are left out."""
    found = {}
    for portion in tuples.slices(sorted(set(devices))):
        table, values = tuples.table_of(portion, ("TEXT", "TEXT"))
        place = "SELECT m.place FROM to_device_messages m WHERE m.user_id = d.user_id AND m.device_id = d.device_id"
        rows = await reader.fetch(
            f"WITH devices_given (user_id, device_id) AS ({table}) "  # noqa: S608
            f"SELECT d.user_id, d.device_id, ({place} ORDER BY m.place LIMIT 1), "
            f"({place} ORDER BY m.place DESC LIMIT 1) FROM devices_given d",
            *values,
        )
        found.update({(row[0], row[1]): (row[2], row[3]) for row in rows if row[2] is not None})
    return found
