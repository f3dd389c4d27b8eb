"""A user's devices.

Source: Client-Server API, "Device Management".
"""

from typing import Any

from ranvier.accounts.sessions import LONGEST_DISPLAY_NAME, end_devices
from ranvier.protocol.refusal import invalid_param, not_found
from ranvier.store import device_keys
from ranvier.store import devices as stored
from ranvier.store.database import Database, Transaction
from ranvier.store.devices import Device
from ranvier.store.writer import Writer

_AT_ONCE = 1000


class Devices:
    """Shows, renames and deletes devices."""

    def __init__(self, database: Database, writer: Writer) -> None:
        self._database = database
        self._writer = writer

    async def all_of(self, user_id: str) -> list[Device]:
        """All devices of a user."""
        return await stored.of_user(self._database, user_id)

    async def find(self, user_id: str, device_id: str) -> Device:
        """One device; M_NOT_FOUND if the user has none of that id."""
        device = None if "\0" in device_id else await stored.find(self._database, user_id, device_id)
        if device is None:
            raise _unknown()
        return device

    async def rename(self, user_id: str, device_id: str, display_name: str) -> None:
        """Give a device another name, which others see too."""
        if len(display_name) > LONGEST_DISPLAY_NAME or "\0" in display_name:
            raise invalid_param(f"A device's name has at most {LONGEST_DISPLAY_NAME} characters, and no NUL.")
        await self.find(user_id, device_id)

        async def write(transaction: Transaction) -> bool:
            if not await stored.rename(transaction, user_id, device_id, display_name):
                return False
            await device_keys.announce_device_list(transaction, user_id, [device_id])
            return True

        if not await self._writer.run(write):
            raise _unknown()

    async def delete(self, user_id: str, device_ids: list[str]) -> None:
        """Delete devices, with their tokens, keys and messages; those that are not there count as deleted."""
        if len(device_ids) > _AT_ONCE:
            raise invalid_param(f"At most {_AT_ONCE} devices can be deleted at once.")
        ids = [device_id for device_id in dict.fromkeys(device_ids) if "\0" not in device_id]
        await self._writer.run(lambda transaction: end_devices(transaction, user_id, ids))


def shape(device: Device) -> dict[str, Any]:
    """The device as its owner is told of it."""
    fields = {
        "device_id": device.device_id,
        "display_name": device.display_name,
        "last_seen_ip": device.address,
        "last_seen_ts": device.seen_ts,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _unknown() -> Exception:
    return not_found("You have no device of that id.")
