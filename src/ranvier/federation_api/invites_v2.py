"""Invites of this server's users."""

from typing import Any

import msgspec

from ranvier.federation.inviting import Invited
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request


class Invite(msgspec.Struct):
    """An invite, the version of its room, and what the room shows of itself."""

    event: dict[str, Any]
    room_version: str
    invite_room_state: list[dict[str, Any]] = []


@endpoint(
    "PUT",
    "/_matrix/federation/v2/invite/{roomId}/{eventId}",
    access="server",
)
async def send_invite_v2(request: Request, invited: Invited) -> Answer:
    """Sign an invite, and tell the user."""
    body = request.read(Invite)
    event = await invited.take(
        request.origin, request.parameters["roomId"], body.event, body.room_version, body.invite_room_state
    )
    return {"event": event.pdu}
