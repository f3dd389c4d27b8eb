"""New rooms."""

from typing import Any, Literal

import msgspec

from ranvier.client_api.room_parameters import refuse_guest
from ranvier.federation.creation import FederatedCreation
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.limits import Limits
from ranvier.http.request import Request
from ranvier.protocol.refusal import Refusal
from ranvier.rooms.creation import RoomRequest

Preset = Literal["private_chat", "public_chat", "trusted_private_chat"]


class CreateRoom(msgspec.Struct):
    """What the new room shall be."""

    visibility: Literal["public", "private"] | None = None
    room_alias_name: str | None = None
    name: str | None = None
    topic: str | None = None
    invite: list[str] | None = None
    invite_3pid: list[dict[str, Any]] | None = None
    room_version: str | None = None
    creation_content: dict[str, Any] | None = None
    initial_state: list[dict[str, Any]] | None = None
    preset: Preset | None = None
    is_direct: bool | None = None
    power_level_content_override: dict[str, Any] | None = None


@endpoint("POST", "/_matrix/client/v3/createRoom")
async def create_room(request: Request, creation: FederatedCreation, limits: Limits) -> Answer:
    """Make a room."""
    requester = request.requester
    requester.check_not_suspended()
    refuse_guest(requester)
    body = request.read(CreateRoom, optional=True)
    if body.invite_3pid:
        raise Refusal(
            "M_THREEPID_DENIED",
            "This server asks no identity server, so it can only invite by user ID.",
            status=403,
        )
    limits.count("room_creation", requester.user_id)
    for user_id in body.invite or ():
        limits.count("invites_per_issuer", requester.user_id)
        limits.count("invites_per_user", user_id)
    room = await creation.create(
        RoomRequest(
            creator=requester.user_id,
            by_admin=requester.is_admin,
            version=body.room_version,
            preset=body.preset,
            is_public=body.visibility == "public",
            alias_localpart=body.room_alias_name,
            name=body.name,
            topic=body.topic,
            invite=body.invite or (),
            is_direct=bool(body.is_direct),
            creation_content=body.creation_content or {},
            initial_state=body.initial_state or (),
            power_level_content_override=body.power_level_content_override or {},
        )
    )
    return {"room_id": room.room_id}
