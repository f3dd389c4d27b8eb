"""No sync loses, repeats or reorders an event: random lives of a few users, judged by what their clients kept.

RANVIER_SEED repeats a run's choices; RANVIER_STEPS makes the lives longer.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections import defaultdict
from collections.abc import Awaitable
from random import Random
from typing import Any

import pytest
from tests.http_client import Response, path_of
from tests.server import Server, UserClient
from tests.sync.chronicle import ROOMS, Chronicle, SyncingClient

STEPS = int(os.environ.get("RANVIER_STEPS", "60"))
NAMES = ("ann", "ben", "cat", "dan")
VISIBILITIES = ("shared", "shared", "joined")


class Life:
    """Users who do things in rooms, and the clients that watch."""

    def __init__(self, server: Server, random: Random) -> None:
        self.server = server
        self.random = random
        self.keeper: UserClient
        self.users: list[UserClient] = []
        self.clients: list[SyncingClient] = []
        self.rooms: dict[str, str] = {}
        self.joined: dict[str, set[str]] = defaultdict(set)
        self.sent: dict[str, list[str]] = defaultdict(list)
        self.said: dict[str, Any] = {}
        self.receipts: dict[tuple[str, str], list[tuple[str, str | None]]] = defaultdict(list)
        self._moving = asyncio.Lock()

    async def begin(self) -> None:
        self.keeper = await self.server.register("keeper")
        self.users = [await self.server.register(name) for name in NAMES]
        for visibility in VISIBILITIES:
            setting = {
                "type": "m.room.history_visibility",
                "state_key": "",
                "content": {"history_visibility": visibility},
            }
            room_id = await self.keeper.create_room(
                preset="public_chat",
                initial_state=[setting],
                power_level_content_override={"state_default": 0},
            )
            self.rooms[room_id] = visibility
        for user, name in zip(self.users, NAMES, strict=True):
            self.clients.append(SyncingClient(user, self.random, f"{name} 0"))
            for number in range(1, self.random.randrange(1, 4)):
                device = await self.server.login(name)
                self.clients.append(SyncingClient(device, self.random, f"{name} {number}"))

    # What users do. Those who moved meanwhile may be refused.

    def _someone(self, room_id: str) -> UserClient | None:
        inside = [user for user in self.users if user.user_id in self.joined[room_id]]
        return self.random.choice(inside) if inside else None

    async def act(self) -> None:
        """One thing that one user does."""
        room_id = self.random.choice(list(self.rooms))
        user = self._someone(room_id)
        doings = [self.send] * 10 + [self.set_state] * 3 + [self.redact, self.leave, self.kick]
        doings += [self.read] * 3
        if user is None or self.random.random() < 0.12:
            await self.join(self.random.choice(self.users), room_id)
        else:
            await self.random.choice(doings)(user, room_id)

    async def send(self, user: UserClient, room_id: str) -> None:
        content: dict[str, Any] = {"msgtype": "m.text", "body": f"{self.random.random()}"}
        if self.random.random() < 0.2:
            content["m.mentions"] = {"user_ids": [self.random.choice(self.users).user_id]}
        mains = [e for e in self.sent[room_id] if "m.relates_to" not in self.said[e]]
        if mains and self.random.random() < 0.25:
            content["m.relates_to"] = {"rel_type": "m.thread", "event_id": self.random.choice(mains[-5:])}
        path = path_of(ROOMS, room_id, "send", "m.room.message", secrets.token_hex(6))
        event_id = _event_id(await user.put(path, json=content))
        if event_id:
            self.said[event_id] = content
            self.sent[room_id].append(event_id)

    async def set_state(self, user: UserClient, room_id: str) -> None:
        kind, key = self.random.choice([("m.room.topic", ""), ("com.example.note", user.user_id)])
        path = path_of(ROOMS, room_id, "state", kind, key)
        _event_id(await user.put(path, json={"topic": f"{self.random.random()}"}))

    async def redact(self, user: UserClient, room_id: str) -> None:
        if self.sent[room_id]:
            target = self.random.choice(self.sent[room_id])
            path = path_of(ROOMS, room_id, "redact", target, secrets.token_hex(6))
            _event_id(await user.put(path, json={}))

    async def read(self, user: UserClient, room_id: str) -> None:
        if not self.sent[room_id]:
            return
        event_id = self.random.choice(self.sent[room_id][-10:])
        thread = self.said[event_id].get("m.relates_to", {}).get("event_id", "main")
        chosen = self.random.choice([None, thread])
        kind = self.random.choice(["m.read", "m.read.private"])
        path = path_of(ROOMS, room_id, "receipt", kind, event_id)
        answer = await user.post(path, json={"thread_id": chosen} if chosen else {})
        assert answer.status in (200, 403), answer
        if answer.status == 200:
            self.receipts[room_id, user.user_id].append((event_id, chosen))

    async def join(self, user: UserClient, room_id: str) -> None:
        async with self._moving:
            if self.random.random() < 0.3 and user.user_id not in self.joined[room_id]:
                await self.keeper.invite(room_id, user.user_id)
            await user.join(room_id)
            self.joined[room_id].add(user.user_id)

    async def leave(self, user: UserClient, room_id: str) -> None:
        async with self._moving:
            if user.user_id in self.joined[room_id]:
                await user.leave(room_id)
                self.joined[room_id].discard(user.user_id)

    async def kick(self, user: UserClient, room_id: str) -> None:
        async with self._moving:
            if user.user_id in self.joined[room_id]:
                path = path_of(ROOMS, room_id, "kick")
                (await self.keeper.post(path, json={"user_id": user.user_id})).ok()
                self.joined[room_id].discard(user.user_id)

    # The course of things

    async def go_on(self, steps: int) -> None:
        """Things happen one after another or at once, and clients sync meanwhile."""
        for _ in range(steps):
            doings: list[Awaitable[Any]] = [self.act() for _ in range(self.random.choice([1, 1, 1, 3, 8]))]
            for client in self.clients:
                chance = self.random.random()
                if chance < 0.02:
                    client.go_back()
                if chance < 0.25:
                    doings.append(client.sync(timeout=self.random.choice([0, 20])))
            await asyncio.gather(*doings)

    async def judge(self) -> None:
        """Every client catches up, and has kept what it should."""
        chronicles = [await Chronicle.read(self.keeper, *room) for room in self.rooms.items()]
        for chronicle in chronicles:
            places = [chronicle.place[event_id] for event_id in self.sent[chronicle.room_id]]
            assert len(set(places)) == len(places)
        for client in self.clients:
            while await client.sync():
                pass
            for chronicle in chronicles:
                await self._judge(client, chronicle)

    async def _judge(self, client: SyncingClient, chronicle: Chronicle) -> None:
        room_id, user_id = chronicle.room_id, client.client.user_id
        known = client.rooms[room_id]
        where = f"{client} in {room_id} ({self.rooms[room_id]})"
        joined = user_id in self.joined[room_id]
        if client.limit and (joined or known.section):
            wanted = chronicle.visible_to(user_id, client.types)
            told = [*known.events]
            assert told == wanted, f"{where}: {_difference(told, wanted, chronicle)}"
        if not joined or client.types is not None:
            return
        assert known.section == "join", where
        if not client.lazy:
            assert known.state == chronicle.state(), where
            path = path_of(ROOMS, room_id, "state")
            shown = {(e["type"], e["state_key"]): e["event_id"] for e in (await client.client.get(path)).ok()}
            assert known.state == shown, where
        unread = chronicle.unread(user_id, self.receipts[room_id, user_id], self.said)
        assert known.unread == unread, where


def _difference(told: list[str], wanted: list[str], chronicle: Chronicle) -> str:
    def name(event_id: str) -> str:
        place = chronicle.place[event_id]
        event = chronicle.events[place]
        about = event.get("state_key", "")
        return f"{place}:{event['type']}:{about}:{event['content'].get('membership', '')}"

    lost = [name(event_id) for event_id in wanted if event_id not in told]
    added = [name(event_id) for event_id in told if event_id not in wanted]
    return f"lost {lost}, told besides {added}, of {len(wanted)}" if lost or added else "another order"


def _event_id(answer: Response) -> str:
    assert answer.status in (200, 403), answer
    return answer.json["event_id"] if answer.status == 200 else ""


def seed() -> Random:
    chosen = os.environ.get("RANVIER_SEED") or secrets.token_hex(4)
    print(f"RANVIER_SEED={chosen}")
    return Random(chosen)


@pytest.mark.parametrize("memory", [50_000, 7])
async def test_no_sync_loses_repeats_or_reorders_an_event(server: Server, memory: int):
    """With the log's newest entries in memory, and with so few that most syncs read the table."""
    server.composition.ground.log.tail.capacity = memory
    life = Life(server, seed())
    await life.begin()
    await life.go_on(STEPS)
    await life.judge()
