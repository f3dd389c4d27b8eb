"""What a client keeps of its syncs, and what it should have kept, computed in the simplest way from the history."""

from __future__ import annotations

import copy
import json
from collections import defaultdict
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.http_client import path_of
from tests.server import UserClient

ROOMS = "_matrix/client/v3/rooms"
MEMBER = "m.room.member"
Event = dict[str, Any]


@dataclass
class Known:
    """One room, as a client knows it."""

    section: str = ""
    events: list[str] = field(default_factory=list)
    state: dict[tuple[str, str], str] = field(default_factory=dict)
    unread: dict[str, int] = field(default_factory=dict)
    membership: str = ""


class SyncingClient:
    """A device that syncs with one filter, at random moments, sometimes again from an old token."""

    def __init__(self, client: UserClient, random: Random, name: str) -> None:
        self.client = client
        self.random = random
        self.name = name
        self.types = ["m.room.message"] if random.random() < 0.2 else None
        self.lazy = random.random() < 0.3
        self.state_after = random.random() < 0.3
        self.limit = random.choice([1, 2, 5, 10, 30])
        self.since: str | None = None
        self.rooms: dict[str, Known] = defaultdict(Known)
        self._old: list[tuple[str, dict[str, Known]]] = []

    def __repr__(self) -> str:
        wishes = f"types={self.types} lazy={self.lazy} state_after={self.state_after} limit={self.limit}"
        return f"<{self.name} {wishes}>"

    def _filter(self) -> str:
        timeline: dict[str, Any] = {"limit": self.limit}
        if self.types:
            timeline["types"] = self.types
        return json.dumps({"room": {"timeline": timeline, "state": {"lazy_load_members": self.lazy}}})

    async def sync(self, timeout: int = 0) -> bool:  # noqa: ASYNC109
        """Sync once, and take in what came; whether anything of rooms came."""
        if self.since is not None and self.random.random() < 0.1:
            self._old.append((self.since, copy.deepcopy(dict(self.rooms))))
        query = {"use_state_after": "true"} if self.state_after else {}
        answer = await self.client.sync(self.since, timeout=timeout, filter=self._filter(), **query)
        rooms = answer.get("rooms", {})
        for section in ("join", "leave"):
            for room_id, room in rooms.get(section, {}).items():
                await self._take_in(room_id, section, room)
        for room_id in rooms.get("invite", {}):
            self.rooms[room_id].section = "invite"
        self.since = answer["next_batch"]
        return bool(rooms)

    def go_back(self) -> None:
        """Forget all that came since an old token, as an app does that was restored from a backup."""
        if self._old:
            self.since, rooms = self.random.choice(self._old)
            self._old = []
            self.rooms = defaultdict(Known, copy.deepcopy(rooms))

    async def _take_in(self, room_id: str, section: str, room: Any) -> None:
        known = self.rooms[room_id]
        whole = known.section != "join" and section == "join"
        timeline = room.get("timeline", {"events": [], "limited": False})
        events: list[Event] = timeline["events"]
        ids = [event["event_id"] for event in events]
        last = known.events[-1] if known.events else None
        if whole and last in ids:
            # Who comes back to a room is given its newest events, some of which are known from the last visit.
            ids = ids[ids.index(last) + 1 :]
        elif timeline["limited"] or (last is None and ids):
            # Also who was there only between two syncs may read what was before.
            before = await self._fill(room_id, timeline["prev_batch"], last)
            ids = [*before, *ids] if before is not None else []
        repeated = set(ids) & set(known.events)
        assert not repeated, f"{self} was told {repeated} again in {section} of {room_id}"
        known.events += ids
        changes = [*room.get("state", {"events": []})["events"], *events]
        if "state_after" in room:
            changes = room["state_after"]["events"]
        for event in changes:
            if "state_key" in event:
                known.state[event["type"], event["state_key"]] = event["event_id"]
        if self.lazy and section == "join":
            strangers = {e["sender"] for e in events if (MEMBER, e["sender"]) not in known.state}
            assert not strangers, f"{self} does not know {strangers}, who speak in {room_id}"
        known.unread = room.get("unread_notifications", known.unread)
        known.section = section

    async def _fill(self, room_id: str, prev_batch: str, last: str | None) -> list[str] | None:
        """The events between the last known one and a place, oldest first.

        None if the user has left meanwhile and is invited again: until they accept they may read nothing.
        """
        found: list[str] = []
        query: dict[str, Any] = {"dir": "b", "limit": 7, "from": prev_batch}
        if self.types:
            query["filter"] = json.dumps({"types": self.types})
        while True:
            answer = await self.client.get(path_of(ROOMS, room_id, "messages"), query=query)
            if answer.status == 403 and await self._is_invited(room_id):
                return None
            page = answer.ok()
            for event in page["chunk"]:
                if event["event_id"] == last:
                    return found[::-1]
                found.append(event["event_id"])
            if "end" not in page:
                assert last is None, f"{self}: {last} is not in the history of {room_id}"
                return found[::-1]
            query["from"] = page["end"]

    async def _is_invited(self, room_id: str) -> bool:
        rooms = (await self.client.sync()).get("rooms", {})
        return room_id in rooms.get("invite", {}) or room_id in rooms.get("join", {})


