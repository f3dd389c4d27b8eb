"""Keys of devices: upload, query, claim, and whose changed."""

from typing import Any

import msgspec

from ranvier.encryption.device_lists import DeviceLists
from ranvier.encryption.keys import DEFAULT_TIMEOUT_S, Keys
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.protocol.refusal import forbidden
from ranvier.sync import tokens

_LARGE = 4 * 1024 * 1024


class _Upload(msgspec.Struct):
    device_keys: dict[str, Any] | None = None
    one_time_keys: dict[str, Any] | None = None
    fallback_keys: dict[str, Any] | None = None


class _Query(msgspec.Struct):
    device_keys: dict[str, list[str]]
    timeout: int | None = None


class _Claim(msgspec.Struct):
    one_time_keys: dict[str, dict[str, str]]
    timeout: int | None = None


@endpoint("POST", "/_matrix/client/v3/keys/upload")
async def upload_keys(request: Request, keys: Keys) -> Answer:
    """Publish keys of the requester's device."""
    requester = request.requester
    if requester.device_id is None:
        raise forbidden("This access token belongs to no device, so there is nothing that keys could be of.")
    asked = request.read(_Upload)
    counts = await keys.upload(
        requester.user_id,
        requester.device_id,
        asked.device_keys,
        asked.one_time_keys or {},
        asked.fallback_keys or {},
    )
    return {"one_time_key_counts": counts}


@endpoint("POST", "/_matrix/client/v3/keys/query", body_limit=_LARGE)
async def query_keys(request: Request, keys: Keys) -> Answer:
    """Look up users' devices and their keys."""
    asked = request.read(_Query)
    return await keys.query(request.requester.user_id, asked.device_keys, _seconds(asked.timeout))


@endpoint("POST", "/_matrix/client/v3/keys/claim", body_limit=_LARGE)
async def claim_keys(request: Request, keys: Keys) -> Answer:
    """Take one-time keys of devices."""
    asked = request.read(_Claim)
    return await keys.claim(asked.one_time_keys, _seconds(asked.timeout))


@endpoint("GET", "/_matrix/client/v3/keys/changes")
async def get_keys_changes(request: Request, device_lists: DeviceLists) -> Answer:
    """Tell whose devices changed since an earlier sync."""
    token = tokens.parse(request.query_required("from"))
    tokens.parse(request.query_required("to"))
    changed, left = await device_lists.changes(request.requester.user_id, token.generation, token.position)
    return {"changed": sorted(changed), "left": sorted(left)}


def _seconds(timeout: int | None) -> float:
    """How long the client waits for other servers, which it says in milliseconds."""
    return DEFAULT_TIMEOUT_S if timeout is None else max(0, timeout) / 1000
