"""Typing notifications (typing.yaml)."""

from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.protocol.refusal import bad_json, forbidden
from ranvier.rooms.sending import Sending
from ranvier.rooms.typing import Typing

DEFAULT_TIMEOUT = 30_000


@endpoint("PUT", "/_matrix/client/v3/rooms/{roomId}/typing/{userId}", rate_limit="other")
async def set_typing(request: Request, sending: Sending, typing: Typing) -> Answer:
    """Say that one is typing, or no longer."""
    user_id = request.parameters["userId"]
    if user_id != request.requester.user_id:
        raise forbidden("You can only say of yourself that you are typing.")
    body = request.json()
    starts, timeout = body.get("typing"), body.get("timeout", DEFAULT_TIMEOUT)
    if not isinstance(starts, bool):
        raise bad_json("'typing' must be true or false.")
    if not isinstance(timeout, int) or isinstance(timeout, bool) or timeout < 0:
        raise bad_json("'timeout' must be a number of milliseconds.")
    room, _ = await sending.joined_room(user_id, request.parameters["roomId"])
    if starts:
        typing.begin(room.nid, user_id, timeout)
    else:
        typing.end(room.nid, user_id)
    return {}
