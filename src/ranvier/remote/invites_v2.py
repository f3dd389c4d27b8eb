"""Inviting a user of another server (`invites-v2.yaml`)."""

from collections.abc import Sequence
from typing import Any

from ranvier.protocol.room_versions import ROOM_VERSIONS
from ranvier.remote.client import FederationClient, path_of
from ranvier.remote.failure import RemoteFailure
from ranvier.remote.invites_v1 import send_invite_v1
from ranvier.remote.shapes import Shape


async def send_invite_v2(
    client: FederationClient,
    destination: str,
    room_id: str,
    event_id: str,
    event: dict[str, Any],
    room_version: str,
    invite_room_state: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """The invite with the other server's signature added; falls back to the old form where a room allows it.

    Raises RemoteFailure, with `errcode` M_INCOMPATIBLE_ROOM_VERSION where the other server can't be in the room.
    """
    path = path_of("/_matrix/federation/v2/invite", room_id, event_id)
    body = {"event": event, "room_version": room_version, "invite_room_state": list(invite_room_state)}
    try:
        answer = await client.request(destination, "PUT", path, body=body, urgent=True)
    except RemoteFailure as failure:
        # The old form tells no room version, so an event whose ID is a hash would be misread.
        if not failure.is_unknown_endpoint or ROOM_VERSIONS[room_version].event_id_is_hash:
            raise
        return await send_invite_v1(client, destination, room_id, event_id, event, invite_room_state)
    return Shape(destination, answer).object("event")
