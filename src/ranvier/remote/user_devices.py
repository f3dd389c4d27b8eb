"""Devices of a user of another server (`user_devices.yaml`)."""

from typing import Any, NamedTuple

from ranvier.remote.client import FederationClient, path_of
from ranvier.remote.shapes import Shape

_MAX_DEVICES = 10_000
_MAX_ANSWER = 20 * 1024 * 1024


class DeviceOfUser(NamedTuple):
    """A device with its identity keys, as its server tells it."""

    device_id: str
    keys: dict[str, Any]
    display_name: str | None


class DevicesOfUser(NamedTuple):
    """All devices of a user; `stream_id` orders this answer among the device list updates of the server."""

    user_id: str
    stream_id: int
    devices: list[DeviceOfUser]
    master_key: dict[str, Any] | None
    self_signing_key: dict[str, Any] | None


async def get_user_devices(client: FederationClient, destination: str, user_id: str) -> DevicesOfUser:
    """Devices, identity keys and cross-signing keys of a user of the destination. Raises RemoteFailure."""
    path = path_of("/_matrix/federation/v1/user/devices", user_id)
    shape = Shape(destination, await client.request(destination, "GET", path, max_bytes=_MAX_ANSWER))
    if shape.text("user_id") != user_id:
        raise shape.bad("it is about another user.")
    devices = []
    for entry in shape.objects("devices", _MAX_DEVICES):
        device = Shape(destination, entry)
        devices.append(
            DeviceOfUser(
                device.text("device_id"),
                device.object("keys", {}),
                device.text_or_none("device_display_name"),
            )
        )
    return DevicesOfUser(
        user_id,
        shape.integer("stream_id"),
        devices,
        shape.object_or_none("master_key"),
        shape.object_or_none("self_signing_key"),
    )
