"""`workers: N` as an administrator meets it: equal processes behind one address, of which any may die."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.conftest import PostgresDatabases
from tests.http.raw import RawConnection, request
from tests.server import ServerProcess, UserClient, free_port, register

from ranvier.main.children import HANGS_S

# Several processes start in each test, also on a busy machine.
pytestmark = pytest.mark.timeout(600)
WORKERS = 3


def children_of(pid: int) -> list[int]:
    """The processes that a process has started."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(word) for word in path.read_text().split()]


async def until(condition: Any, seconds: float = 60, what: str = "") -> None:
    """Wait for it; fails after some seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.05)


class Several(ServerProcess):
    """A server of several processes, each with figures on a port of its own."""

    def __init__(self, folder: Path, database: dict[str, Any], **overrides: Any) -> None:
        self.metrics_port = _free_ports(WORKERS)
        metrics = {"port": self.metrics_port, "bind_addresses": ["127.0.0.1"], "type": "metrics"}
        super().__init__(folder, database=database, workers=WORKERS, **overrides)
        config = yaml.safe_load(self.config.read_text())
        config["listeners"].append(metrics)
        self.config.write_text(yaml.safe_dump(config))

    @property
    def pids(self) -> list[int]:
        return children_of(self.pid)

    def told(self, event: str) -> int:
        """How often the log says something."""
        return self.log.read_text().count(f'"event": "{event}"')


def _free_ports(number: int) -> int:
    """The first of so many free ports in a row."""
    while True:
        first = free_port()
        try:
            sockets = [_bound(first + more) for more in range(1, number)]
        except OSError:
            continue
        for opened in sockets:
            opened.close()
        return first


def _bound(port: int) -> Any:
    import socket

    opened = socket.socket()
    opened.bind(("127.0.0.1", port))
    return opened


class Caller:
    """A client that trusts its connections: it repeats nothing, and takes any break for a failure."""

    def __init__(self, port: int, path: str, token: str) -> None:
        self.address = ("127.0.0.1", port)
        self.path = path
        self.header = f"Authorization: Bearer {token}"
        self.answered = 0
        self.failures: list[str] = []
        self._connection: RawConnection | None = None

    async def call(self, number: int) -> None:
        try:
            if self._connection is None:
                self._connection = await RawConnection.open(self.address)
            body = b'{"msgtype":"m.text","body":"%d"}' % number
            await self._connection.send(request("PUT", f"{self.path}{number}", body, self.header))
            answer = await self._connection.answer()
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            self.failures.append(repr(error))
            self._connection = None
            return
        if answer.status != 200:
            self.failures.append(f"{answer.status} {answer.body!r}")
        self.answered += 1
        if answer.headers.get("connection") == "close":
            self._connection.close()
            self._connection = None

    async def run(self, until_set: asyncio.Event) -> None:
        number = 0
        while not until_set.is_set():
            number += 1
            await self.call(number)
            await asyncio.sleep(0.02)
        if self._connection is not None:
            self._connection.close()


@pytest.fixture
async def database(postgres_databases: PostgresDatabases) -> dict[str, Any]:
    args = {
        "database": await postgres_databases.make(),
        "user": "postgres",
        "host": postgres_databases.folder,
    }
    return {"name": "asyncpg", "args": args}


@pytest.fixture
async def several(tmp_path: Path, database: dict[str, Any]) -> AsyncIterator[Several]:
    """Three processes, all ready."""
    made = Several(tmp_path / "server", database)
    await made.start(120)
    yield made
    if made.process is not None and made.process.poll() is None:
        await made.stop()


@pytest.fixture
async def alice(several: Several) -> AsyncIterator[UserClient]:
    async with several.client() as client:
        login = await register(client, "alice")
    async with UserClient(several.base_url, login) as user:
        yield user


async def test_it_is_ready_once_all_its_processes_answer_behind_one_address(several: Several):
    assert len(several.pids) == WORKERS
    for number in range(WORKERS):
        raw = await RawConnection.open(("127.0.0.1", several.metrics_port + number))
        await raw.send(request("GET", "/_synapse/metrics"))
        assert b"process_cpu_seconds_total" in (await raw.answer()).body
        raw.close()
    async with several.client() as client:
        assert (await client.get("/health")).status == 200
    assert await several.stop() == 0
    assert several.told("stopped") == WORKERS + 1


async def test_the_command_workers_shows_what_each_process_does_and_costs(several: Several):
    await asyncio.sleep(2)
    shown = await _workers(several, "--json")
    listed = sorted(json.loads(shown), key=lambda one: one["instance"])
    assert [one["instance"] for one in listed] == ["main-1", "main-2", "main-3"]
    assert {one["pid"] for one in listed} == set(several.pids)
    for one in listed:
        assert one["alive"] and one["silent_s"] < 3
        assert set(one["roles"]) >= {"clients", "federation", "sending", "background"}
        assert 10_000_000 < one["memory"] < 1_000_000_000
        assert 0 <= one["cpu"] < 2 and one["lag_ms"] >= 0
    victim = several.pids[0]
    os.kill(victim, signal.SIGSTOP)
    try:
        await asyncio.sleep(6)
        lines = (await _workers(several)).splitlines()
    finally:
        os.kill(victim, signal.SIGCONT)
    assert lines[0].split()[:3] == ["process", "where", "roles"]
    [stopped] = [line for line in lines if f":{victim} " in line]
    assert "silent for" in stopped
    assert all(" MB " in line and " all " in line for line in lines[1:] if line != stopped)


async def _workers(several: Several, *options: str) -> str:
    command = [sys.executable, "-m", "ranvier", "workers", "-c", str(several.config), *options]
    running = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    shown, _ = await running.communicate()
    assert running.returncode == 0
    return shown.decode()


async def test_who_is_killed_is_started_again_while_the_others_answer(several: Several, alice: UserClient):
    room_id = await alice.create_room()
    victim = several.pids[0]
    os.kill(victim, signal.SIGKILL)
    for number in range(20):
        assert (await alice.send(room_id, f"message {number}")).startswith("$")
    await until(lambda: len(several.pids) == WORKERS and victim not in several.pids, what="a new process")
    await until(lambda: several.told("ready") == WORKERS + 2, what="the new process is ready")
    assert "a process ended; it is started again" in several.log.read_text()


async def test_who_stands_still_is_replaced_and_holds_nobody_up(several: Several, alice: UserClient):
    room_id = await alice.create_room()
    victim = several.pids[1]
    os.kill(victim, signal.SIGSTOP)
    # Connections of their own: none of them waits for the one that stands still.
    for number in range(10):
        async with UserClient(
            several.base_url,
            {"access_token": alice.token, "user_id": alice.user_id, "device_id": alice.device_id},
        ) as user:
            began = time.monotonic()
            await user.send(room_id, "hello", txn_id=f"s{number}")
            assert time.monotonic() - began < 5
    await until(
        lambda: victim not in several.pids and len(several.pids) == WORKERS, HANGS_S + 15, "a new one"
    )
    assert "a process hangs; it is ended" in several.log.read_text()


async def test_all_are_replaced_one_by_one_without_a_failed_request(several: Several, alice: UserClient):
    before = set(several.pids)
    rooms = [await alice.create_room() for _ in range(6)]
    paths = [f"/_matrix/client/v3/rooms/{room_id}/send/m.room.message/c" for room_id in rooms]
    callers = [Caller(several.port, path, alice.token or "") for path in paths]
    done = asyncio.Event()
    running = [asyncio.create_task(caller.run(done)) for caller in callers]
    waiting = asyncio.create_task(alice.sync((await alice.sync())["next_batch"], timeout=1000))
    await asyncio.sleep(0.5)
    several.signal(signal.SIGHUP)
    await until(lambda: several.told("all processes are new") == 1, 180, "all are new")
    done.set()
    await asyncio.gather(*running, waiting)
    assert not before & set(several.pids)
    assert [failure for caller in callers for failure in caller.failures] == []
    assert all(caller.answered > 20 for caller in callers)


async def test_a_configuration_that_became_bad_changes_nothing(several: Several):
    before = several.pids
    several.config.write_text(several.config.read_text() + "\nno_such_key: 1\n")
    several.signal(signal.SIGHUP)
    await until(lambda: "no_such_key" in several.log.read_text(), what="the fault is told")
    assert several.pids == before
    async with several.client() as client:
        assert (await client.get("/health")).status == 200


async def test_what_a_supervisor_started_ends_with_it(several: Several):
    pids = several.pids
    several.signal(signal.SIGKILL)
    await several.wait()
    await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), what="the processes are gone")


async def test_a_server_that_cannot_start_ends_at_once_and_says_why(tmp_path: Path, database: dict[str, Any]):
    database["args"]["database"] = "nowhere"
    made = Several(tmp_path / "server", database)
    with pytest.raises(RuntimeError, match="nowhere"):
        await made.start(120)
    assert made.process is not None and made.process.returncode == 1
