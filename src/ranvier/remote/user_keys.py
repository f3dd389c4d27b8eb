"""Identity keys and one-time keys of users of another server (`user_keys.yaml`)."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ranvier.remote.client import FederationClient
from ranvier.remote.shapes import Shape

ByDevice = dict[str, dict[str, Any]]


class QueriedKeys(NamedTuple):
    """Device keys by user and device, and cross-signing keys by user; only of users who were asked for."""

    device_keys: dict[str, ByDevice]
    master_keys: dict[str, dict[str, Any]]
    self_signing_keys: dict[str, dict[str, Any]]


async def claim_user_encryption_keys(
    client: FederationClient,
    destination: str,
    one_time_keys: Mapping[str, Mapping[str, str]],
    timeout_s: float | None = None,
) -> dict[str, ByDevice]:
    """One key for each device asked for (`one_time_keys`: algorithm by user and device), by user and device.

    Each value is an object from key ID to key. Raises RemoteFailure.
    """
    body = {"one_time_keys": {user: dict(devices) for user, devices in one_time_keys.items()}}
    path = "/_matrix/federation/v1/user/keys/claim"
    answer = await client.request(destination, "POST", path, body=body, timeout_s=timeout_s, urgent=True)
    return _asked_for(Shape(destination, answer), "one_time_keys", one_time_keys)


async def query_user_encryption_keys(
    client: FederationClient,
    destination: str,
    device_keys: Mapping[str, Sequence[str]],
    timeout_s: float | None = None,
) -> QueriedKeys:
    """Identity keys of the users, of all devices where none is named. Raises RemoteFailure."""
    body = {"device_keys": {user: list(devices) for user, devices in device_keys.items()}}
    path = "/_matrix/federation/v1/user/keys/query"
    answer = await client.request(destination, "POST", path, body=body, timeout_s=timeout_s)
    shape = Shape(destination, answer)
    cross_signing = [
        {
            user: key
            for user, key in shape.objects_by_name(name, required=False).items()
            if user in device_keys
        }
        for name in ("master_keys", "self_signing_keys")
    ]
    return QueriedKeys(_asked_for(shape, "device_keys", device_keys), *cross_signing)


def _asked_for(shape: Shape, name: str, asked: Mapping[str, object]) -> dict[str, ByDevice]:
    """What the answer says of the users that were asked for; whatever it says of others is nobody's business."""
    found: dict[str, ByDevice] = {}
    for user, by_device in shape.objects_by_name(name).items():
        if user in asked:
            if not all(isinstance(value, dict) for value in by_device.values()):
                raise shape.bad(f"`{name}` must hold objects by user and device.")
            found[user] = by_device
    return found
