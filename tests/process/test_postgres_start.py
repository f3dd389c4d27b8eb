"""What a server says of its PostgreSQL when it starts, and what it waits for."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.http_client import path_of
from tests.postgresql import PgBouncer, PostgresServer
from tests.server import UserClient, configuration, start_server

from ranvier.main import postgres_start
from ranvier.main.databases import CannotStart, open_database

PASSWORD = "a very secret password"
MAKE = "CREATE DATABASE synapse ENCODING 'UTF8' LC_COLLATE='{0}' LC_CTYPE='{0}' template=template0 OWNER synapse_user"


@pytest.fixture
def server_with_a_user(postgres_server: PostgresServer) -> PostgresServer:
    """A user without any right of their own, as `createuser --pwprompt` makes one."""
    postgres_server.query(f"CREATE ROLE synapse_user LOGIN PASSWORD '{PASSWORD}'")
    return postgres_server


def _key(server: PostgresServer, **args: Any) -> dict[str, Any]:
    found = {"user": "synapse_user", "password": PASSWORD, "database": "synapse", "host": "localhost", **args}
    return {"name": "psycopg2", "args": {"port": server.port, "cp_min": 5, "cp_max": 10, **found}}


async def _refused(folder: Path, database: dict[str, Any]) -> str:
    with pytest.raises(CannotStart) as refused:
        await open_database(configuration(folder, database=database).database)
    return str(refused.value)


async def test_a_database_of_a_plain_user_is_all_it_takes(server_with_a_user: PostgresServer, tmp_path: Path):
    server_with_a_user.query(MAKE.format("C"))
    server = await start_server(tmp_path, database=_key(server_with_a_user))
    alice = await server.register("alice")
    room = await alice.create_room()
    sent = await asyncio.gather(*(alice.send(room, f"text {number}") for number in range(60)))
    assert len(set(sent)) == 60
    count = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = 'synapse'"
    assert 1 <= int(server_with_a_user.query(count)) <= 10
    database = server.composition.ground.database
    await asyncio.gather(*(database.fetch("SELECT pg_sleep(0.05)") for _ in range(60)))
    # The one on which other processes are listened to is among them.
    assert int(server_with_a_user.query(count)) == 10
    await server.close()


async def test_a_wrong_password_is_told_with_user_host_and_database(
    server_with_a_user: PostgresServer, tmp_path: Path
):
    server_with_a_user.query(MAKE.format("C"))
    wrong = "not the " + PASSWORD
    words = await _refused(tmp_path, _key(server_with_a_user, password=wrong))
    for said in ("password", "synapse_user", "localhost", "'synapse'"):
        assert said in words
    assert wrong not in words
    assert PASSWORD not in words


async def test_a_missing_database_is_told_with_the_command_that_makes_it(
    server_with_a_user: PostgresServer, tmp_path: Path
):
    words = await _refused(tmp_path, _key(server_with_a_user))
    assert "no database 'synapse'" in words
    assert "createdb --encoding=UTF8 --locale=C --template=template0 --owner=synapse_user synapse" in words


async def test_another_locale_is_refused_unless_it_is_allowed(
    server_with_a_user: PostgresServer, tmp_path: Path
):
    server_with_a_user.query(MAKE.format("C.UTF-8"))
    words = await _refused(tmp_path, _key(server_with_a_user))
    assert "C.UTF-8" in words
    assert "allow_unsafe_locale" in words
    key = {**_key(server_with_a_user), "allow_unsafe_locale": True}
    opened = await open_database(configuration(tmp_path, database=key).database)
    await opened.close()


async def test_a_user_who_may_make_no_tables_is_told_how_to_be_let(
    server_with_a_user: PostgresServer, tmp_path: Path
):
    server_with_a_user.query(MAKE.format("C").replace("OWNER synapse_user", ""))
    server_with_a_user.query("REVOKE CREATE ON SCHEMA public FROM PUBLIC", "synapse")
    words = await _refused(tmp_path, _key(server_with_a_user))
    assert "ALTER DATABASE synapse OWNER TO synapse_user" in words


async def test_a_version_that_is_too_old_is_told(
    server_with_a_user: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    server_with_a_user.query(MAKE.format("C"))
    monkeypatch.setattr(postgres_start, "_LEAST_VERSION", 99)
    assert "needs 99 or newer" in await _refused(tmp_path, _key(server_with_a_user))


async def test_a_server_that_is_not_up_yet_is_waited_for(
    server_with_a_user: PostgresServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    server_with_a_user.query(MAKE.format("C"))
    server_with_a_user.stop()
    opening = asyncio.create_task(
        open_database(configuration(tmp_path, database=_key(server_with_a_user)).database)
    )
    async with asyncio.timeout(20):
        while "does not answer yet" not in caplog.text:  # noqa: ASYNC110 - a log can't be waited for
            await asyncio.sleep(0.05)
    await asyncio.to_thread(server_with_a_user.start)
    async with asyncio.timeout(20):
        await (await opening).close()


@pytest.mark.parametrize("how", ["fast", "immediate"])
async def test_a_restart_of_the_database_is_a_pause_for_clients(
    server_with_a_user: PostgresServer, tmp_path: Path, how: str
):
    server_with_a_user.query(MAKE.format("C"))
    server = await start_server(tmp_path, database=_key(server_with_a_user))
    alice, bob = await server.register("alice"), await server.register("bob")
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    token = (await bob.sync())["next_batch"]
    sent: list[str] = []
    over = asyncio.Event()

    async def talk(who: int) -> None:
        number = 0
        while not over.is_set():
            number += 1
            path = path_of("_matrix/client/v3/rooms", room, "send", "m.room.message", f"{who}-{number}")
            while True:
                answer = await alice.put(path, json={"msgtype": "m.text", "body": f"{who} {number}"})
                if answer.status != 503:
                    break
                assert int(answer.headers["retry-after"]) > 0
                await asyncio.sleep(0.1)
            sent.append(answer.ok()["event_id"])

    async def look() -> None:
        while not over.is_set():
            answer = await bob.get("/_matrix/client/v3/sync", query={"timeout": 0, "full_state": "true"})
            assert answer.status in (200, 503), answer

    tasks = [asyncio.create_task(talk(who)) for who in range(4)] + [asyncio.create_task(look())]
    await asyncio.sleep(0.3)
    await asyncio.to_thread(server_with_a_user.restart, how)
    before = len(sent)
    async with asyncio.timeout(15):
        while len(sent) < before + 10:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    over.set()
    await asyncio.gather(*tasks)
    seen: list[str] = []
    while len(seen) < len(sent):
        found = await bob.sync(token, timeout=0)
        token = found["next_batch"]
        timeline = found["rooms"]["join"][room]["timeline"]
        if timeline["limited"]:
            seen.clear()
            page = await bob.get(
                path_of("_matrix/client/v3/rooms", room, "messages"),
                query={"dir": "b", "limit": 1000, "filter": '{"types":["m.room.message"]}'},
            )
            seen = [event["event_id"] for event in reversed(page.ok()["chunk"])]
            break
        seen += [event["event_id"] for event in timeline["events"]]
    assert sorted(seen) == sorted(sent)
    await server.close()


async def test_a_server_works_through_pgbouncer_in_transaction_mode(
    postgres_server: PostgresServer, pgbouncer: PgBouncer, tmp_path: Path
):
    key = _key(postgres_server, port=pgbouncer.port, user="postgres", database="postgres")
    server = await start_server(tmp_path, database=key)
    other = await start_server(tmp_path, database=key)
    alice, bob = await server.register("alice"), await server.register("bob")
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    token = (await bob.sync())["next_batch"]
    waiting = asyncio.create_task(bob.sync(token, timeout=10_000))
    sent = await asyncio.gather(*(alice.send(room, f"text {number}") for number in range(40)))
    assert (await waiting)["rooms"]["join"][room]["timeline"]["events"]
    page = await bob.get(
        path_of("_matrix/client/v3/rooms", room, "messages"),
        query={"dir": "b", "limit": 100, "filter": '{"types":["m.room.message"]}'},
    )
    assert sorted(event["event_id"] for event in page.ok()["chunk"]) == sorted(sent)
    elsewhere = UserClient(
        other.base_url, {"access_token": bob.token, "user_id": bob.user_id, "device_id": ""}
    )
    # Nobody rings there, but what one process answered, every other knows.
    for number in range(5):
        event_id = await alice.send(room, f"other {number}")
        newest = await elsewhere.get(
            path_of("_matrix/client/v3/rooms", room, "messages"), query={"dir": "b", "limit": 1}
        )
        assert newest.ok()["chunk"][0]["event_id"] == event_id
    await elsewhere.close()
    await other.close()
    await server.close()
