"""Whole servers for tests: the real composition in this process, or the real program in one of its own.

    async def test_a_user_can_ask_who_they_are(server: Server):
        alice = await server.register("alice")
        answer = await alice.get("/_matrix/client/v3/account/whoami")
        assert answer.ok()["user_id"] == "@alice:ranvier.test"

`server` runs on SQLite and on PostgreSQL; `server_process` on SQLite, with all that only a process has: signals,
kill -9, a restart on the same data.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
import yaml
from tests.http_client import Client, path_of

from ranvier.config import Config, build, read_text

if TYPE_CHECKING:
    from ranvier.main.process import Process

SERVER_NAME = "ranvier.test"
ClientT = TypeVar("ClientT", bound=Client)
PASSWORD = "a long passphrase for tests"
UNLIMITED = {"per_second": 100_000, "burst_count": 100_000}
NO_LIMITS: dict[str, Any] = {
    "rc_message": UNLIMITED,
    "rc_registration": UNLIMITED,
    "rc_registration_token_validity": UNLIMITED,
    "rc_login": {"address": UNLIMITED, "account": UNLIMITED, "failed_attempts": UNLIMITED},
    "rc_joins": {"local": UNLIMITED, "remote": UNLIMITED},
    "rc_joins_per_room": UNLIMITED,
    "rc_invites": {"per_room": UNLIMITED, "per_user": UNLIMITED, "per_issuer": UNLIMITED},
    "rc_presence": {"per_user": UNLIMITED},
    "rc_reports": UNLIMITED,
    "rc_room_creation": UNLIMITED,
    "rc_user_directory": UNLIMITED,
    "rc_delayed_event_mgmt": UNLIMITED,
    "rc_media_create": UNLIMITED,
    "rc_media": UNLIMITED,
    "rc_other": UNLIMITED,
}


def settings(**overrides: Any) -> dict[str, Any]:
    """A configuration for tests: open registration, no rate limits, one listener on a free port of this machine."""
    listener = {
        "port": 0,
        "bind_addresses": ["127.0.0.1"],
        "type": "http",
        "resources": [{"names": ["client", "federation"]}],
    }
    return {
        "server_name": SERVER_NAME,
        "listeners": [listener],
        "enable_registration": True,
        "enable_registration_without_verification": True,
        "registration_shared_secret": "a secret for registrations",
        "trusted_key_servers": [],
        "room_list_publication_rules": [{"action": "allow"}],
        "logging": {"level": "warning", "format": "console"},
        **NO_LIMITS,
        **overrides,
    }


def configuration(folder: Path, **overrides: Any) -> Config:
    """The records of `settings`, with its relative paths in the folder."""
    return build(read_text(yaml.safe_dump(settings(**overrides)), "tests"), folder)


class UserClient(Client):
    """A client that somebody is logged in with."""

    def __init__(self, base_url: str, login: Mapping[str, Any], **options: Any) -> None:
        super().__init__(base_url, login["access_token"], **options)
        self.user_id: str = login["user_id"]
        self.device_id: str = login["device_id"]
        self._transactions = 0

    async def create_room(self, **body: Any) -> str:
        """The id of a new room; keys as in the request's body."""
        answer = await self.post("/_matrix/client/v3/createRoom", json=body)
        room_id: str = answer.ok()["room_id"]
        return room_id

    async def invite(self, room_id: str, user_id: str) -> None:
        """Invite somebody."""
        (
            await self.post(path_of("_matrix/client/v3/rooms", room_id, "invite"), json={"user_id": user_id})
        ).ok()

    async def join(self, room: str) -> str:
        """Join a room by its id or alias; answers its id."""
        answer = await self.post(path_of("_matrix/client/v3/join", room), json={})
        room_id: str = answer.ok()["room_id"]
        return room_id

    async def leave(self, room_id: str) -> None:
        """Leave a room, or refuse an invite."""
        (await self.post(path_of("_matrix/client/v3/rooms", room_id, "leave"), json={})).ok()

    async def send(
        self,
        room_id: str,
        content: Mapping[str, Any] | str,
        kind: str = "m.room.message",
        txn_id: str | None = None,
    ) -> str:
        """Send a message event (a text stands for an m.text message); answers its id."""
        if isinstance(content, str):
            content = {"msgtype": "m.text", "body": content}
        if txn_id is None:
            self._transactions += 1
            txn_id = f"t{self._transactions}"
        answer = await self.put(
            path_of("_matrix/client/v3/rooms", room_id, "send", kind, txn_id), json=content
        )
        event_id: str = answer.ok()["event_id"]
        return event_id

    async def send_state(
        self, room_id: str, kind: str, content: Mapping[str, Any], state_key: str = ""
    ) -> str:
        """Send a state event; answers its id."""
        answer = await self.put(
            path_of("_matrix/client/v3/rooms", room_id, "state", kind, state_key), json=content
        )
        event_id: str = answer.ok()["event_id"]
        return event_id

    async def sync(self, since: str | None = None, timeout: int = 0, **query: Any) -> Any:  # noqa: ASYNC109
        """One sync; `timeout` in milliseconds, further fields of the query by name."""
        if since is not None:
            query["since"] = since
        answer = await self.get("/_matrix/client/v3/sync", query={"timeout": timeout, **query})
        return answer.ok()


