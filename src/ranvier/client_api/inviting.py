"""Invites of users whose id is known."""

from ranvier.client_api.room_parameters import read_target, refuse_guest
from ranvier.federation.memberships import FederatedMemberships
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.limits import Limits
from ranvier.http.request import Request
from ranvier.protocol.refusal import Refusal

_THIRD_PARTY = frozenset({"id_server", "id_access_token", "medium", "address"})


@endpoint("POST", "/_matrix/client/v3/rooms/{roomId}/invite", rate_limit="invites_per_issuer")
async def invite_user(request: Request, memberships: FederatedMemberships, limits: Limits) -> Answer:
    """Invite a user to the room."""
    requester = request.requester
    requester.check_not_suspended()
    refuse_guest(requester)
    if not _THIRD_PARTY.isdisjoint(body := request.json()) and "user_id" not in body:
        raise Refusal(
            "M_THREEPID_DENIED",
            "This server asks no identity server, so it can only invite by user ID.",
            status=403,
        )
    target, room_id = read_target(request), request.parameters["roomId"]
    limits.count("invites_per_room", room_id)
    limits.count("invites_per_user", target.user_id)
    await memberships.invite(requester.user_id, room_id, target.user_id, reason=target.reason)
    return {}
