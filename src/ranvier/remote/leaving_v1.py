"""The template of a leave (`leaving-v1.yaml`)."""

from typing import Any

from ranvier.remote.client import FederationClient, path_of
from ranvier.remote.templates import Template, read_template


async def make_leave(client: FederationClient, destination: str, room_id: str, user_id: str) -> Template:
    """A leave event for the user. Raises RemoteFailure."""
    path = path_of("/_matrix/federation/v1/make_leave", room_id, user_id)
    return read_template(destination, await client.request(destination, "GET", path, urgent=True))


async def send_leave_v1(
    client: FederationClient, destination: str, room_id: str, event_id: str, event: dict[str, Any]
) -> None:
    """The old form of `send_leave_v2`, for servers that know no other."""
    path = path_of("/_matrix/federation/v1/send_leave", room_id, event_id)
    await client.request_value(destination, "PUT", path, body=event, urgent=True)
