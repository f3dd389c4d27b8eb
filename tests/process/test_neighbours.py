"""Two processes of one server, on PostgreSQL with each kind of bell: users can't tell them from one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.http_client import path_of
from tests.server import Server, UserClient, start_server

V3 = "_matrix/client/v3"


@pytest.fixture(params=["listen", "redis", "silence"])
async def settings(request: pytest.FixtureRequest, postgres_databases: Any) -> dict[str, Any]:
    """Keys of the configuration that two processes share."""
    args = {
        "database": await postgres_databases.make(),
        "user": "postgres",
        "host": postgres_databases.folder,
    }
    found: dict[str, Any] = {"database": {"name": "psycopg2", "args": args}}
    if request.param == "redis":
        found["redis"] = request.getfixturevalue("redis_server").settings
    if request.param == "silence":
        # A Redis that is not there.
        found["redis"] = {"enabled": True, "host": "127.0.0.1", "port": 1}
    return found


@pytest.fixture
async def pair(settings: dict[str, Any], tmp_path: Path) -> AsyncIterator[tuple[Server, Server]]:
    """Two processes (in this one)."""
    first = await start_server(tmp_path, **settings)
    second = await start_server(tmp_path, **settings)
    yield first, second
    await second.close()
    await first.close()


def at(server: Server, client: UserClient) -> UserClient:
    """The same user's device at another process."""
    login = {"user_id": client.user_id, "device_id": client.device_id, "access_token": client.token}
    made = UserClient(server.base_url, login)
    made._transactions = 1000
    return server._keep(made)


def bodies(answer: dict[str, Any], room_id: str) -> list[str]:
    room = answer.get("rooms", {}).get("join", {}).get(room_id, {})
    events = room.get("timeline", {}).get("events", [])
    return [event["content"]["body"] for event in events if event["type"] == "m.room.message"]


async def test_what_one_process_answered_the_other_knows(pair: tuple[Server, Server]):
    first, second = pair
    alice = await first.register("alice")
    alice2 = at(second, alice)
    room_id = await alice2.create_room()
    for number in range(5):
        await (alice, alice2)[number % 2].send(room_id, f"{number}")
        reader = (alice2, alice)[number % 2]
        page = (await reader.get(path_of(V3, "rooms", room_id, "messages"), query={"dir": "b"})).ok()
        assert page["chunk"][0]["content"]["body"] == f"{number}"
        assert bodies(await reader.sync(), room_id) == [f"{n}" for n in range(number + 1)]
    await alice.send_state(room_id, "m.room.topic", {"topic": "here"})
    found = (await alice2.get(path_of(V3, "rooms", room_id, "state", "m.room.topic"))).ok()
    assert found["topic"] == "here"
    (await alice2.post(path_of(V3, "logout"), json={})).ok()
    assert (await alice.get(path_of(V3, "account", "whoami"))).status == 401


async def test_a_sync_at_one_process_is_woken_by_a_send_at_the_other(pair: tuple[Server, Server]):
    first, second = pair
    alice = await first.register("alice")
    bob = await second.register("bob")
    room_id = await alice.create_room(invite=[bob.user_id])
    await bob.join(room_id)
    since = (await bob.sync())["next_batch"]
    for number in range(3):
        waiting = asyncio.create_task(bob.sync(since, timeout=20_000))
        await asyncio.sleep(0.1)
        await alice.send(room_id, f"{number}")
        answer = await asyncio.wait_for(waiting, 5)
        assert bodies(answer, room_id) == [f"{number}"]
        assert answer["rooms"]["join"][room_id]["unread_notifications"]["notification_count"] == number + 1
        since = answer["next_batch"]


async def test_members_and_counts_agree_at_both(pair: tuple[Server, Server]):
    first, second = pair
    alice = await first.register("alice")
    room_id = await alice.create_room(preset="public_chat")
    for number in range(6):
        server, other = pair if number % 2 else (second, first)
        user = await server.register(f"user{number}")
        await user.join(room_id)
        summary = (await at(other, alice).get(path_of(V3, "rooms", room_id, "joined_members"))).ok()
        assert len(summary["joined"]) == number + 2
        assert (await at(other, user).sync())["rooms"]["join"].keys() == {room_id}
    heads = [server.composition.parts.get(_heads()).at_hand(room_id).head for server in pair]
    assert heads[0].version == heads[1].version
    assert heads[0].root == heads[1].root


