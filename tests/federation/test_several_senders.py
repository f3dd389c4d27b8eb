"""What other servers can rely on when several processes send to them, and any of these may die."""

import asyncio
import json
import os
import signal
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.conftest import PostgresDatabases
from tests.federation.conftest import RULES, ServedPlace
from tests.federation.network import Network
from tests.server import Server, configuration, settings

from ranvier.config import Role
from ranvier.config.roles import ALL_ROLES
from ranvier.federation.senders_missed import SendersMissed
from ranvier.main.process import Process
from ranvier.remote.transport import Call

NAMES = [f"s{number}.test" for number in range(12)]
SENDING = "sending"


class Sender:
    """A process that only sends, and may be treated badly."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self._process = process

    def tell(self, number: int) -> None:
        self._process.send_signal(number)

    async def end(self, number: int = signal.SIGTERM) -> None:
        if self._process.returncode is None:
            self._process.send_signal(number)
            self._process.send_signal(signal.SIGCONT)
            await self._process.wait()


class Cluster(ServedPlace):
    """A server of which one process has all roles but sending; senders may be added."""

    def __init__(self, server: Server, network: Network, folder: Path, settings: Path) -> None:
        super().__init__(server, network)
        self._socket = str(folder / "network")
        self._settings = settings
        self._folder = folder
        self._serving: asyncio.Server | None = None
        self.senders: list[Sender] = []
        self.sent_by: defaultdict[str, list[str]] = defaultdict(list)
        self.said: list[str] = []
        self.first_after: dict[str, float] = {}

    async def open(self) -> None:
        """Play the network for processes that are started."""
        self._serving = await asyncio.start_unix_server(self._play, self._socket, limit=1 << 24)

    async def close(self) -> None:
        for sender in self.senders:
            await sender.end(signal.SIGKILL)
        assert self._serving is not None
        self._serving.close()
        await self.server.close()

    async def add(self, name: str) -> Sender:
        log = (self._folder / f"{name}.log").open("ab")
        arguments = [str(self._settings), name, SENDING, self._socket]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *["-m", "tests.federation.distant_process", *arguments],
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        )
        assert process.stdout is not None
        said = await asyncio.wait_for(process.stdout.readline(), 60)
        assert said == b"ready\n", (self._folder / f"{name}.log").read_text()
        self.senders.append(Sender(name, process))
        return self.senders[-1]

    async def _play(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            asked = json.loads(await reader.readline())
            call = Call(asked["destination"], "PUT", asked["target"], {}, asked["body"].encode())
            peer = self.network.peers[call.destination]
            self.sent_by[call.destination].append(asked["from"])
            status, body = await self.network._take(peer, call)
            writer.write(json.dumps({"status": status, "body": body}).encode() + b"\n")
            await writer.drain()
        except (ConnectionError, ValueError):
            # The process is gone.
            pass
        finally:
            writer.close()

    async def talk(self, room_id: str, messages: int, meanwhile: Awaitable[Any] | None = None) -> None:
        """Say so much, with something happening in the middle of it."""
        for number in range(messages):
            if meanwhile is not None and number == messages // 3:
                task = asyncio.ensure_future(meanwhile)
            self.said.append(str(len(self.said)))
            await self.alice.send(room_id, self.said[-1])
            await asyncio.sleep(0.02)
        if meanwhile is not None:
            await task

    async def until_heard(self, seconds: float = 20) -> None:
        """All peers heard everything that was said, the first time in order."""
        await self.network.until(lambda: all(heard(peer) == self.said for peer in self.peers()), seconds)

    def peers(self) -> Iterable[Any]:
        return self.network.peers.values()

    def doubled(self) -> int:
        """How many events came to a peer in more than one transaction."""
        return sum(len(peer.bodies()) - len(set(peer.bodies())) for peer in self.peers())


def heard(peer: Any) -> list[str]:
    """What a peer heard of, as it knows an event that comes again by its id."""
    return list(dict.fromkeys(peer.bodies()))


@pytest.fixture
async def cluster(postgres_databases: PostgresDatabases, tmp_path: Path) -> AsyncIterator[Cluster]:
    arguments = {"database": await postgres_databases.make(), "user": "postgres"}
    database = {"name": "asyncpg", "args": {**arguments, "host": postgres_databases.folder}}
    path = tmp_path / "homeserver.yaml"
    path.write_text(yaml.safe_dump(settings(database=database, federation=RULES, listeners=[])), "utf-8")
    config = configuration(tmp_path, database=database, federation=RULES)
    roles = replace(config.processes, roles=ALL_ROLES - {Role.SENDING})
    config = replace(config, processes=roles)
    network = Network()
    server = Server(await Process.start(config, around_network=lambda below: network), config)
    made = Cluster(server, network, tmp_path, path)
    await made.open()
    made.alice = await server.register("alice")
    made.room_id = await made.alice.create_room(preset="public_chat")
    for name in NAMES:
        network.peer(name)
        await made.member(made.room_id, f"@u:{name}")
    yield made
    await made.close()


async def test_what_nobody_sends_waits_and_goes_out_when_senders_start_each_with_its_part(cluster: Cluster):
    await cluster.talk(cluster.room_id, 10)
    await asyncio.sleep(1.5)
    assert not cluster.sent_by
    one = await cluster.add("one")
    await cluster.until_heard()
    # Another one takes its part over in the midst of it.
    await cluster.talk(cluster.room_id, 60, cluster.add("two"))
    await cluster.until_heard()
    await asyncio.sleep(1.5)
    cluster.sent_by.clear()
    await cluster.talk(cluster.room_id, 10)
    await cluster.until_heard()
    assert all(len(set(senders)) == 1 for senders in cluster.sent_by.values())
    assert {name for senders in cluster.sent_by.values() for name in senders} == {"one", "two"}
    # One that stops in order leaves its part to the other at once.
    await cluster.talk(cluster.room_id, 30, one.end())
    await cluster.until_heard(3.5)
    assert cluster.doubled() == 0
    assert all(peer.most_at_once == 1 for peer in cluster.peers())


async def test_a_sender_that_is_killed_loses_nothing_and_another_goes_on_within_seconds(cluster: Cluster):
    one, _ = await cluster.add("one"), await cluster.add("two")
    await cluster.talk(cluster.room_id, 10)
    await cluster.until_heard()
    await cluster.talk(cluster.room_id, 60, one.end(signal.SIGKILL))
    await cluster.until_heard(8)
    await cluster.add("one")
    await cluster.talk(cluster.room_id, 10)
    await cluster.until_heard()


async def test_a_sender_that_was_stopped_for_long_does_no_harm_when_it_wakes(cluster: Cluster):
    one, _ = await cluster.add("one"), await cluster.add("two")
    await cluster.talk(cluster.room_id, 10)
    await cluster.until_heard()

    async def stop() -> None:
        one.tell(signal.SIGSTOP)

    await cluster.talk(cluster.room_id, 60, stop())
    await cluster.until_heard(8)
    doubled = cluster.doubled()
    await cluster.talk(cluster.room_id, 30)
    await cluster.until_heard()
    one.tell(signal.SIGCONT)
    await cluster.talk(cluster.room_id, 100)
    await cluster.until_heard()
    await asyncio.sleep(1.5)
    cluster.sent_by.clear()
    await cluster.talk(cluster.room_id, 10)
    await cluster.until_heard()
    assert {name for senders in cluster.sent_by.values() for name in senders} == {"one", "two"}
    assert cluster.doubled() - doubled <= 60


async def test_the_log_warns_while_nobody_sends(cluster: Cluster, caplog: pytest.LogCaptureFixture):
    ground = cluster.composition.ground

    def is_sent() -> bool:
        return any(SENDING in one.roles for one in ground.neighbours.alive())

    missed = SendersMissed(ground.database, is_sent, patience_s=0.05)
    missed.start()
    await cluster.talk(cluster.room_id, 1)
    await asyncio.sleep(0.5)
    await missed.stop()
    assert "nobody sends to other servers" in caplog.text
    caplog.clear()
    await cluster.add("one")
    await cluster.until_heard()
    missed.start()
    await asyncio.sleep(0.5)
    await missed.stop()
    assert "nobody sends" not in caplog.text
