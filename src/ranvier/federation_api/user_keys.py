"""Keys of this server's users, for other servers."""

import msgspec

from ranvier.encryption.keys_for_peers import KeysForPeers
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request

_LARGE = 10 * 1024 * 1024


class Query(msgspec.Struct):
    """Whose keys are asked for, and of which of their devices."""

    device_keys: dict[str, list[str]]


class Claim(msgspec.Struct):
    """The algorithm by user and device."""

    one_time_keys: dict[str, dict[str, str]]


@endpoint("POST", "/_matrix/federation/v1/user/keys/query", access="server", body_limit=_LARGE)
async def query_user_encryption_keys(request: Request, keys: KeysForPeers) -> Answer:
    """Devices' identity keys, and cross-signing keys."""
    return await keys.query(request.read(Query).device_keys)


@endpoint("POST", "/_matrix/federation/v1/user/keys/claim", access="server", body_limit=_LARGE)
async def claim_user_encryption_keys(request: Request, keys: KeysForPeers) -> Answer:
    """Take one-time keys of devices."""
    return await keys.claim(request.read(Claim).one_time_keys)
