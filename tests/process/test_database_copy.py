"""A server moves from SQLite to PostgreSQL while people talk; whatever ends the copy, the next one goes on."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tests.conftest import PostgresDatabases
from tests.http_client import path_of
from tests.server import ServerProcess, UserClient, login, register

from ranvier.store import copying
from ranvier.store.postgres import PostgresDatabase


def _start(folder: Path, goal: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "ranvier", "database", "copy", "-c", str(folder / "homeserver.yaml")]
    return subprocess.Popen(
        [*command, "--to", str(goal)], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


async def _said(copy: subprocess.Popen[str], words: str) -> None:
    """Wait until the command says this."""

    def read() -> str:
        heard = ""
        assert copy.stderr is not None
        while words not in heard:
            line = copy.stderr.readline()
            if not line:
                return heard
            heard += line
        return heard

    async with asyncio.timeout(60):
        heard = await asyncio.to_thread(read)
    assert words in heard


async def test_nothing_is_lost_when_a_server_moves_to_postgresql_while_people_talk(
    server_process: ServerProcess, postgres_databases: PostgresDatabases
):
    folder = server_process.folder
    args = {
        "database": await postgres_databases.make(),
        "user": "postgres",
        "host": postgres_databases.folder,
    }
    key = {"database": {"name": "psycopg2", "args": args}}
    goal = folder / "postgres.yaml"
    goal.write_text(yaml.safe_dump(key))
    client = server_process.client()
    alice = UserClient(server_process.base_url, await register(client, "alice"))
    bob = UserClient(server_process.base_url, await register(client, "bob"))
    room = await alice.create_room(preset="public_chat", name="the room")
    await bob.join(room)
    for number in range(40):
        await alice.send(room, f"before {number}")
    token = (await bob.sync())["next_batch"]

    sent: list[str] = []
    over = asyncio.Event()

    async def talk() -> None:
        number = 0
        while not over.is_set():
            number += 1
            sent.append(await alice.send(room, f"while copying {number}"))
            await alice.send_state(room, "m.room.topic", {"topic": f"topic {number}"})
            await asyncio.sleep(0.02)

    talking = asyncio.create_task(talk())
    first = _start(folder, goal)
    database = await PostgresDatabase.connect(**args)
    async with asyncio.timeout(60):
        while await database.fetch_value("SELECT COUNT(*) FROM events") == 0:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    first.kill()
    first.wait()
    second = _start(folder, goal)
    await _said(second, "Stop the server now")
    over.set()
    await talking
    await server_process.stop()
    output, errors = await asyncio.to_thread(second.communicate, None, 60)
    assert second.returncode == 0, errors
    assert "events" in output

    # What is old by now is not started on any more.
    refused = subprocess.run(  # noqa: ASYNC221
        [sys.executable, "-m", "ranvier", "run", "-c", str(server_process.config)],
        check=False,
        capture_output=True,
        cwd=folder,
        text=True,
    )
    assert refused.returncode == 1
    assert "copied to PostgreSQL" in refused.stderr + refused.stdout

    settings = yaml.safe_load(server_process.config.read_text())
    server_process.config.write_text(yaml.safe_dump({**settings, **key}))
    await server_process.start()
    try:
        seen: list[str] = []
        since: str | None = token
        while since is not None:
            query = {"dir": "f", "limit": 100, "from": since}
            page = (await bob.get(path_of("_matrix/client/v3/rooms", room, "messages"), query=query)).ok()
            seen += [event["event_id"] for event in page["chunk"] if event["type"] == "m.room.message"]
            since = page.get("end")
        found = await bob.sync(token)
        assert found["rooms"]["join"][room]["timeline"]["events"]
        assert seen == sent
        await alice.send(room, "after the move")
        topic = await alice.get(path_of("_matrix/client/v3/rooms", room, "state", "m.room.topic"))
        assert topic.ok()["topic"].startswith("topic ")
        again = await login(client, "bob")
        assert again["user_id"] == bob.user_id
        assert await database.fetch_value("SELECT COUNT(*) FROM events") > 80
        assert not await database.fetch_value("SELECT 1 FROM pg_tables WHERE tablename LIKE 'copy_%'")
    finally:
        await server_process.stop()
        await database.close()
        for one in (alice, bob, client):
            await one.close()


async def test_a_row_that_is_not_the_same_is_found(
    server_process: ServerProcess, postgres_databases: PostgresDatabases
):
    name = await postgres_databases.make()
    client = server_process.client()
    await register(client, "alice")
    await client.close()
    await server_process.stop()
    target = await PostgresDatabase.connect(host=postgres_databases.folder, user="postgres", database=name)
    path = next(server_process.folder.glob("**/*.db"))
    copy = copying.Copying(path, target)
    await copy.prepare()
    for table in copy.tables:
        await copy.copy(table, lambda *_: None)
    async with target.connections.acquire() as connection:
        await connection.execute("UPDATE users SET user_id = '@mallory:ranvier.test'")
    with pytest.raises(copying.Differs, match="users"):
        for table in copy.tables:
            await copy.verify(table, lambda *_: None)
    copy.close()
    await target.close()


async def test_a_database_that_is_in_use_is_not_written_over(
    server_process: ServerProcess, postgres_databases: PostgresDatabases
):
    name = await postgres_databases.make()
    target = await PostgresDatabase.connect(host=postgres_databases.folder, user="postgres", database=name)
    async with target.connections.acquire() as connection:
        await connection.execute("INSERT INTO meta (name, value) VALUES ('server_name', 'other.example')")
    goal = server_process.folder / "postgres.yaml"
    args = {"database": name, "user": "postgres", "host": postgres_databases.folder}
    goal.write_text(yaml.safe_dump({"database": {"name": "psycopg2", "args": args}}))
    copy = _start(server_process.folder, goal)
    _, errors = await asyncio.to_thread(copy.communicate, None, 60)
    assert copy.returncode == 1
    assert "in use already" in errors
    await target.close()