class Server:
    """A running server in this process, and its clients."""

    def __init__(self, process: Process, config: Config) -> None:
        self.process = process
        self.config = config
        self.composition = process.composition
        self.client = Client(self.base_url)
        """Nobody is logged in with it."""
        self._clients: list[Client] = [self.client]

    @property
    def server_name(self) -> str:
        """The name in its users' ids."""
        return self.config.server.name

    @property
    def base_url(self) -> str:
        """Where it listens."""
        return f"http://{self.process.listenings[0].bound[0]}"

    def user_id(self, localpart: str) -> str:
        """A user id of this server."""
        return f"@{localpart}:{self.server_name}"

    async def register(self, localpart: str, password: str = PASSWORD, **body: Any) -> UserClient:
        """A new account, and a client that is logged in with it."""
        return self._keep(UserClient(self.base_url, await register(self.client, localpart, password, **body)))

    async def login(self, localpart: str, password: str = PASSWORD, **body: Any) -> UserClient:
        """Another device of an account."""
        return self._keep(UserClient(self.base_url, await login(self.client, localpart, password, **body)))

    def anonymous(self, **options: Any) -> Client:
        """One more client that nobody is logged in with."""
        return self._keep(Client(self.base_url, **options))

    def _keep(self, client: ClientT) -> ClientT:
        self._clients.append(client)
        return client

    async def close(self) -> None:
        """Stop the server, then its clients."""
        await self.process.stop()
        for client in self._clients:
            await client.close()


async def register(
    client: Client, localpart: str, password: str = PASSWORD, **body: Any
) -> Mapping[str, Any]:
    """Register an account where registration asks for nothing; answers user_id, device_id, access_token."""
    sent = {"username": localpart, "password": password, "auth": {"type": "m.login.dummy"}, **body}
    answer = await client.post("/_matrix/client/v3/register", json=sent)
    made: Mapping[str, Any] = answer.ok()
    return made


async def login(client: Client, localpart: str, password: str = PASSWORD, **body: Any) -> Mapping[str, Any]:
    """Log in with a password; answers user_id, device_id, access_token."""
    identifier = {"type": "m.id.user", "user": localpart}
    sent = {"type": "m.login.password", "identifier": identifier, "password": password, **body}
    answer = await client.post("/_matrix/client/v3/login", json=sent)
    made: Mapping[str, Any] = answer.ok()
    return made


async def start_server(folder: Path, **overrides: Any) -> Server:
    """A server in this process with data in the folder; `close` it."""
    # Tests of lower floors load this file too, and need not load the whole server.
    from ranvier.main.process import Process

    config = configuration(folder, **overrides)
    return Server(await Process.start(config), config)


