"""A client that follows its syncs, for tests that wait for what another server sends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tests.server import UserClient

PATIENCE_S = 40.0


class Follower:
    """What a user's syncs have told so far; each wait begins where the last one ended."""

    def __init__(self, user: UserClient) -> None:
        self.user = user
        self.since: str | None = None
        self.timeline: dict[str, list[dict[str, Any]]] = {}
        self.answers: list[Any] = []

    async def next(self, timeout_ms: int = 1000) -> Any:
        """One more answer."""
        answer = await self.user.sync(self.since, timeout_ms)
        self.since = answer["next_batch"]
        self.answers.append(answer)
        for room_id, room in answer.get("rooms", {}).get("join", {}).items():
            self.timeline.setdefault(room_id, []).extend(room.get("timeline", {}).get("events", []))
        return answer

    async def until(self, found: Callable[[Any], Any], what: str) -> Any:
        """The first thing that `found` finds in an answer, the first answers included; fails after a while."""
        looked_at = 0
        try:
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    for answer in self.answers[looked_at:]:
                        value = found(answer)
                        if value:
                            return value
                    looked_at = len(self.answers)
                    await self.next()
        except TimeoutError:
            raise AssertionError(f"{self.user.user_id} was not told of {what}: {self.answers}") from None

    async def event(self, room_id: str, event_id: str) -> dict[str, Any]:
        """Wait for an event in the room's timeline."""

        def found(answer: Any) -> Any:
            room = answer.get("rooms", {}).get("join", {}).get(room_id, {})
            return next(
                (e for e in room.get("timeline", {}).get("events", []) if e["event_id"] == event_id), None
            )

        event: dict[str, Any] = await self.until(found, f"{event_id} in {room_id}")
        return event

    async def membership(self, room_id: str, kind: str) -> Any:
        """Wait for the room among those of a kind: join, invite, knock or leave."""
        return await self.until(
            lambda answer: answer.get("rooms", {}).get(kind, {}).get(room_id), f"{kind} of {room_id}"
        )

    async def member(self, room_id: str, user_id: str, membership: str) -> dict[str, Any]:
        """Wait for somebody's membership in a room that we are in."""

        def found(answer: Any) -> Any:
            room = answer.get("rooms", {}).get("join", {}).get(room_id, {})
            parts = [room.get(part, {}).get("events", []) for part in ("state", "timeline")]
            return next(
                (
                    event
                    for part in parts
                    for event in part
                    if event["type"] == "m.room.member"
                    and event["state_key"] == user_id
                    and event["content"]["membership"] == membership
                ),
                None,
            )

        event: dict[str, Any] = await self.until(found, f"{membership} of {user_id} in {room_id}")
        return event
