"""Single events, and the state of rooms."""

from ranvier.federation.serving import Serving
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.protocol.refusal import invalid_param


@endpoint("GET", "/_matrix/federation/v1/event/{eventId}", access="server")
async def get_event(request: Request, serving: Serving) -> Answer:
    """One event."""
    return serving.as_transaction([await serving.event(request.origin, request.parameters["eventId"])])


@endpoint("GET", "/_matrix/federation/v1/state/{roomId}", access="server")
async def get_room_state(request: Request, serving: Serving) -> Answer:
    """The state before an event, and its auth chain."""
    event_id = request.query_required("event_id")
    state, chain = await serving.state(request.origin, request.parameters["roomId"], event_id)
    return {"pdus": state, "auth_chain": chain}


@endpoint("GET", "/_matrix/federation/v1/state_ids/{roomId}", access="server")
async def get_room_state_ids(request: Request, serving: Serving) -> Answer:
    """The ids of the state before an event, and of its auth chain."""
    event_id = request.query_required("event_id")
    state, chain = await serving.state_ids(request.origin, request.parameters["roomId"], event_id)
    return {"pdu_ids": list(state), "auth_chain_ids": list(chain)}


@endpoint("GET", "/_matrix/federation/v1/timestamp_to_event/{roomId}", access="server")
async def get_event_by_timestamp(request: Request, serving: Serving) -> Answer:
    """The event that is nearest to a time, after it or before it."""
    direction = request.query_required("dir")
    if direction not in ("b", "f"):
        raise invalid_param("'dir' must be 'b' (backwards) or 'f' (forwards).")
    request.query_required("ts")
    event = await serving.nearest(
        request.origin, request.parameters["roomId"], request.query_int("ts", 0), backwards=direction == "b"
    )
    return {"event_id": event.event_id, "origin_server_ts": event.origin_server_ts}
