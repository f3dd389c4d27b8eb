"""Asking a room's policy server to sign an event (`room_policy.yaml`)."""

from typing import Any

from ranvier.remote.client import FederationClient
from ranvier.remote.shapes import Shape

_MAX_ANSWER = 64 * 1024
_TIMEOUT_S = 10.0
"""Somebody waits for the event to be sent."""


async def ask_policy_server_to_sign(
    client: FederationClient, destination: str, event: dict[str, Any]
) -> dict[str, str]:
    """The policy server's signatures of the event, by key ID. Raises RemoteFailure; `refused` is its no."""
    answer = await client.request(
        destination,
        "POST",
        "/_matrix/policy/v1/sign",
        body=event,
        timeout_s=_TIMEOUT_S,
        max_bytes=_MAX_ANSWER,
    )
    shape = Shape(destination, answer)
    signatures = shape.object(destination)
    if not signatures or not all(isinstance(signature, str) for signature in signatures.values()):
        raise shape.bad("there must be a signature of the policy server.")
    return signatures
