"""Reading rooms in tests: whole histories page by page."""

import json
from typing import Any

from tests.http_client import path_of
from tests.server import UserClient

ROOMS = "_matrix/client/v3/rooms"


def room_path(room_id: str, *parts: str) -> str:
    """A path below a room."""
    return path_of(ROOMS, room_id, *parts)


async def messages(user: UserClient, room_id: str, direction: str, **query: Any) -> Any:
    """One page."""
    if "filter" in query:
        query["filter"] = json.dumps(query["filter"])
    if "start" in query:
        query["from"] = query.pop("start")
    answer = await user.get(room_path(room_id, "messages"), query={"dir": direction, **query})
    return answer.ok()


async def walk(user: UserClient, room_id: str, direction: str, limit: int, **query: Any) -> list[Any]:
    """All events from one end to the other, over pages of `limit`."""
    events: list[Any] = []
    for _ in range(500):
        page = await messages(user, room_id, direction, limit=limit, **query)
        assert len(page["chunk"]) <= limit
        events += page["chunk"]
        if "end" not in page:
            return events
        query["start"] = page["end"]
    raise AssertionError("the pages do not end")


async def state_content(user: UserClient, room_id: str, kind: str, state_key: str = "") -> Any:
    """The content of a state event."""
    return (await user.get(room_path(room_id, "state", kind, state_key))).ok()


def bodies(events: list[Any]) -> list[str]:
    """The texts of messages, in their order."""
    return [event["content"]["body"] for event in events if event["type"] == "m.room.message"]


def ids(events: list[Any]) -> list[str]:
    """Their ids, in their order."""
    return [event["event_id"] for event in events]
