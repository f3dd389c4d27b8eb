"""Ranvier as a peer: in this process, behind a line that can be cut."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.authority import Authority
from tests.federated import API, federation_settings
from tests.http_client import CONTRACT
from tests.server import PASSWORD, Server, UserClient, configuration, free_port

from ranvier.main.process import Process
from ranvier.remote.failure import RemoteFailure
from ranvier.remote.network import Network
from ranvier.remote.transport import Call, Opened

IMPATIENCE = {
    "destination_min_retry_interval": "1s",
    "destination_max_retry_interval": "2s",
    "max_short_retries": 1,
}
"""How soon it asks again a server that did not answer."""


class Line:
    """What joins a server to its peers, both ways: calls out go through `around`, calls in through a port of its own.

    All that goes out is checked against the specification. While the line is cut nothing passes.
    """

    def __init__(self, outer: int, inner: int) -> None:
        self._outer, self._inner = outer, inner
        self._is_cut = False
        self._listening: list[asyncio.Server] = []
        self._passing: set[asyncio.Task[None]] = set()

    def around(self, below: Network) -> _Outgoing:
        """The transport of a process; each start of it needs a new one."""
        return _Outgoing(self, below)

    @property
    def is_cut(self) -> bool:
        """Whether nothing passes now."""
        return self._is_cut

    async def open(self) -> None:
        """Let all pass from now on."""
        self._is_cut = False
        self._listening = [
            await asyncio.start_server(self._pass, address, self._outer) for address in ("127.0.0.1", "::1")
        ]

    async def cut(self) -> None:
        """Let nothing pass, and break what is passing."""
        self._is_cut = True
        for listening in self._listening:
            listening.close()
        self._listening = []
        for task in list(self._passing):
            task.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._passing.add(task)
        further = None
        try:
            inner, further = await asyncio.open_connection("127.0.0.1", self._inner)
            await asyncio.gather(_copy(reader, further), _copy(inner, writer))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._passing.discard(task)
            for end in (writer, further):
                if end is not None:
                    end.close()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while octets := await source.read(65536):
        sink.write(octets)
        await sink.drain()
    with contextlib.suppress(OSError):
        sink.write_eof()


class _Outgoing:
    """A transport over a line."""

    def __init__(self, line: Line, below: Network) -> None:
        self._line, self._below = line, below
        self.calls: list[Call] = []

    @asynccontextmanager
    async def open(self, call: Call, timeout_s: float) -> AsyncIterator[Opened]:
        """Check the call, and send it unless the line is cut."""
        self.calls.append(call)
        path, _, query = call.target.partition("?")
        CONTRACT.check_request(API, call.method, path, query, call.headers, call.body)
        if self._line.is_cut:
            raise RemoteFailure(call.destination, "The line is cut.")
        async with self._below.open(call, timeout_s) as opened:
            yield opened

    async def stop(self) -> None:
        """Close all connections."""
        await self._below.stop()


class Ranvier:
    """Start it, then register people."""

    def __init__(self, folder: Path, authority: Authority, **overrides: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        inner = free_port()
        settings = federation_settings(authority, **{"federation": IMPATIENCE, **overrides})
        plain, secure = settings["listeners"]
        self.line = Line(secure["port"], inner)
        settings["listeners"] = [plain, {**secure, "port": inner, "bind_addresses": ["127.0.0.1"]}]
        self.server_name: str = settings["server_name"]
        # Clients of before find it again after a restart.
        plain["port"] = free_port()
        self._config = configuration(folder, **settings)
        self._server: Server | None = None

    @property
    def server(self) -> Server:
        """The server, while it runs."""
        assert self._server is not None, "it is down"
        return self._server

    @property
    def base_url(self) -> str:
        """Where its clients find it."""
        return self.server.base_url

    async def start(self) -> None:
        """Start it with its line open."""
        self._server = Server(
            await Process.start(self._config, around_network=self.line.around), self._config
        )
        await self.line.open()

    async def away(self) -> None:
        """Be down until `back`."""
        await self.line.cut()
        await self.server.process.stop()

    async def back(self) -> None:
        """Be there again, on the same data."""
        self.server.process = await Process.start(self._config, around_network=self.line.around)
        self.server.composition = self.server.process.composition
        await self.line.open()

    async def register(self, localpart: str, password: str = PASSWORD) -> UserClient:
        """A new account, and a client that is logged in with it."""
        return await self.server.register(localpart, password)

    async def login(self, localpart: str, password: str = PASSWORD) -> UserClient:
        """Another device of an account."""
        return await self.server.login(localpart, password)

    async def close(self) -> None:
        """Stop the server and its clients."""
        await self.line.cut()
        if self._server is not None:
            await self._server.close()
