"""Identity keys of devices, and who hears that a user's devices or keys changed."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from ranvier.store import device_changes, tuples
from ranvier.store.database import Entry, Reader, Transaction
from ranvier.store.log import Kind, device_audience, room_audience


class DeviceListChange(NamedTuple):
    """What changed of a user's keys: devices after `stream_id` of the user's sequence, and the cross-signing keys."""

    stream_id: int
    cross_signing: bool


async def read_device_keys(reader: Reader, user_ids: Sequence[str]) -> dict[str, dict[str, str]]:
    """The device keys (JSON, as uploaded) of all devices of these users, by user and device."""
    found: dict[str, dict[str, str]] = {}
    rows = await reader.fetch(
        "SELECT user_id, device_id, keys FROM device_keys WHERE user_id = ANY($1)", list(user_ids)
    )
    for user_id, device_id, keys in rows:
        found.setdefault(user_id, {})[device_id] = keys
    return found


async def read_keys_of_device(reader: Reader, user_id: str, device_id: str) -> str | None:
    """The device keys (JSON) of one device."""
    keys = await reader.fetch_value(
        "SELECT keys FROM device_keys WHERE user_id = $1 AND device_id = $2", user_id, device_id
    )
    return None if keys is None else str(keys)


async def write_device_keys(transaction: Transaction, user_id: str, device_id: str, keys: str) -> None:
    """Keep or replace a device's keys, and say so to those who follow the user."""
    await transaction.insert(
        "device_keys",
        "user_id, device_id, keys",
        [(user_id, device_id, keys)],
        "(user_id, device_id) DO UPDATE SET keys = excluded.keys",
    )
    await announce_device_list(transaction, user_id, [device_id])


async def delete_device_keys(transaction: Transaction, user_id: str, device_ids: Sequence[str]) -> None:
    """Forget all that these devices have for encryption: keys, signatures, messages that wait for them.

    Whoever shares a room with the user hears of it if one of the devices had identity keys.
    """
    devices = list(device_ids)
    owned = "WHERE user_id = $1 AND device_id = ANY($2)"
    gone = await transaction.fetch(f"SELECT device_id FROM device_keys {owned}", user_id, devices)  # noqa: S608
    await transaction.execute(f"DELETE FROM device_keys {owned}", user_id, devices)  # noqa: S608
    await transaction.execute(f"DELETE FROM to_device_messages {owned}", user_id, devices)  # noqa: S608
    await delete_derived_keys(transaction, user_id, devices)
    if gone:
        await announce_device_list(transaction, user_id, [row[0] for row in gone])


async def delete_derived_keys(transaction: Transaction, user_id: str, device_ids: Sequence[str]) -> None:
    """Forget what hangs on the identity keys of these devices: one-time and fallback keys, signatures."""
    devices = list(device_ids)
    for table in ("one_time_keys", "fallback_keys"):
        await transaction.execute(
            f"DELETE FROM {table} WHERE user_id = $1 AND device_id = ANY($2)",  # noqa: S608
            user_id,
            devices,
        )
    await transaction.execute(
        "DELETE FROM key_signatures WHERE target_user = $1 AND target_key = ANY($2)", user_id, devices
    )
    await transaction.execute(
        "DELETE FROM key_signatures WHERE signer = $1 AND signing_key = ANY($2)",
        user_id,
        [f"ed25519:{device}" for device in devices],
    )
    for device in devices:
        # Also for a device that is made anew under the same id: it must not find the old one's counts.
        transaction.announce(Entry(Kind.ONE_TIME_KEYS, device_audience(user_id, device), ""))


async def announce_device_list(
    transaction: Transaction, user_id: str, device_ids: Collection[str] = (), *, cross_signing: bool = False
) -> None:
    """Say which of the user's devices, or whether the cross-signing keys, changed: to the user, and in each room that
    they are in."""
    change = DeviceListChange(await device_changes.note(transaction, user_id, device_ids), cross_signing)
    transaction.announce(Entry(Kind.DEVICE_LIST, user_id, user_id, change))
    rooms = await transaction.fetch(
        "SELECT room FROM memberships WHERE user_id = $1 AND membership = 'join'", user_id
    )
    for row in rooms:
        transaction.announce(Entry(Kind.DEVICE_LIST, room_audience(row[0]), user_id, change))


async def announce_for_later(transaction: Transaction, user_id: str) -> None:
    """Say that the devices of another server's user changed, in each room that may have them among its members
    who are still to come: it counts once they are there."""
    rows = await transaction.fetch("SELECT room FROM partial_rooms WHERE completed_version IS NULL")
    for row in rows:
        transaction.announce(Entry(Kind.DEVICE_LIST, room_audience(row[0]), user_id))


async def read_signatures(
    reader: Reader, targets: Sequence[tuple[str, str]], signers: Sequence[str]
) -> dict[tuple[str, str], dict[str, dict[str, str]]]:
    """Signatures added to these (user, device id or public key), by target, signer and key identifier.

    Only those of the keys' owners and of the given signers are read.
    """
    found: dict[tuple[str, str], dict[str, dict[str, str]]] = {}
    for portion in tuples.slices(targets):
        table, values = tuples.table_of(portion, ("TEXT", "TEXT"), first=2)
        rows = await reader.fetch(
            "SELECT target_user, target_key, signer, signing_key, signature FROM key_signatures "  # noqa: S608
            f"WHERE (target_user, target_key) IN ({table}) AND (signer = target_user OR signer = ANY($1))",
            list(signers),
            *values,
        )
        for user_id, key, signer, signing_key, signature in rows:
            found.setdefault((user_id, key), {}).setdefault(signer, {})[signing_key] = signature
    return found


async def write_signatures(transaction: Transaction, rows: Sequence[tuple[str, str, str, str, str]]) -> None:
    """Keep signatures: rows of target user, target key, signer, signing key, signature."""
    await transaction.insert(
        "key_signatures",
        "target_user, target_key, signer, signing_key, signature",
        rows,
        "(target_user, target_key, signer, signing_key) DO UPDATE SET signature = excluded.signature",
    )


async def read_devices(reader: Reader, user_ids: Sequence[str]) -> dict[str, dict[str, str | None]]:
    """The display names of all devices of these users, by user and device."""
    found: dict[str, dict[str, str | None]] = {}
    rows = await reader.fetch(
        "SELECT user_id, device_id, display_name FROM devices WHERE user_id = ANY($1)", list(user_ids)
    )
    for user_id, device_id, name in rows:
        found.setdefault(user_id, {})[device_id] = name
    return found


async def is_device(reader: Reader, user_id: str, device_id: str) -> bool:
    """Whether there is such a device."""
    sql = "SELECT 1 FROM devices WHERE user_id = $1 AND device_id = $2"
    return await reader.fetch_value(sql, user_id, device_id) is not None
