"""A user's devices."""

import msgspec

from ranvier.accounts.devices import Devices, shape
from ranvier.accounts.interactive_auth import InteractiveAuth
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.protocol.refusal import Refusal, bad_json

_DEVICE = "/_matrix/client/v3/devices/{deviceId}"


class _Rename(msgspec.Struct):
    display_name: str | None = None


@endpoint("GET", "/_matrix/client/v3/devices")
async def get_devices(request: Request, devices: Devices) -> Answer:
    """Give all devices."""
    return {"devices": [shape(device) for device in await devices.all_of(request.requester.user_id)]}


@endpoint("GET", _DEVICE)
async def get_device(request: Request, devices: Devices) -> Answer:
    """Give one device."""
    return shape(await devices.find(request.requester.user_id, request.parameters["deviceId"]))


@endpoint("PUT", _DEVICE)
async def update_device(request: Request, devices: Devices) -> Answer:
    """Rename a device."""
    user_id, device_id = request.requester.user_id, request.parameters["deviceId"]
    display_name = request.read(_Rename).display_name
    if display_name is None:
        await devices.find(user_id, device_id)
    else:
        await devices.rename(user_id, device_id, display_name)
    return {}


@endpoint("DELETE", _DEVICE)
async def delete_device(request: Request, devices: Devices, authentication: InteractiveAuth) -> Answer:
    """Delete a device, once the user confirmed it."""
    device_id = request.parameters["deviceId"]
    await authentication.confirm(request.requester, f"DELETE /devices/{device_id}", request.json_or_empty())
    await devices.delete(request.requester.user_id, [device_id])
    return {}


@endpoint("POST", "/_matrix/client/v3/delete_devices")
async def delete_devices(request: Request, devices: Devices, authentication: InteractiveAuth) -> Answer:
    """Delete several devices, once the user confirmed it."""
    body = request.json()
    if "devices" in body or "auth" not in body:
        _device_ids(body)
    confirmed = await authentication.confirm(request.requester, "POST /delete_devices", body)
    await devices.delete(request.requester.user_id, _device_ids(confirmed))
    return {}


def _device_ids(body: dict[str, object]) -> list[str]:
    ids = body.get("devices")
    if ids is None:
        raise Refusal("M_MISSING_PARAM", "The body lacks 'devices'.")
    if not isinstance(ids, list) or not all(isinstance(device_id, str) for device_id in ids):
        raise bad_json("'devices' must be a list of device ids.")
    return ids