class Chronicle:
    """The truth of one room: its whole history, as one who was always there reads it."""

    def __init__(self, room_id: str, visibility: str, events: list[Event]) -> None:
        self.room_id = room_id
        self.events = events
        self.place = {event["event_id"]: number for number, event in enumerate(events)}
        self._visibility = visibility

    @classmethod
    async def read(cls, client: UserClient, room_id: str, visibility: str) -> Chronicle:
        events: list[Event] = []
        query: dict[str, Any] = {"dir": "f", "limit": 50}
        while True:
            page = (await client.get(path_of(ROOMS, room_id, "messages"), query=query)).ok()
            events += page["chunk"]
            if "end" not in page:
                assert len({event["event_id"] for event in events}) == len(events)
                return cls(room_id, visibility, events)
            query["from"] = page["end"]

    def memberships(self, user_id: str) -> list[str]:
        """What the user was before each event, and after the last."""
        found = ["leave"]
        for event in self.events:
            own = event["type"] == MEMBER and event["state_key"] == user_id
            found.append(event["content"]["membership"] if own else found[-1])
        return found

    def visible_to(self, user_id: str, types: list[str] | None) -> list[str]:
        """What a client of the user should have been told by now, in order."""
        was = self.memberships(user_id)
        joined = [number for number in range(len(self.events)) if "join" in (was[number], was[number + 1])]
        if not joined:
            return []
        # Before a room says who may see its history, it is shared with all who join later.
        shared = joined[-1] if self._visibility == "shared" else self._setting()
        joined = [*range(shared + 1), *(number for number in joined if number > shared)]
        return [
            self.events[number]["event_id"]
            for number in joined
            if types is None or self.events[number]["type"] in types
        ]

    def _setting(self) -> int:
        kinds = [event["type"] for event in self.events]
        return kinds.index("m.room.history_visibility")

    def state(self) -> dict[tuple[str, str], str]:
        """The newest event of each key."""
        return {(e["type"], e["state_key"]): e["event_id"] for e in self.events if "state_key" in e}

    def unread(
        self, user_id: str, receipts: list[tuple[str, str | None]], said: dict[str, Any]
    ) -> dict[str, int]:
        """How many messages notify a user who sent these receipts (event id, thread); `said` are contents as sent."""
        read: dict[str | None, int] = defaultdict(lambda: -1)
        for event_id, thread in receipts:
            read[thread] = max(read[thread], self.place[event_id])
        for number, event in enumerate(self.events):
            if event["sender"] == user_id and (event["type"] != MEMBER or event["state_key"] == user_id):
                thread = None if event["type"] == MEMBER else thread_of(event, said)
                read[thread] = max(read[thread], number)
        count = {"notification_count": 0, "highlight_count": 0}
        for number, event in enumerate(self.events):
            if event["type"] != "m.room.message" or event["sender"] == user_id:
                continue
            if number > max(read[None], read[thread_of(event, said)]):
                mentioned = said[event["event_id"]].get("m.mentions", {}).get("user_ids", [])
                count["notification_count"] += 1
                count["highlight_count"] += user_id in mentioned
        return count


def thread_of(event: Event, said: dict[str, Any]) -> str:
    """The root of the thread that an event belongs to, or "main"."""
    relation = said.get(event["event_id"], event["content"]).get("m.relates_to", {})
    return relation["event_id"] if relation.get("rel_type") == "m.thread" else "main"
