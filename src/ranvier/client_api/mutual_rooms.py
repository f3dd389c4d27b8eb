"""The rooms that two users share."""

from typing import Any, Final

from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.protocol.identifiers import is_compliant_user_id
from ranvier.protocol.refusal import invalid_param
from ranvier.rooms.joined import UserRooms

MAX_ROOMS: Final = 500
"""Rooms of one answer."""


@endpoint("GET", "/_matrix/client/v1/mutual_rooms", rate_limit="other")
async def get_mutual_rooms(request: Request, user_rooms: UserRooms) -> Answer:
    """A part of the rooms that the requester shares with somebody, in the order of their ids."""
    own, other = request.requester.user_id, request.query_required("user_id")
    if other == own or not is_compliant_user_id(other):
        raise invalid_param("'user_id' must be the ID of another user.")
    after = request.query("from")
    if after is not None and not after.startswith("!"):
        raise invalid_param("'from' is no token of this endpoint.")
    shared = await user_rooms.shared(own, other)
    rest = [room_id for room_id in shared if after is None or room_id > after]
    answer: dict[str, Any] = {"joined": rest[:MAX_ROOMS], "count": len(shared)}
    if len(rest) > MAX_ROOMS:
        answer["next_batch"] = rest[MAX_ROOMS - 1]
    return answer
