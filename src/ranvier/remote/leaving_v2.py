"""Sending a leave (`leaving-v2.yaml`)."""

from typing import Any

from ranvier.remote.client import FederationClient, path_of
from ranvier.remote.failure import RemoteFailure
from ranvier.remote.leaving_v1 import send_leave_v1


async def send_leave_v2(
    client: FederationClient, destination: str, room_id: str, event_id: str, event: dict[str, Any]
) -> None:
    """Hand in the signed leave; falls back to the old form of the operation. Raises RemoteFailure."""
    path = path_of("/_matrix/federation/v2/send_leave", room_id, event_id)
    try:
        await client.request(destination, "PUT", path, body=event, urgent=True)
    except RemoteFailure as failure:
        if not failure.is_unknown_endpoint:
            raise
        await send_leave_v1(client, destination, room_id, event_id, event)
