"""Small questions: the room of an alias, profiles, and further types (`query.yaml`)."""

from typing import Any, NamedTuple

from ranvier.protocol.identifiers import is_valid_server_name
from ranvier.remote.client import FederationClient, path_of
from ranvier.remote.shapes import Shape

_MAX_SERVERS = 10_000
_MAX_ANSWER = 256 * 1024


class AliasTarget(NamedTuple):
    """The room of an alias, and servers through which it can be joined."""

    room_id: str
    servers: list[str]


async def query_room_directory(client: FederationClient, destination: str, room_alias: str) -> AliasTarget:
    """The room that an alias of the destination stands for. Raises RemoteFailure."""
    answer = await client.request(
        destination, "GET", "/_matrix/federation/v1/query/directory",
        query=[("room_alias", room_alias)], max_bytes=_MAX_ANSWER, urgent=True,
    )  # fmt: skip
    shape = Shape(destination, answer)
    servers = [name for name in shape.texts("servers", _MAX_SERVERS) if is_valid_server_name(name)]
    return AliasTarget(shape.text("room_id"), servers)


async def query_profile(
    client: FederationClient, destination: str, user_id: str, field: str | None = None
) -> dict[str, Any]:
    """The profile of a user of the destination, or one field of it. Raises RemoteFailure."""
    query = [("user_id", user_id), *([("field", field)] if field is not None else [])]
    path = "/_matrix/federation/v1/query/profile"
    answer = await client.request(destination, "GET", path, query=query, max_bytes=_MAX_ANSWER)
    shape = Shape(destination, answer)
    for name in ("displayname", "avatar_url"):
        shape.text_or_none(name)
    return answer


async def query_info(
    client: FederationClient, destination: str, query_type: str, query: list[tuple[str, str]]
) -> dict[str, Any]:
    """A question of another type. Raises RemoteFailure."""
    path = path_of("/_matrix/federation/v1/query", query_type)
    return await client.request(destination, "GET", path, query=query, max_bytes=_MAX_ANSWER)
