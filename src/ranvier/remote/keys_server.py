"""A server's own keys, asked of itself (`keys_server.yaml`)."""

from typing import Any

from ranvier.remote.client import FederationClient

MAX_KEYS_ANSWER = 512 * 1024


async def get_server_key(
    client: FederationClient, destination: str, timeout_s: float | None = None
) -> dict[str, Any]:
    """The document, as it came: `protocol.server_keys.parse` reads it. Raises RemoteFailure."""
    return await client.request(
        destination,
        "GET",
        "/_matrix/key/v2/server",
        sign=False,
        max_bytes=MAX_KEYS_ANSWER,
        timeout_s=timeout_s,
    )