def _heads() -> type:
    from ranvier.rooms.heads import Heads

    return Heads


async def test_many_writers_at_both_lose_and_double_nothing(pair: tuple[Server, Server]):
    first, second = pair
    alice = await first.register("alice")
    rooms = [await alice.create_room() for _ in range(3)]
    clients = [alice, at(second, alice)]
    since = (await alice.sync())["next_batch"]

    async def write(client: UserClient, name: str) -> list[tuple[str, str]]:
        said = []
        for number in range(20):
            room_id = rooms[number % 3]
            said.append((room_id, await client.send(room_id, f"{name} {number}", txn_id=f"{name}-{number}")))
        return said

    writers = [write(clients[number % 2], f"w{number}") for number in range(8)]
    said = [one for told in await asyncio.gather(*writers) for one in told]
    assert len({event_id for _, event_id in said}) == 160
    for client in clients:
        seen: list[str] = []
        for room_id in rooms:
            page = (
                await client.get(path_of(V3, "rooms", room_id, "messages"), query={"dir": "b", "limit": 500})
            ).ok()
            seen += [e["event_id"] for e in page["chunk"] if e["type"] == "m.room.message"]
        assert sorted(seen) == sorted(event_id for _, event_id in said)
        answer = await client.sync(since, filter='{"room":{"timeline":{"limit":500}}}')
        synced = [
            event["event_id"]
            for room_id in rooms
            for event in answer["rooms"]["join"][room_id]["timeline"]["events"]
        ]
        assert sorted(synced) == sorted(event_id for _, event_id in said)


@pytest.mark.parametrize("settings", ["listen", "redis"], indirect=True)
async def test_typing_and_presence_at_one_process_show_at_the_other(pair: tuple[Server, Server]):
    # Without any channel processes tell each other nothing that is not in the log.
    first, second = pair
    alice, bob = await first.register("alice"), await second.register("bob")
    room_id = await alice.create_room(invite=[bob.user_id])
    await bob.join(room_id)
    since = (await bob.sync())["next_batch"]
    typing = path_of(V3, "rooms", room_id, "typing", alice.user_id)
    (await alice.put(typing, json={"typing": True, "timeout": 20_000})).ok()
    since = await _until(bob, since, lambda answer: _typing(answer, room_id) == [alice.user_id])
    (await alice.put(typing, json={"typing": False})).ok()
    since = await _until(bob, since, lambda answer: _typing(answer, room_id) == [])
    status = path_of(V3, "presence", alice.user_id, "status")
    (await alice.put(status, json={"presence": "online", "status_msg": "knitting"})).ok()
    await _until(bob, since, lambda answer: _status(answer, alice.user_id) == "knitting")
    assert (await bob.get(status)).ok()["presence"] == "online"


async def test_a_sync_that_goes_from_one_process_to_the_other_waits_for_news(pair: tuple[Server, Server]):
    first, second = pair
    alice = await first.register("alice")
    await alice.create_room()
    alice2 = at(second, alice)
    since = (await alice.sync())["next_batch"]
    await asyncio.sleep(1.5)
    answers = 0
    loop = asyncio.get_running_loop()
    end = loop.time() + 4
    while loop.time() < end:
        client = (alice, alice2)[answers % 2]
        since = (await client.sync(since, timeout=1000))["next_batch"]
        answers += 1
    assert answers < 20


async def _until(client: UserClient, since: str, holds: Any) -> str:
    async with asyncio.timeout(10):
        while True:
            answer = await client.sync(since, timeout=5000)
            since = answer["next_batch"]
            if holds(answer):
                return since


def _typing(answer: dict[str, Any], room_id: str) -> list[str] | None:
    events = answer.get("rooms", {}).get("join", {}).get(room_id, {}).get("ephemeral", {}).get("events", [])
    return next((event["content"]["user_ids"] for event in events if event["type"] == "m.typing"), None)


def _status(answer: dict[str, Any], user_id: str) -> str | None:
    events = answer.get("presence", {}).get("events", [])
    return next((event["content"].get("status_msg") for event in events if event["sender"] == user_id), None)
