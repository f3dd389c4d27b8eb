"""Single events, states of rooms, and the event nearest to a moment (`events.yaml`)."""

from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple

from ranvier.remote.client import FederationClient, path_of
from ranvier.remote.shapes import Shape

MAX_STATE_EVENTS: Final = 500_000
"""Events of a room's state, or of its auth chain, that are accepted."""
MAX_STATE_BYTES: Final = 300 * 1024 * 1024
STATE_TIMEOUT_S: Final = 600.0
"""A large room's state takes its server long to gather."""


class State(NamedTuple):
    """State before an event, and the auth chain of it: PDUs."""

    pdus: list[dict[str, Any]]
    auth_chain: list[dict[str, Any]]


class StateIds(NamedTuple):
    """State before an event, and the auth chain of it: event IDs."""

    pdu_ids: Sequence[str]
    auth_chain_ids: Sequence[str]


class NearEvent(NamedTuple):
    """The event nearest to a moment; `origin_server_ts` in milliseconds."""

    event_id: str
    origin_server_ts: int


async def get_event(client: FederationClient, destination: str, event_id: str) -> dict[str, Any]:
    """The PDU of an event. Raises RemoteFailure."""
    path = path_of("/_matrix/federation/v1/event", event_id)
    shape = Shape(destination, await client.request(destination, "GET", path))
    pdus = shape.objects("pdus", 1)
    if not pdus:
        raise shape.bad("`pdus` is empty.")
    return pdus[0]


async def get_room_state(client: FederationClient, destination: str, room_id: str, event_id: str) -> State:
    """The state before an event. Raises RemoteFailure."""
    path = path_of("/_matrix/federation/v1/state", room_id)
    answer = await client.request(
        destination, "GET", path, query=[("event_id", event_id)],
        timeout_s=STATE_TIMEOUT_S, max_bytes=MAX_STATE_BYTES,
    )  # fmt: skip
    shape = Shape(destination, answer)
    return State(shape.objects("pdus", MAX_STATE_EVENTS), shape.objects("auth_chain", MAX_STATE_EVENTS))


async def get_room_state_ids(
    client: FederationClient, destination: str, room_id: str, event_id: str
) -> StateIds:
    """The IDs of the state before an event. Raises RemoteFailure."""
    path = path_of("/_matrix/federation/v1/state_ids", room_id)
    answer = await client.request(
        destination, "GET", path, query=[("event_id", event_id)], timeout_s=STATE_TIMEOUT_S
    )
    shape = Shape(destination, answer)
    return StateIds(shape.texts("pdu_ids", MAX_STATE_EVENTS), shape.texts("auth_chain_ids", MAX_STATE_EVENTS))


async def get_event_by_timestamp(
    client: FederationClient, destination: str, room_id: str, ts: int, direction: Literal["f", "b"]
) -> NearEvent:
    """The event nearest to `ts` (milliseconds), at or after (`f`) or at or before it (`b`). Raises RemoteFailure."""
    path = path_of("/_matrix/federation/v1/timestamp_to_event", room_id)
    answer = await client.request(destination, "GET", path, query=[("ts", str(ts)), ("dir", direction)])
    shape = Shape(destination, answer)
    return NearEvent(shape.text("event_id"), shape.integer("origin_server_ts"))
