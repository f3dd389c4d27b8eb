"""Events by time."""

from ranvier.client_api.room_parameters import is_backwards
from ranvier.federation.earlier import EarlierHistory
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.protocol.refusal import invalid_param

_LATEST = 2**53 - 1


@endpoint("GET", "/_matrix/client/v1/rooms/{roomId}/timestamp_to_event", rate_limit="other")
async def get_event_by_timestamp(request: Request, times: EarlierHistory) -> Answer:
    """The event that is nearest to a time, after it or before it."""
    request.query_required("ts")
    at = request.query_int("ts", 0)
    if at > _LATEST:
        raise invalid_param("'ts' is further ahead than any event can be.")
    event = await times.nearest(
        request.requester.user_id, request.parameters["roomId"], at, backwards=is_backwards(request)
    )
    return {"event_id": event.event_id, "origin_server_ts": event.origin_server_ts}
