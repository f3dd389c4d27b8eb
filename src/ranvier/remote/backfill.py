"""Older events of a room (`backfill.yaml`)."""

from collections.abc import Sequence
from typing import Any

from ranvier.remote.client import FederationClient, path_of
from ranvier.remote.shapes import Shape

_SLACK = 2
"""Some servers give more events than were asked for: so many times as many are accepted."""


async def backfill_room(
    client: FederationClient, destination: str, room_id: str, event_ids: Sequence[str], limit: int
) -> list[dict[str, Any]]:
    """PDUs of the room before and with the given events, at most about `limit`. Raises RemoteFailure."""
    path = path_of("/_matrix/federation/v1/backfill", room_id)
    query = [*(("v", event_id) for event_id in event_ids), ("limit", str(limit))]
    answer = await client.request(destination, "GET", path, query=query)
    return Shape(destination, answer).objects("pdus", _SLACK * limit)


async def get_missing_previous_events(
    client: FederationClient,
    destination: str,
    room_id: str,
    *,
    earliest_events: Sequence[str],
    latest_events: Sequence[str],
    limit: int = 10,
    min_depth: int = 0,
) -> list[dict[str, Any]]:
    """PDUs between the latest and the earliest events that are known, without these. Raises RemoteFailure."""
    path = path_of("/_matrix/federation/v1/get_missing_events", room_id)
    body = {
        "earliest_events": list(earliest_events),
        "latest_events": list(latest_events),
        "limit": limit,
        "min_depth": min_depth,
    }
    answer = await client.request(destination, "POST", path, body=body)
    return Shape(destination, answer).objects("events", _SLACK * limit)
