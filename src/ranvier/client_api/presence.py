"""Presence (presence.yaml)."""

from typing import Literal

import msgspec

from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.protocol.presence import MAX_STATUS
from ranvier.protocol.refusal import Refusal, forbidden
from ranvier.rooms.presence import Presences

_PATH = "/_matrix/client/v3/presence/{userId}/status"


class Status(msgspec.Struct):
    """What a user says of themselves."""

    presence: Literal["online", "unavailable", "offline"]
    status_msg: str | None = None


@endpoint("PUT", _PATH, rate_limit="presence_per_user")
async def set_presence(request: Request, presences: Presences) -> Answer:
    """Say how one is."""
    requester = request.requester
    if request.parameters["userId"] != requester.user_id:
        raise forbidden("You can only set your own presence.")
    said = request.read(Status)
    if len(said.status_msg or "") > MAX_STATUS:
        raise Refusal("M_TOO_LARGE", f"A status message has at most {MAX_STATUS} characters.")
    await presences.set(requester.user_id, requester.device_id, said.presence, said.status_msg or None)
    return {}


@endpoint("GET", _PATH)
async def get_presence(request: Request, presences: Presences) -> Answer:
    """How somebody is."""
    user_id = request.parameters["userId"]
    if not await presences.is_visible(request.requester.user_id, user_id):
        raise forbidden("You see the presence of those only with whom you share a room.")
    return dict(await presences.of(user_id))
