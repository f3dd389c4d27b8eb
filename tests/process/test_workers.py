"""Workers of Synapse's form beside their main process: who waits for whom, and who is refused."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import yaml
from tests.conftest import PostgresDatabases
from tests.http_client import Client
from tests.process.test_supervisor import until
from tests.server import ServerProcess, UserClient, free_port, register

from ranvier.config import Secret
from ranvier.config.process_records import ReplicationAddress
from ranvier.main.main_process import fetch


class Worker(ServerProcess):
    """A worker of a main process: the same file, and one of its own behind it."""

    def __init__(self, main: ServerProcess, name: str, **keys: Any) -> None:
        super().__init__(main.folder / name)
        listener = yaml.safe_load(self.config.read_text())["listeners"][0]
        own = {
            "worker_app": "synapse.app.generic_worker",
            "worker_name": name,
            "worker_listeners": [listener],
            **keys,
        }
        self.main = main
        self.own = self.folder / "worker.yaml"
        self.own.write_text(yaml.safe_dump(own))
        self.log.touch()

    @property
    def command(self) -> list[str]:
        """What starts it; relative paths are those of the first file."""
        files = ["-c", str(self.main.config), "-c", str(self.own)]
        return [sys.executable, "-m", "ranvier", "run", *files]


@pytest.fixture
async def main(tmp_path: Path, postgres_databases: PostgresDatabases) -> AsyncIterator[ServerProcess]:
    """A main process with a database that is empty; not started."""
    name = f"t{uuid.uuid4().hex}"
    connection = await asyncpg.connect(host=postgres_databases.folder, user="postgres", database="postgres")
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    args = {"database": name, "user": "postgres", "host": postgres_databases.folder}
    made = ServerProcess(tmp_path / "main", database={"name": "psycopg2", "args": args})
    yield made
    await made.kill()


def _add(server: ServerProcess, **keys: Any) -> None:
    config = yaml.safe_load(server.config.read_text())
    server.config.write_text(yaml.safe_dump({**config, **keys}))


async def test_a_worker_that_starts_first_waits_for_the_main_process(main: ServerProcess):
    worker = Worker(main, "reader")
    starting = asyncio.create_task(worker.start(90))
    try:
        await until(lambda: "waiting for the main process" in worker.log.read_text(), 60, "it waits")
        assert not (main.folder / "signing.key").exists()
        await main.start(90)
        await starting
        async with main.client() as client:
            login = await register(client, "alice")
        # What one process answered, the other one knows.
        async with UserClient(worker.base_url, login) as alice:
            room_id = await alice.create_room()
        async with UserClient(main.base_url, login) as alice:
            assert (await alice.get("/_matrix/client/v3/joined_rooms")).ok() == {"joined_rooms": [room_id]}
    finally:
        await worker.kill()


async def test_a_second_main_process_is_not_made_by_the_shared_file(main: ServerProcess):
    _add(main, worker_app="synapse.app.homeserver", daemonize=True, send_federation=False)
    worker = Worker(main, "reader")
    await main.start(90)
    await worker.start(90)
    try:
        command = [sys.executable, "-m", "ranvier", "workers", "-c", str(main.config)]
        shown = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=True, text=True)
        names = [line.split()[0] for line in shown.stdout.splitlines()[1:]]
        assert sorted(names) == ["main", "reader"]
    finally:
        await worker.kill()


async def test_a_process_answers_nothing_of_a_role_that_it_has_not(main: ServerProcess):
    _add(main, roles=["clients", "background"])
    await main.start(90)
    async with Client(main.base_url, judged=False) as client:
        assert (await client.get("/_matrix/client/versions")).status == 200
        for path in ("/_matrix/federation/v1/version", "/_matrix/media/v3/download/a.org/b"):
            answer = await client.get(path)
            assert (answer.status, answer.errcode) == (404, "M_UNRECOGNIZED")


async def test_a_sender_beside_a_main_process_that_sends_does_not_start_and_says_what_to_do(
    main: ServerProcess,
):
    worker = Worker(main, "sender", worker_app="synapse.app.federation_sender")
    with pytest.raises(RuntimeError, match="send_federation: false"):
        await worker.start(60)


async def test_what_workers_ask_is_told_to_those_who_know_the_secret(main: ServerProcess):
    listener = yaml.safe_load(main.config.read_text())["listeners"][0]
    port = free_port()
    replication = {**listener, "port": port, "resources": [{"names": ["replication"]}]}
    _add(main, listeners=[listener, replication], worker_replication_secret="of this server")
    await main.start(90)
    address = ReplicationAddress("127.0.0.1", port, None, False)
    for secret, status in ((Secret("of this server"), 200), (Secret("of another"), 403), (None, 403)):
        assert (await asyncio.to_thread(fetch, address, secret))[0] == status
    async with Client(main.base_url, judged=False) as client:
        # It is the replication listener's alone.
        assert (await client.get("/_synapse/replication/process")).errcode == "M_UNRECOGNIZED"


async def test_a_worker_whose_main_process_is_another_servers_says_so(main: ServerProcess, tmp_path: Path):
    port = free_port()
    other = ServerProcess(tmp_path / "other")
    listener = yaml.safe_load(other.config.read_text())["listeners"][0]
    _add(other, listeners=[listener, {**listener, "port": port, "resources": [{"names": ["replication"]}]}])
    worker = Worker(main, "reader", instance_map={"main": {"host": "127.0.0.1", "port": port}})
    await other.start(90)
    try:
        await main.start(90)
        await worker.start(90)
        await until(lambda: "has another database" in worker.log.read_text(), 30, "it says so")
    finally:
        await worker.kill()
        await other.kill()
