"""Older events of a room, and those between known ones."""

import msgspec

from ranvier.federation.serving import Serving
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.protocol.refusal import invalid_param

_MISSING = 10


class MissingEvents(msgspec.Struct):
    """Which events a peer lacks: those before `latest_events` and after `earliest_events`."""

    earliest_events: list[str]
    latest_events: list[str]
    limit: int = _MISSING
    min_depth: int = 0


@endpoint("GET", "/_matrix/federation/v1/backfill/{roomId}", access="server")
async def backfill_room(request: Request, serving: Serving) -> Answer:
    """The named events and those before them, newest first."""
    request.query_required("limit")
    limit = request.query_int("limit", 0, least=1)
    named = request.query_values("v")
    if not named:
        raise invalid_param("'v' must name an event to start from.")
    pdus = await serving.backfill(request.origin, request.parameters["roomId"], named, limit)
    return serving.as_transaction(pdus)


@endpoint("POST", "/_matrix/federation/v1/get_missing_events/{roomId}", access="server")
async def get_missing_previous_events(request: Request, serving: Serving) -> Answer:
    """The events between the earliest and the latest, oldest first."""
    body = request.read(MissingEvents)
    events = await serving.missing_events(
        request.origin,
        request.parameters["roomId"],
        body.earliest_events,
        body.latest_events,
        max(0, body.limit),
        max(0, body.min_depth),
    )
    return {"events": events}
