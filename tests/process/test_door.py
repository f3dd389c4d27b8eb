"""What clients can rely on when a room's events go through one of several processes."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import PostgresDatabases
from tests.http_client import path_of
from tests.server import Server, ServerProcess, UserClient, start_server

from ranvier.main.door import PATIENCE_S, Door

V3 = "_matrix/client/v3"


def common(databases: PostgresDatabases, name: str, folder: Path) -> dict[str, Any]:
    args = {"database": name, "user": "postgres", "host": databases.folder}
    return {
        "database": {"name": "asyncpg", "args": args},
        "signing_key_path": str(folder / "signing.key"),
        "media_store_path": str(folder / "media"),
    }


class Pair:
    """Two processes of a server in this one, and alice, who is logged in with both."""

    def __init__(self, servers: list[Server], clients: list[UserClient]) -> None:
        self.servers = servers
        self.clients = clients
        self.doors = [server.composition.parts.get(Door) for server in servers]
        for door in self.doors:
            # Both share a loop with the clients: here nobody is stopped.
            door.patience_s = 10.0

    async def until_linked(self) -> None:
        """Each has found the other, and a link to it."""
        async with asyncio.timeout(20):
            while not all(len(door._able) == 2 for door in self.doors):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        for client, door in zip(self.clients, self.doors, strict=True):
            async with asyncio.timeout(20):
                while not door.asked:
                    await client.send(await client.create_room(), "a room of the other's, perhaps")

    async def room_of(self, number: int) -> str:
        """A room whose events go through one of the two."""
        me = self.servers[number].composition.ground.neighbours.me
        while True:
            room_id = await self.clients[0].create_room(preset="public_chat")
            if self.doors[0]._owner(room_id) == me:
                return room_id


@pytest.fixture
async def pair(postgres_databases: PostgresDatabases, tmp_path: Path) -> AsyncIterator[Pair]:
    found = common(postgres_databases, await postgres_databases.make(), tmp_path)
    servers = [await start_server(tmp_path, **found) for _ in range(2)]
    alice = await servers[0].register("alice")
    login = {"access_token": alice.token, "user_id": alice.user_id, "device_id": alice.device_id}
    other = servers[1]._keep(UserClient(servers[1].base_url, login))
    made = Pair(servers, [alice, other])
    yield made
    for server in servers:
        await server.close()


async def test_a_rooms_events_go_through_one_process_and_a_retry_elsewhere_is_answered_with_the_first(
    pair: Pair,
):
    await pair.until_linked()
    room_id = await pair.room_of(1)
    before = pair.doors[0].asked
    event_id = await pair.clients[0].send(room_id, "hello", txn_id="once")
    assert pair.doors[0].asked == before + 1
    assert await pair.clients[0].send(room_id, "hello", txn_id="once") == event_id
    assert await pair.clients[1].send(room_id, "hello", txn_id="once") == event_id
    answer = await pair.clients[0].sync()
    events = answer["rooms"]["join"][room_id]["timeline"]["events"]
    assert [event["event_id"] for event in events if event["type"] == "m.room.message"] == [event_id]
    assert events[-1]["unsigned"]["transaction_id"] == "once"


async def test_what_was_just_done_here_is_known_to_the_process_that_appends(pair: Pair):
    await pair.until_linked()
    room_id = await pair.room_of(1)
    # The tombstone of a moment: the levels change here, and the next message may only be sent as they are now.
    for number in range(10):
        await pair.clients[0].send_state(room_id, "m.room.topic", {"topic": str(number)})
        await pair.clients[0].send(room_id, str(number))
    answer = await pair.clients[1].get(
        path_of(V3, "rooms", room_id, "messages"), query={"dir": "b", "limit": "20"}
    )
    told = [event["content"].get("body", event["content"].get("topic")) for event in answer.ok()["chunk"]]
    assert told[::-1] == [str(number) for number in range(10) for _ in "ab"]


async def test_a_refusal_comes_back_as_it_is(pair: Pair):
    await pair.until_linked()
    room_id = await pair.room_of(1)
    bob = await pair.servers[0].register("bob")
    await bob.join(room_id)
    levels = {"events": {"m.room.message": 50}}
    await pair.clients[0].send_state(room_id, "m.room.power_levels", levels)
    before = pair.doors[0].asked
    path = path_of(V3, "rooms", room_id, "send", "m.room.message", "t")
    answer = await bob.put(path, json={"body": "no", "msgtype": "m.text"})
    assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN")
    assert pair.doors[0].asked == before + 1


async def test_a_process_that_is_stopped_stalls_the_other_for_less_than_300_ms_and_each_event_happens_once(
    postgres_databases: PostgresDatabases, tmp_path: Path
):
    found = common(postgres_databases, await postgres_databases.make(), tmp_path)
    server = await start_server(tmp_path, **found)
    other = ServerProcess(tmp_path / "other", **found)
    await other.start(60)
    try:
        alice = await server.register("alice")
        door = server.composition.parts.get(Door)
        door.patience_s = 10.0
        async with asyncio.timeout(60):
            while not door.asked:
                room_id = await alice.create_room()
                await alice.send(room_id, "whose is it?")
        assert door._owner(room_id) != server.composition.ground.neighbours.me
        [way] = door._ways.values()
        way._patience_s = PATIENCE_S
        other.signal(signal.SIGSTOP)
        waits = []
        sent = []
        for _ in range(20):
            began = time.monotonic()
            sent.append(await alice.send(room_id, "now"))
            waits.append(time.monotonic() - began)
        assert door.unanswered > 0
        # One waits for it; nobody else does. A busy machine may let others wait, too, but not half of them.
        assert sorted(waits)[10] < PATIENCE_S
        assert sorted(waits)[-2] < 0.15 + 5 * sorted(waits)[10]
        assert max(waits) < 0.3 + 5 * sorted(waits)[10]
        other.signal(signal.SIGCONT)
        way._patience_s = 10.0
        async with asyncio.timeout(60):
            before = door.asked
            while door.asked == before:
                sent.append(await alice.send(room_id, "again"))
        answer = await alice.get(
            path_of(V3, "rooms", room_id, "messages"), query={"dir": "b", "limit": "500"}
        )
        messages = [one["event_id"] for one in answer.ok()["chunk"] if one["type"] == "m.room.message"]
        assert messages[::-1][1:] == sent
    finally:
        other.signal(signal.SIGCONT)
        await other.kill()
        await server.close()
