"""Invites of this server's users, in the form that only rooms of versions 1 and 2 may use."""

import orjson

from ranvier.federation.inviting import Invited
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.http.response import Response

_ROOM_VERSION = "1"
"""What the form does not tell; version 2 has the same events."""


@endpoint("PUT", "/_matrix/federation/v1/invite/{roomId}/{eventId}", access="server")
async def send_invite_v1(request: Request, invited: Invited) -> Answer:
    """Sign an invite."""
    pdu = request.json()
    unsigned = pdu.pop("unsigned", None)
    state = unsigned.get("invite_room_state") if isinstance(unsigned, dict) else None
    event = await invited.take(
        request.origin, request.parameters["roomId"], pdu, _ROOM_VERSION, state if state is not None else []
    )
    return Response(200, b"[200,%b]" % orjson.dumps({"event": event.pdu}))
