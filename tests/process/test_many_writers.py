"""Many writers in the same rooms through several processes: one order for all, nothing lost, nothing doubled.

RANVIER_STRESS says how many events each writer sends (25 in an ordinary run).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import asyncpg
import pytest
from tests.http_client import path_of
from tests.server import Server, ServerProcess, UserClient, register, start_server

from ranvier.rooms.heads import Heads
from ranvier.store.database import Entry

V3 = "_matrix/client/v3"
EVENTS = int(os.environ.get("RANVIER_STRESS", "25"))
DEAD = (aiohttp.ClientError, ConnectionError, TimeoutError)


class Reader:
    """A client that syncs all the while, and remembers each room's events in the order in which it got them."""

    def __init__(self, client: UserClient, rooms: list[str]) -> None:
        self.client = client
        self.seen: dict[str, list[str]] = {room: [] for room in rooms}
        self.since: str | None = None
        self._filter = '{"room":{"timeline":{"limit":500}},"presence":{"not_types":["*"]}}'

    async def begin(self) -> None:
        """From here on."""
        self.since = (await self.client.sync(filter=self._filter))["next_batch"]

    async def follow(self, over: Callable[[], bool]) -> None:
        """Until it is over and nothing is new."""
        while True:
            was_over = over()
            answer = await self.client.sync(self.since, timeout=300, filter=self._filter)
            self.since = answer["next_batch"]
            joined = answer.get("rooms", {}).get("join", {})
            for room_id, room in joined.items():
                timeline = room.get("timeline", {})
                assert not timeline.get("limited")
                self.seen[room_id] += [event["event_id"] for event in timeline.get("events", [])]
            if was_over and not any(room.get("timeline", {}).get("events") for room in joined.values()):
                return


async def history(client: UserClient, room_id: str) -> list[str]:
    """A room's events as /messages tells them, oldest first."""
    query = {"dir": "b", "limit": "1000"}
    chunk = (await client.get(path_of(V3, "rooms", room_id, "messages"), query=query)).ok()["chunk"]
    return [event["event_id"] for event in reversed(chunk)]


@pytest.fixture
async def database_name(postgres_databases: Any) -> str:
    """A fresh PostgreSQL database."""
    name: str = await postgres_databases.make()
    return name


def keys(postgres_databases: Any, name: str, folder: Path) -> dict[str, Any]:
    """What several processes have in common."""
    args = {"database": name, "user": "postgres", "host": postgres_databases.folder}
    return {
        "database": {"name": "psycopg2", "args": args},
        "signing_key_path": str(folder / "signing.key"),
        "media_store_path": str(folder / "media"),
    }


class Hard:
    """A bell that loses, doubles and delays what it is given, at random."""

    def __init__(self, server: Server, random: Random) -> None:
        topics = server.composition.ground.channel._topics  # type: ignore[attr-defined]
        self.lost = 0
        for topic, hear in list(topics.items()):
            topics[topic] = self._hardly(hear, random)

    def _hardly(self, hear: Callable[[bytes], None], random: Random) -> Callable[[bytes], None]:
        def heard(body: bytes) -> None:
            fate = random.random()
            if fate < 0.5:
                self.lost += 1
            elif fate < 0.6:
                asyncio.get_running_loop().call_later(random.random() / 5, hear, body)
            else:
                hear(body)
                if fate < 0.7:
                    hear(body)

        return heard


@pytest.mark.parametrize("bell", ["listen", "redis"])
async def test_a_bell_that_loses_half_costs_time_and_nothing_else(
    bell: str, request: pytest.FixtureRequest, postgres_databases: Any, database_name: str, tmp_path: Path
):
    found = keys(postgres_databases, database_name, tmp_path)
    if bell == "redis":
        found["redis"] = request.getfixturevalue("redis_server").settings
    servers = [await start_server(tmp_path, **found) for _ in range(3)]
    random = Random(7)
    bells = [Hard(server, random) for server in servers]
    heard: list[list[tuple[int, int, str, str]]] = [[] for _ in servers]
    begun = [server.composition.ground.tailing.tail.tip for server in servers]

    def listen(server: Server, told: list[tuple[int, int, str, str]]) -> None:
        def note(entries: list[Entry]) -> None:
            told.extend((one.position, int(one.kind), one.audience, one.ref) for one in entries)

        server.composition.parts._hearing.append(note)  # type: ignore[arg-type]

    for server, told in zip(servers, heard, strict=True):
        listen(server, told)
    ann = await servers[0].register("ann")
    rooms = [await ann.create_room(preset="public_chat") for _ in range(2)]
    users = []
    for number, server in enumerate(servers):
        user = await server.register(f"user{number}")
        for room_id in rooms:
            await user.join(room_id)
        users.append(user)
    readers = [Reader(user, rooms) for user in users]
    for reader in readers:
        await reader.begin()
    is_over = False
    following = [asyncio.create_task(reader.follow(lambda: is_over)) for reader in readers]
    said: dict[str, list[str]] = {room_id: [] for room_id in rooms}

    async def write(user: UserClient, name: str) -> None:
        for number in range(EVENTS):
            room_id = rooms[number % 2]
            said[room_id].append(await user.send(room_id, name, txn_id=f"{name}-{number}"))

    await asyncio.gather(*(write(user, f"{n}-{user.user_id}") for user in users for n in range(2)))
    is_over = True
    await asyncio.gather(*following)

    for room_id in rooms:
        written = await history(users[0], room_id)
        sent = [event_id for event_id in written if event_id in set(said[room_id])]
        assert sorted(sent) == sorted(said[room_id])
        for reader in readers:
            assert reader.seen[room_id] == sent
            assert await history(reader.client, room_id) == written
    await _all_have_heard_all(servers, heard, begun)
    assert sum(one.lost for one in bells) > 10
    for room_id in rooms:
        heads = [server.composition.parts.get(Heads).at_hand(room_id).head for server in servers]  # type: ignore[union-attr]
        for head in heads:
            assert head is not None
            assert (head.version, head.root) == (heads[0].version, heads[0].root)  # type: ignore[union-attr]
            assert [one.nid for one in head.extremities] == [one.nid for one in heads[0].extremities]  # type: ignore[union-attr]
    for server in reversed(servers):
        await server.close()


