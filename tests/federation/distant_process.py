"""A process of a server whose calls to other servers go back to the test: `python -m tests.federation.distant_process`.

Arguments: its configuration, its name, its roles (comma-separated), and the socket on which the test plays the network.
It says "ready" on its standard output, and stops in order on SIGTERM.
"""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvloop

from ranvier.config import Config, Role, build, read_text
from ranvier.main.logs import start_logging
from ranvier.main.process import Process, tune
from ranvier.remote.failure import RemoteFailure
from ranvier.remote.transport import Call, Opened


class Distant:
    """A network at the other end of a socket."""

    def __init__(self, path: str, name: str) -> None:
        self._path = path
        self._name = name

    @asynccontextmanager
    async def open(self, call: Call, timeout_s: float) -> AsyncIterator[Opened]:
        """As a transport does."""
        reader, writer = await asyncio.open_unix_connection(self._path, limit=1 << 24)
        try:
            asked = {
                "from": self._name,
                "destination": call.destination,
                "target": call.target,
                "body": (call.body or b"").decode(),
            }
            writer.write(json.dumps(asked).encode() + b"\n")
            answer: dict[str, Any] | None = json.loads(await reader.readline())
        finally:
            writer.close()
        if answer is None:
            raise RemoteFailure(call.destination, "It does not answer.")
        yield Opened(answer["status"], {}, _pieces(json.dumps(answer["body"]).encode()))


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    yield body


async def run(config: Config, name: str, roles: str, socket: str) -> None:
    """One process, from its start to its end."""
    start_logging(config.operation.log_level, config.operation.log_format)
    tune()
    processes = replace(config.processes, instance=name, roles=frozenset(map(Role, roles.split(","))))
    network = Distant(socket, name)
    process = await Process.start(replace(config, processes=processes), around_network=lambda below: network)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    print("ready", flush=True)
    await stopped.wait()
    await process.stop()


if __name__ == "__main__":
    found = Path(sys.argv[1])
    uvloop.run(run(build(read_text(found.read_text("utf-8"), "tests"), found.parent), *sys.argv[2:5]))
