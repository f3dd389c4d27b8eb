"""Room upgrades."""

import msgspec

from ranvier.client_api.room_parameters import refuse_guest
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.limits import Limits
from ranvier.http.request import Request
from ranvier.protocol.refusal import invalid_param
from ranvier.rooms.upgrade import Upgrading

MAX_CREATORS = 100


class Upgrade(msgspec.Struct):
    """The version of the new room, and who shall be its creators besides the requester."""

    new_version: str
    additional_creators: list[str] | None = None


@endpoint("POST", "/_matrix/client/v3/rooms/{roomId}/upgrade")
async def upgrade_room(request: Request, upgrading: Upgrading, limits: Limits) -> Answer:
    """Put a new room of another version in the place of a room."""
    requester = request.requester
    requester.check_not_suspended()
    refuse_guest(requester)
    body = request.read(Upgrade)
    creators = body.additional_creators or []
    if len(creators) > MAX_CREATORS:
        raise invalid_param(f"A room can have at most {MAX_CREATORS} additional creators.")
    limits.count("room_creation", requester.user_id)
    room_id = await upgrading.upgrade(
        requester.user_id, request.parameters["roomId"], body.new_version, creators
    )
    return {"replacement_room": room_id}
