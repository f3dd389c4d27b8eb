"""Joining rooms."""

from collections.abc import Sequence
from typing import Any

import msgspec

from ranvier.client_api.room_parameters import servers_of
from ranvier.federation.memberships import FederatedMemberships
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.limits import Limits
from ranvier.http.request import Request
from ranvier.protocol.refusal import Refusal, forbidden
from ranvier.rooms.aliases import Aliases

_OWN = frozenset({"reason", "third_party_signed", "membership"})


class Join(msgspec.Struct):
    """A wish to be let in."""

    reason: str | None = None
    third_party_signed: dict[str, Any] | None = None


@endpoint("POST", "/_matrix/client/v3/join/{roomIdOrAlias}", rate_limit="joins_local")
async def join_room(
    request: Request, memberships: FederatedMemberships, aliases: Aliases, limits: Limits
) -> Answer:
    """Join a room by its id or alias."""
    target = await aliases.resolve(request.parameters["roomIdOrAlias"], servers_of(request))
    return await _join(request, target.room_id, target.servers, memberships, limits)


@endpoint("POST", "/_matrix/client/v3/rooms/{roomId}/join", rate_limit="joins_local")
async def join_room_by_id(request: Request, memberships: FederatedMemberships, limits: Limits) -> Answer:
    """Join a room by its id."""
    return await _join(request, request.parameters["roomId"], [], memberships, limits)


async def _join(
    request: Request, room_id: str, via: Sequence[str], memberships: FederatedMemberships, limits: Limits
) -> Answer:
    requester = request.requester
    requester.check_not_suspended()
    body = request.read(Join, optional=True)
    # COMPAT(complement): what else the body says becomes a part of the membership.
    further = {key: value for key, value in request.json_or_empty().items() if key not in _OWN}
    limits.count("joins_per_room", room_id)
    if not await memberships.is_here(room_id):
        limits.count("joins_remote", requester.user_id)
    try:
        await memberships.join(
            requester.user_id,
            room_id,
            via,
            reason=body.reason,
            content=further or None,
            is_guest=requester.is_guest,
        )
    except Refusal as refusal:
        if refusal.errcode == "M_FORBIDDEN" and body.third_party_signed is not None:
            raise forbidden(
                "This server can't check the keys of third-party invites: ask to be invited by user ID."
            ) from refusal
        raise
    return {"room_id": room_id}
