"""The list of public rooms of another server (`public_rooms.yaml`)."""

from typing import Any, NamedTuple

from ranvier.remote.client import FederationClient
from ranvier.remote.shapes import Shape

_MAX_ROOMS = 10_000


class PublicRooms(NamedTuple):
    """A page of rooms as their server describes them, and the tokens of its neighbours."""

    chunk: list[dict[str, Any]]
    next_batch: str | None
    prev_batch: str | None
    total_room_count_estimate: int | None


async def get_public_rooms(
    client: FederationClient,
    destination: str,
    *,
    limit: int | None = None,
    since: str | None = None,
    include_all_networks: bool = False,
    third_party_instance_id: str | None = None,
) -> PublicRooms:
    """A page of the list. Raises RemoteFailure."""
    query = [("include_all_networks", "true")] if include_all_networks else []
    if limit is not None:
        query.append(("limit", str(limit)))
    if since is not None:
        query.append(("since", since))
    if third_party_instance_id is not None:
        query.append(("third_party_instance_id", third_party_instance_id))
    path = "/_matrix/federation/v1/publicRooms"
    return _page(destination, await client.request(destination, "GET", path, query=query, urgent=True))


async def query_public_rooms(client: FederationClient, destination: str, body: dict[str, Any]) -> PublicRooms:
    """A page of the list, filtered; `body` as the specification gives it. Raises RemoteFailure."""
    path = "/_matrix/federation/v1/publicRooms"
    return _page(destination, await client.request(destination, "POST", path, body=body, urgent=True))


def _page(destination: str, answer: dict[str, Any]) -> PublicRooms:
    shape = Shape(destination, answer)
    chunk = shape.objects("chunk", _MAX_ROOMS)
    for entry in chunk:
        _check_room(Shape(destination, entry))
    estimate = shape.integer("total_room_count_estimate") if shape.has("total_room_count_estimate") else None
    return PublicRooms(chunk, shape.text_or_none("next_batch"), shape.text_or_none("prev_batch"), estimate)


def _check_room(room: Shape) -> None:
    """What clients are told as it came has the types that clients rely on."""
    room.text("room_id")
    room.integer("num_joined_members")
    room.flag("guest_can_join", False)
    room.flag("world_readable", False)
    for name in ("avatar_url", "canonical_alias", "join_rule", "name", "room_type", "topic"):
        room.text_or_none(name)
