"""The auth chain of an event (`event_auth.yaml`)."""

from typing import Any

from ranvier.remote.client import FederationClient, path_of
from ranvier.remote.events import MAX_STATE_BYTES, MAX_STATE_EVENTS, STATE_TIMEOUT_S
from ranvier.remote.shapes import Shape


async def get_event_auth(
    client: FederationClient, destination: str, room_id: str, event_id: str
) -> list[dict[str, Any]]:
    """PDUs of the whole auth chain of an event. Raises RemoteFailure."""
    path = path_of("/_matrix/federation/v1/event_auth", room_id, event_id)
    answer = await client.request(
        destination, "GET", path, timeout_s=STATE_TIMEOUT_S, max_bytes=MAX_STATE_BYTES
    )
    return Shape(destination, answer).objects("auth_chain", MAX_STATE_EVENTS)
