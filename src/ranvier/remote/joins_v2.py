"""Sending a join (`joins-v2.yaml`)."""

from typing import Any, NamedTuple

from ranvier.remote.client import FederationClient, path_of
from ranvier.remote.events import MAX_STATE_BYTES, MAX_STATE_EVENTS, STATE_TIMEOUT_S
from ranvier.remote.failure import RemoteFailure
from ranvier.remote.joins_v1 import send_join_v1
from ranvier.remote.shapes import Shape

_MAX_SERVERS = 100_000


class Joined(NamedTuple):
    """What a room is like for one who joined it: PDUs.

    `event` is the join as the peer signed it, for restricted joins. With `members_omitted` the state lacks
    memberships, and `servers_in_room` names the servers that are in the room.
    """

    state: list[dict[str, Any]]
    auth_chain: list[dict[str, Any]]
    event: dict[str, Any] | None
    members_omitted: bool
    servers_in_room: list[str] | None


async def send_join_v2(
    client: FederationClient,
    destination: str,
    room_id: str,
    event_id: str,
    event: dict[str, Any],
    *,
    omit_members: bool = False,
) -> Joined:
    """Hand in the signed join; `omit_members` asks for a quick answer without most memberships.

    Falls back to the old form of the operation. Raises RemoteFailure.
    """
    path = path_of("/_matrix/federation/v2/send_join", room_id, event_id)
    try:
        answer = await client.request(
            destination, "PUT", path, query=[("omit_members", "true" if omit_members else "false")], body=event,
            timeout_s=STATE_TIMEOUT_S, max_bytes=MAX_STATE_BYTES, urgent=True,
        )  # fmt: skip
    except RemoteFailure as failure:
        # COMPAT(older servers): the first form answers [200, {…}].
        if not failure.is_unknown_endpoint:
            raise
        found = await send_join_v1(client, destination, room_id, event_id, event)
        answer = found[1] if isinstance(found, list) and len(found) == 2 else found
        if not isinstance(answer, dict):
            raise RemoteFailure(destination, "Its answer is not of the expected form.", status=200) from None
    return _joined(Shape(destination, answer))


def _joined(shape: Shape) -> Joined:
    omitted = shape.flag("members_omitted", False)
    servers = shape.texts("servers_in_room", _MAX_SERVERS, required=omitted)
    return Joined(
        shape.objects("state", MAX_STATE_EVENTS),
        shape.objects("auth_chain", MAX_STATE_EVENTS),
        shape.object_or_none("event"),
        omitted,
        servers if omitted or shape.has("servers_in_room") else None,
    )
