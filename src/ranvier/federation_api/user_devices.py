"""Devices of this server's users, for other servers."""

from ranvier.encryption.keys_for_peers import KeysForPeers
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request


@endpoint("GET", "/_matrix/federation/v1/user/devices/{userId}", access="server")
async def get_user_devices(request: Request, keys: KeysForPeers) -> Answer:
    """All devices of a user with their keys."""
    return await keys.devices(request.parameters["userId"])
