"""Devices of users of other servers, as those servers tell of them."""

from collections.abc import Sequence
from typing import NamedTuple

from ranvier.store.database import Reader, Transaction


class RemoteDevice(NamedTuple):
    """A device; `keys` is the object of its identity keys as JSON, None if it has none."""

    device_id: str
    keys: str | None
    display_name: str | None


async def read_fresh(reader: Reader, user_ids: Sequence[str], server_name: str) -> set[str]:
    """Those of the users whose list is here as their server has it; `server_name` is this server's.

    That is so if no news were missed, and the user has been in one room with us since the list was fetched: their
    membership of it is older than the list.
    """
    rows = await reader.fetch(
        "SELECT l.user_id FROM remote_device_lists l WHERE l.user_id = ANY($1) AND l.stale = FALSE AND EXISTS ("  # noqa: S608
        "SELECT 1 FROM memberships m JOIN events e ON e.nid = m.event WHERE m.user_id = l.user_id "
        f"AND m.membership = 'join' AND e.received_ts < l.fetched_ts AND {_with_us(reader)})",
        list(user_ids),
        server_name,
    )
    return {row[0] for row in rows}


async def read_sharing(reader: Reader, user_ids: Sequence[str], server_name: str) -> set[str]:
    """Those of the users who are in a room with any of `server_name`, this server."""
    rows = await reader.fetch(
        "SELECT DISTINCT m.user_id FROM memberships m "  # noqa: S608
        f"WHERE m.user_id = ANY($1) AND m.membership = 'join' AND {_with_us(reader)}",
        list(user_ids),
        server_name,
    )
    return {row[0] for row in rows}


def _with_us(reader: Reader) -> str:
    """That a user of ours ($2) is in the room of a membership m: what was known of a room that all left grows old."""
    find = "instr" if reader.dialect == "sqlite" else "strpos"
    return (
        "EXISTS (SELECT 1 FROM memberships o WHERE o.room = m.room AND o.membership = 'join' "  # noqa: S608
        f"AND substr(o.user_id, {find}(o.user_id, ':') + 1) = $2)"
    )


async def read_devices(reader: Reader, user_ids: Sequence[str]) -> dict[str, list[RemoteDevice]]:
    """The devices of these users, by user."""
    found: dict[str, list[RemoteDevice]] = {}
    rows = await reader.fetch(
        "SELECT user_id, device_id, keys, display_name FROM remote_devices WHERE user_id = ANY($1) "
        "ORDER BY user_id, device_id",
        list(user_ids),
    )
    for user_id, *device in rows:
        found.setdefault(user_id, []).append(RemoteDevice(*device))
    return found


async def stream_id_of(reader: Reader, user_id: str) -> int | None:
    """How far the user's list here follows their server; None if it is not here, or stale."""
    value = await reader.fetch_value(
        "SELECT stream_id FROM remote_device_lists WHERE user_id = $1 AND stale = FALSE", user_id
    )
    return int(value) if value is not None else None


async def replace_list(
    transaction: Transaction,
    user_id: str,
    stream_id: int,
    devices: Sequence[RemoteDevice],
    fetched_ts: int,
) -> None:
    """Keep a user's devices in place of those that were known; `fetched_ts` is when they were asked for (ms)."""
    await transaction.insert(
        "remote_device_lists",
        "user_id, stream_id, stale, fetched_ts",
        [(user_id, stream_id, False, fetched_ts)],
        "(user_id) DO UPDATE SET stream_id = excluded.stream_id, stale = excluded.stale, "
        "fetched_ts = excluded.fetched_ts",
    )
    await transaction.execute("DELETE FROM remote_devices WHERE user_id = $1", user_id)
    await write_devices(transaction, user_id, devices)


async def write_devices(transaction: Transaction, user_id: str, devices: Sequence[RemoteDevice]) -> None:
    """Keep or replace devices of a user."""
    await transaction.insert(
        "remote_devices",
        "user_id, device_id, keys, display_name",
        [(user_id, *device) for device in devices],
        "(user_id, device_id) DO UPDATE SET keys = excluded.keys, display_name = excluded.display_name",
    )


async def delete_device(transaction: Transaction, user_id: str, device_id: str) -> None:
    """A device of a user is gone."""
    await transaction.execute(
        "DELETE FROM remote_devices WHERE user_id = $1 AND device_id = $2", user_id, device_id
    )


async def follow(transaction: Transaction, user_id: str, stream_id: int) -> None:
    """The user's list is here up to a place of their server's order."""
    await transaction.execute(
        "UPDATE remote_device_lists SET stream_id = $2 WHERE user_id = $1 AND stream_id < $2",
        user_id,
        stream_id,
    )


async def mark_stale(transaction: Transaction, user_id: str) -> None:
    """News of the user were missed."""
    await transaction.execute("UPDATE remote_device_lists SET stale = TRUE WHERE user_id = $1", user_id)


async def mark_members_stale(transaction: Transaction, room: int) -> None:
    """This server comes back into a room: what its members' servers told meanwhile it did not hear."""
    await transaction.execute(
        "UPDATE remote_device_lists SET stale = TRUE WHERE user_id IN "
        "(SELECT user_id FROM memberships WHERE room = $1)",
        room,
    )
