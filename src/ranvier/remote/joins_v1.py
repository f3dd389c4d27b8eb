"""The template of a join (`joins-v1.yaml`)."""

from typing import Any

from ranvier.remote.client import FederationClient, path_of
from ranvier.remote.events import MAX_STATE_BYTES, STATE_TIMEOUT_S
from ranvier.remote.templates import Template, read_template, version_query


async def make_join(
    client: FederationClient, destination: str, room_id: str, user_id: str, versions: tuple[str, ...]
) -> Template:
    """A join event for the user; `versions` are the room versions that we can join.

    Raises RemoteFailure, with `errcode` M_INCOMPATIBLE_ROOM_VERSION, M_UNABLE_TO_AUTHORISE_JOIN and others.
    """
    path = path_of("/_matrix/federation/v1/make_join", room_id, user_id)
    answer = await client.request(destination, "GET", path, query=version_query(versions), urgent=True)
    return read_template(destination, answer)


async def send_join_v1(
    client: FederationClient, destination: str, room_id: str, event_id: str, event: dict[str, Any]
) -> Any:
    """The old form of `send_join_v2`, for servers that know no other; gives what the answer's second part holds.

    The specification had it until version 1.18.
    """
    path = path_of("/_matrix/federation/v1/send_join", room_id, event_id)
    return await client.request_value(
        destination,
        "PUT",
        path,
        body=event,
        timeout_s=STATE_TIMEOUT_S,
        max_bytes=MAX_STATE_BYTES,
        urgent=True,
    )