@pytest.fixture(params=["sqlite", "postgres"])
async def database_settings(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The key `database` of the configuration, for a fresh database of each kind."""
    if request.param == "sqlite":
        return {"name": "sqlite3", "args": {"database": "ranvier.db"}}
    databases = request.getfixturevalue("postgres_databases")
    args = {"database": await databases.make(), "user": "postgres", "host": databases.folder}
    return {"name": "asyncpg", "args": args}


@pytest.fixture
def server_overrides() -> dict[str, Any]:
    """Keys of the configuration that a module or a test wants otherwise: override this fixture."""
    return {}


@pytest.fixture
async def server(
    database_settings: dict[str, Any], server_overrides: dict[str, Any], tmp_path: Path
) -> AsyncIterator[Server]:
    """A running server on a free port, on each database."""
    made = await start_server(tmp_path, database=database_settings, **server_overrides)
    yield made
    await made.close()


class ServerProcess:
    """The program `ranvier run` in a process of its own, on the data of a folder.

    It tells that it is ready the way it tells systemd. `client` lives as long as the process.
    """

    def __init__(self, folder: Path, **overrides: Any) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        listener = {
            "port": self.port,
            "bind_addresses": ["127.0.0.1"],
            "type": "http",
            "resources": [{"names": ["client", "federation"]}],
        }
        self.config = folder / "homeserver.yaml"
        logging = {"level": "info", "format": "json"}
        found = settings(**{"listeners": [listener], "logging": logging, **overrides})
        self.config.write_text(yaml.safe_dump(found), encoding="utf-8")
        self.log = folder / "server.log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def base_url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def command(self) -> list[str]:
        """What starts it."""
        return [sys.executable, "-m", "ranvier", "run", "--config", str(self.config)]

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self.process is not None
        return self.process.pid

    async def start(self, seconds: float = 30) -> None:
        """Start it, and wait until it says READY=1; raises with its last words if it doesn't."""
        loop = asyncio.get_running_loop()
        path = self.folder / f"notify-{uuid.uuid4().hex[:6]}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard, self.log.open("ab") as log:
            heard.bind(str(path))
            heard.setblocking(False)
            self.process = subprocess.Popen(  # noqa: ASYNC220
                self.command,
                cwd=self.folder,
                env={**os.environ, "NOTIFY_SOCKET": str(path)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
            deadline = loop.time() + seconds
            while True:
                try:
                    said = await asyncio.wait_for(loop.sock_recv(heard, 100), 0.1)
                except TimeoutError:
                    if self.process.poll() is not None or loop.time() > deadline:
                        status = self.process.poll()
                        await self.kill()
                        message = f"the server did not start (status {status}); its log:\n{self.words()}"
                        raise RuntimeError(message) from None
                    continue
                assert said == b"READY=1", said
                return

    def words(self) -> str:
        """The end of its log."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-4000:]

    def client(self, **options: Any) -> Client:
        """A new client; close it."""
        return Client(self.base_url, **options)

    def signal(self, number: int) -> None:
        """Send a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    async def wait(self, seconds: float = 20) -> int:
        """Wait for its end; answers its exit status."""
        assert self.process is not None
        return await asyncio.to_thread(self.process.wait, seconds)

    async def kill(self) -> None:
        """SIGKILL, as when the power fails."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            await self.wait()

    async def stop(self) -> int:
        """SIGTERM; answers the exit status."""
        self.signal(signal.SIGTERM)
        return await self.wait()

    async def restart(self) -> None:
        """Kill it and start it on the same data."""
        await self.kill()
        await self.start()


def free_port() -> int:
    """A TCP port that nobody has right now."""
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


@pytest.fixture
async def server_process(tmp_path: Path, server_overrides: dict[str, Any]) -> AsyncIterator[ServerProcess]:
    """A running process."""
    made = ServerProcess(tmp_path / "server", **server_overrides)
    await made.start()
    yield made
    await made.kill()
