"""Three processes, PostgreSQL and Redis under load, of which now one and now another is killed, stopped or restarted.

RANVIER_CHAOS says for how many seconds (20 in an ordinary run); a failure prints the seed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import pytest
from tests.http_client import Response, path_of
from tests.lossy_redis import LossyRedis
from tests.postgresql import PostgresServer
from tests.redis import RedisServer
from tests.server import ServerProcess, UserClient, login, register

V3 = "_matrix/client/v3"
SECONDS = float(os.environ.get("RANVIER_CHAOS", "20"))
DEAD = (aiohttp.ClientError, ConnectionError, TimeoutError)
STOPPED_SECONDS = 10.0
HEALED_SECONDS = 90.0


class Anywhere:
    """A client as behind a load balancer: a request goes to some process, and to another if that one fails."""

    def __init__(self, processes: list[ServerProcess], who: dict[str, Any], random: Random) -> None:
        self._clients = [UserClient(process.base_url, who, timeout=8) for process in processes]
        self._random = random
        self.user_id = self._clients[0].user_id

    async def ask(self, method: str, path: str, **options: Any) -> Response:
        """Until somebody answers; 503 is no answer, and any other failure of the server fails the test."""
        while True:
            client = self._random.choice(self._clients)
            try:
                answer = await client.request(method, path, **options)
            except DEAD:
                await asyncio.sleep(0.05)
                continue
            if answer.status == 503:
                assert int(answer.headers["retry-after"]) > 0
                await asyncio.sleep(0.2)
                continue
            assert answer.status == 200, (answer.status, answer.body)
            return answer

    async def close(self) -> None:
        for client in self._clients:
            await client.close()


class Listener:
    """Syncs all the while and keeps what was said, in the order in which it came."""

    def __init__(self, client: Anywhere, rooms: list[str]) -> None:
        self._client = client
        self.seen: dict[str, list[str]] = {room: [] for room in rooms}
        self._since = ""

    async def begin(self) -> None:
        """From here on."""
        self._since = (await self._client.ask("GET", f"/{V3}/sync")).json["next_batch"]

    async def follow(self, enough: Callable[[], bool]) -> None:
        """Until there was enough."""
        while not enough():
            query = {"since": self._since, "timeout": 1000}
            answer = (await self._client.ask("GET", f"/{V3}/sync", query=query)).json
            for room, joined in answer.get("rooms", {}).get("join", {}).items():
                timeline = joined.get("timeline", {})
                events = timeline.get("events", [])
                if timeline.get("limited"):
                    events = await self._fill(room, timeline["prev_batch"]) + events
                self.seen[room] += [e["event_id"] for e in events if e["type"] == "m.room.message"]
            self._since = answer["next_batch"]

    async def _fill(self, room: str, prev_batch: str) -> list[dict[str, Any]]:
        """What a limited timeline left out."""
        found: list[dict[str, Any]] = []
        token: str | None = prev_batch
        while token is not None:
            query = {"dir": "b", "from": token, "to": self._since, "limit": 100}
            page = (await self._client.ask("GET", path_of(V3, "rooms", room, "messages"), query=query)).json
            found = page["chunk"][::-1] + found
            token = page.get("end") if page["chunk"] else None
        return found


class Chaos:
    """Does harm at random, one thing after the other, and notes what."""

    def __init__(
        self, processes: list[ServerProcess], postgres: PostgresServer, redis: RedisServer, random: Random
    ) -> None:
        self._processes = processes
        self._postgres = postgres
        self._redis = redis
        self._random = random
        self.done: list[str] = []

    async def rage(self, seconds: float) -> None:
        """For so long; afterwards all is whole."""
        until = time.monotonic() + seconds
        harms = [self._kill, self._stop, self._redis_dies, self._postgres_restarts, self._backend_dies]
        while time.monotonic() < until or len(self.done) < len(harms):
            harm = harms[len(self.done)] if len(self.done) < len(harms) else self._random.choice(harms)
            self.done.append(harm.__name__)
            await harm()
            await asyncio.sleep(self._random.random())

    async def _kill(self) -> None:
        process = self._random.choice(self._processes)
        await process.kill()
        await asyncio.sleep(self._random.random())
        await process.start(120)

    async def _stop(self) -> None:
        process = self._random.choice(self._processes)
        process.signal(signal.SIGSTOP)
        await asyncio.sleep(STOPPED_SECONDS)
        process.signal(signal.SIGCONT)

    async def _redis_dies(self) -> None:
        await asyncio.to_thread(self._redis.kill)
        await asyncio.sleep(2 * self._random.random())
        await asyncio.to_thread(self._redis.start)

    async def _postgres_restarts(self) -> None:
        await asyncio.to_thread(self._postgres.restart, self._random.choice(["fast", "immediate"]))

    async def _backend_dies(self) -> None:
        await asyncio.to_thread(self._postgres.kill_a_backend)
        await asyncio.sleep(1)


@pytest.fixture
async def line(redis_server: RedisServer) -> AsyncIterator[LossyRedis]:
    """The way to Redis, on which half of what is said gets lost."""
    made = LossyRedis(redis_server.port, Random(3))
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def processes(
    postgres_server: PostgresServer, line: LossyRedis, tmp_path: Path
) -> AsyncIterator[list[ServerProcess]]:
    """Three that share a database."""
    args = {
        "database": "postgres",
        "user": "postgres",
        "host": str(postgres_server.folder),
        "port": postgres_server.port,
    }
    keys = {
        "database": {"name": "psycopg2", "args": args},
        "signing_key_path": str(tmp_path / "signing.key"),
        "media_store_path": str(tmp_path / "media"),
        "redis": {"enabled": True, "host": "127.0.0.1", "port": line.port},
    }
    made = [ServerProcess(tmp_path / f"p{number}", **keys) for number in range(3)]
    for process in made:
        await process.start(120)
    yield made
    for process in made:
        if process.process is not None and process.process.poll() is None:
            process.signal(signal.SIGCONT)
        await process.kill()


@pytest.mark.timeout(600 + 2 * SECONDS)
async def test_whatever_dies_clients_see_every_answered_event_once_and_in_order(
    processes: list[ServerProcess],
    postgres_server: PostgresServer,
    redis_server: RedisServer,
    line: LossyRedis,
):
    seed = Random().randrange(1 << 32)
    print(f"seed {seed}")
    random = Random(seed)
    async with processes[0].client() as anonymous:
        await register(anonymous, "ann")
        clients = [Anywhere(processes, await login(anonymous, "ann"), random) for _ in range(6)]  # type: ignore[arg-type]
    rooms = [(await clients[0].ask("POST", f"/{V3}/createRoom", json={})).json["room_id"] for _ in range(2)]
    listeners = [Listener(client, rooms) for client in clients[:2]]
    for listener in listeners:
        await listener.begin()
    said: dict[str, list[list[str]]] = {room: [[] for _ in clients] for room in rooms}
    is_over = is_quiet = False

    async def talk(number: int) -> None:
        turn = 0
        while not is_over:
            turn += 1
            room = rooms[turn % 2]
            path = path_of(V3, "rooms", room, "send", "m.room.message", f"{number}-{turn}")
            body = {"msgtype": "m.text", "body": f"{number} {turn}"}
            answer = await clients[number].ask("PUT", path, json=body)
            said[room][number].append(answer.json["event_id"])
            await asyncio.sleep(0.02)

    def wanted(room: str) -> set[str]:
        return {event_id for one in said[room] for event_id in one}

    def enough(listener: Listener) -> bool:
        return is_quiet and all(wanted(room) <= set(listener.seen[room]) for room in rooms)

    following = [asyncio.create_task(one.follow(lambda one=one: enough(one))) for one in listeners]
    talking = [asyncio.create_task(talk(number)) for number in range(len(clients))]
    chaos = Chaos(processes, postgres_server, redis_server, random)
    await chaos.rage(SECONDS)
    is_over = True
    async with asyncio.timeout(HEALED_SECONDS):
        await asyncio.gather(*talking)
        is_quiet = True
        await asyncio.gather(*following)
    print(f"{sum(len(wanted(room)) for room in rooms)} events, {line.lost} messages lost, {chaos.done}")

    assert line.lost > 0
    assert sum(len(wanted(room)) for room in rooms) > 3 * len(clients)
    for room in rooms:
        for listener in listeners:
            seen = listener.seen[room]
            assert len(seen) == len(set(seen)), f"doubled; seed {seed}"
            places = {event_id: place for place, event_id in enumerate(seen)}
            for one in said[room]:
                assert [places[event_id] for event_id in one] == sorted(places[event_id] for event_id in one)
        both = [set(listener.seen[room]) for listener in listeners]
        first, second = ([e for e in one.seen[room] if e in both[0] & both[1]] for one in listeners)
        assert first == second, f"two orders; seed {seed}"
    await _nothing_is_stuck(processes, clients, rooms[0])
    for client in clients:
        await client.close()


async def _nothing_is_stuck(processes: list[ServerProcess], clients: list[Anywhere], room: str) -> None:
    """What is said through any process is soon heard through any other."""
    for number, sender in enumerate(clients[0]._clients):
        async with asyncio.timeout(20):
            event_id = await sender.send(room, "are you there?", txn_id=f"last-{number}")
            for receiver in clients[1]._clients:
                page = await receiver.get(
                    path_of(V3, "rooms", room, "messages"), query={"dir": "b", "limit": "1"}
                )
                assert page.ok()["chunk"][0]["event_id"] == event_id
