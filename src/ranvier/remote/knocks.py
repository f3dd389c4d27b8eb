"""Knocking on a room (`knocks.yaml`)."""

from typing import Any

from ranvier.remote.client import FederationClient, path_of
from ranvier.remote.shapes import Shape
from ranvier.remote.templates import Template, read_template, version_query

_MAX_STRIPPED = 200


async def make_knock(
    client: FederationClient, destination: str, room_id: str, user_id: str, versions: tuple[str, ...]
) -> Template:
    """A knock event for the user. Raises RemoteFailure."""
    path = path_of("/_matrix/federation/v1/make_knock", room_id, user_id)
    answer = await client.request(destination, "GET", path, query=version_query(versions), urgent=True)
    return read_template(destination, answer)


async def send_knock(
    client: FederationClient, destination: str, room_id: str, event_id: str, event: dict[str, Any]
) -> list[dict[str, Any]]:
    """Hand in the signed knock; answers the room's stripped state. Raises RemoteFailure."""
    path = path_of("/_matrix/federation/v1/send_knock", room_id, event_id)
    answer = await client.request(destination, "PUT", path, body=event, urgent=True)
    return Shape(destination, answer).objects("knock_room_state", _MAX_STRIPPED)
