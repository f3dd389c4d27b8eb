"""A client that always has a /sync waiting, as real clients do."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import orjson

from bench import requests
from bench.connection import Connection
from bench.world import User

LONG_POLL_MS = 30_000
FILTER = '{"room":{"timeline":{"limit":100}}}'


class Follower:
    """Follows one user's sync from now on and keeps what it saw.

    `messages` holds room, event id and text in the order of arrival; `newest` the last event seen of each
    room; `typing` who is typing in each room; `limited` counts timelines with a gap.
    """

    def __init__(self, line: Connection, user: User, on_answer: Callable[["Follower", int], None]) -> None:
        self.user = user
        self.line = line
        self.messages: list[tuple[str, str, str]] = []
        self.newest: dict[str, str] = {}
        self.typing: dict[str, list[str]] = {}
        self.answers = 0
        self.typing_notices = 0
        self.limited = 0
        self._since = ""
        self._on_answer = on_answer
        poll = requests.sync(user.token, since="SINCE", timeout_ms=LONG_POLL_MS, filter_json=FILTER)
        self._head, self._tail = poll.split(b"SINCE")

    async def begin(self) -> None:
        """The first sync, whose messages do not count."""
        self._take(
            orjson.loads((await self.line.expect(requests.sync(self.user.token, filter_json=FILTER))).body)
        )
        self.messages.clear()
        self.limited = 0

    async def follow(self) -> None:
        """Poll until cancelled; each answer is reported with the number of messages in it."""
        while True:
            answer = await self.line.expect(self._head + quote(self._since).encode() + self._tail)
            self.answers += 1
            self._on_answer(self, self._take(orjson.loads(answer.body)))

    def _take(self, body: Any) -> int:
        self._since = body["next_batch"]
        count = len(self.messages)
        for room_id, room in body.get("rooms", {}).get("join", {}).items():
            timeline = room.get("timeline", {})
            self.limited += bool(timeline.get("limited"))
            for event in timeline.get("events", ()):
                self.newest[room_id] = event["event_id"]
                if event["type"] == "m.room.message":
                    self.messages.append((room_id, event["event_id"], event["content"]["body"]))
            for event in room.get("ephemeral", {}).get("events", ()):
                if event["type"] == "m.typing":
                    self.typing_notices += 1
                    self.typing[room_id] = event["content"]["user_ids"]
        return len(self.messages) - count