async def _all_have_heard_all(
    servers: list[Server], heard: list[list[tuple[int, int, str, str]]], begun: list[int]
) -> None:
    """Each process heard of each entry once, in order."""
    for server in servers:
        await server.composition.ground.tailing.confirm()
    database = servers[0].composition.ground.database
    rows = await database.fetch("SELECT position, kind, audience, ref FROM log ORDER BY position")
    for told, begin in zip(heard, begun, strict=True):
        last = told[-1][0]
        assert told == [tuple(row) for row in rows if begin < row[0] <= last]


@pytest.fixture
async def processes(
    postgres_databases: Any, database_name: str, tmp_path: Path
) -> AsyncIterator[list[ServerProcess]]:
    """Three real ones."""
    found = keys(postgres_databases, database_name, tmp_path)
    made = [ServerProcess(tmp_path / f"p{number}", **found) for number in range(3)]
    for process in made:
        await process.start(120)
    yield made
    for process in made:
        await process.kill()


async def test_processes_of_which_one_is_killed_write_one_history(
    processes: list[ServerProcess], postgres_databases: Any, database_name: str
):
    async with processes[0].client() as anonymous:
        login = await register(anonymous, "ann")
    clients = [UserClient(process.base_url, login) for process in processes]
    rooms = [await clients[0].create_room() for _ in range(2)]
    readers = [Reader(client, rooms) for client in clients[:2]]
    for reader in readers:
        await reader.begin()
    is_over = False
    following = [asyncio.create_task(reader.follow(lambda: is_over)) for reader in readers]
    watching = asyncio.create_task(
        _watch(postgres_databases.folder, database_name, lambda: is_over), name="watching"
    )
    said: dict[str, list[str]] = {room_id: [] for room_id in rooms}

    async def write(number: int) -> None:
        for turn in range(EVENTS):
            room_id, attempt = rooms[turn % 2], number
            while True:
                try:
                    client = clients[attempt % 3]
                    said[room_id].append(await client.send(room_id, "x", txn_id=f"{number}-{turn}"))
                    break
                except DEAD:
                    # As a load balancer does, another one is asked.
                    attempt += 1

    async def strike() -> None:
        while sum(map(len, said.values())) < EVENTS * 3:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await processes[2].kill()

    await asyncio.gather(*(write(number) for number in range(9)), strike())
    is_over = True
    await asyncio.gather(*following)
    positions, rows = await watching
    assert positions == rows
    assert sum(map(len, said.values())) == EVENTS * 9
    for room_id in rooms:
        assert len(set(said[room_id])) == len(said[room_id])
        written = await history(clients[0], room_id)
        sent = [event_id for event_id in written if event_id in set(said[room_id])]
        assert sorted(sent) == sorted(said[room_id])
        assert written == await history(clients[1], room_id)
        for reader in readers:
            assert reader.seen[room_id] == written[-len(reader.seen[room_id]) :]
            assert set(said[room_id]) <= set(reader.seen[room_id])
    for client in clients:
        await client.close()


async def _watch(folder: str, database: str, over: Callable[[], bool]) -> tuple[list[int], list[int]]:
    """The log's positions as one saw them come who asked for those after the last, and as they are in the end."""
    connection = await asyncpg.connect(host=folder, user="postgres", database=database)
    start = await connection.fetchval("SELECT MAX(position) FROM log")
    seen: list[int] = []
    try:
        while True:
            was_over = over()
            last = seen[-1] if seen else start
            rows = await connection.fetch(
                "SELECT position FROM log WHERE position > $1 ORDER BY position", last
            )
            seen += [row[0] for row in rows]
            if was_over:
                break
            await asyncio.sleep(0.002)
        rows = await connection.fetch(
            "SELECT position FROM log WHERE position > $1 AND position <= $2 ORDER BY position",
            start,
            seen[-1],
        )
        return seen, [row[0] for row in rows]
    finally:
        await connection.close()
