"""Inviting a user of another server, in the form that only rooms of versions 1 and 2 may use (`invites-v1.yaml`)."""

from collections.abc import Sequence
from typing import Any

from ranvier.remote.client import FederationClient, path_of
from ranvier.remote.failure import RemoteFailure
from ranvier.remote.shapes import Shape


async def send_invite_v1(
    client: FederationClient,
    destination: str,
    room_id: str,
    event_id: str,
    event: dict[str, Any],
    invite_room_state: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """The invite with the other server's signature added; `invite_room_state` travels in `unsigned`.

    Raises RemoteFailure.
    """
    path = path_of("/_matrix/federation/v1/invite", room_id, event_id)
    body = {**event, "unsigned": {"invite_room_state": list(invite_room_state)}}
    answer = await client.request_value(destination, "PUT", path, body=body, urgent=True)
    if not isinstance(answer, list) or len(answer) != 2 or not isinstance(answer[1], dict):
        raise RemoteFailure(destination, "Its answer must be an array of 200 and an object.", status=200)
    return Shape(destination, answer[1]).object("event")
