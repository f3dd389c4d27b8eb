"""Keys of servers, asked of a notary (`keys_query.yaml`)."""

from collections.abc import Mapping
from typing import Any, Final

from ranvier.remote.client import FederationClient
from ranvier.remote.shapes import Shape

_MAX_DOCUMENTS: Final = 5_000
_MAX_ANSWER: Final = 20 * 1024 * 1024


async def bulk_perspectives_key_query(
    client: FederationClient,
    notary: str,
    wanted: Mapping[str, Mapping[str, int]],
    timeout_s: float | None = None,
) -> list[dict[str, Any]]:
    """Documents of the servers that the notary knows, signed by it too; nothing is checked yet.

    `wanted` is by server name and key ID the moment (milliseconds) at which the key should be valid. Raises
    RemoteFailure.
    """
    body = {
        "server_keys": {
            server_name: {key_id: {"minimum_valid_until_ts": ts} for key_id, ts in keys.items()}
            for server_name, keys in wanted.items()
        }
    }
    answer = await client.request(
        notary,
        "POST",
        "/_matrix/key/v2/query",
        body=body,
        sign=False,
        max_bytes=_MAX_ANSWER,
        timeout_s=timeout_s,
    )
    return Shape(notary, answer).objects("server_keys", _MAX_DOCUMENTS, required=False)
