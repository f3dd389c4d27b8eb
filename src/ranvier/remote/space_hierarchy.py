"""A space and its children, as another server sees them (`space_hierarchy.yaml`)."""

from typing import Any, NamedTuple

from ranvier.remote.client import FederationClient, path_of
from ranvier.remote.shapes import Shape

_MAX_CHILDREN = 5_000
_MAX_STATE = 5_000


class Hierarchy(NamedTuple):
    """Summaries of a room and of the children that may be seen; rooms that may not are inaccessible."""

    room: dict[str, Any]
    children: list[dict[str, Any]]
    inaccessible_children: list[str]


async def get_space_hierarchy(
    client: FederationClient, destination: str, room_id: str, *, suggested_only: bool = False
) -> Hierarchy:
    """The room and its children, one level deep. Raises RemoteFailure."""
    path = path_of("/_matrix/federation/v1/hierarchy", room_id)
    query = [("suggested_only", "true" if suggested_only else "false")]
    shape = Shape(destination, await client.request(destination, "GET", path, query=query, urgent=True))
    room = shape.object("room")
    if room.get("room_id") != room_id:
        raise shape.bad("it is about another room.")
    children = shape.objects("children", _MAX_CHILDREN)
    for entry in (room, *children):
        _check_summary(Shape(destination, entry))
    Shape(destination, room).objects("children_state", _MAX_STATE)
    return Hierarchy(room, children, shape.texts("inaccessible_children", _MAX_CHILDREN, required=False))


def _check_summary(room: Shape) -> None:
    room.text("room_id")
    room.integer("num_joined_members")
    room.flag("guest_can_join", False)
    room.flag("world_readable", False)
    room.texts("allowed_room_ids", _MAX_CHILDREN, required=False)
    for name in ("avatar_url", "canonical_alias", "join_rule", "name", "room_type", "topic", "room_version"):
        room.text_or_none(name)
