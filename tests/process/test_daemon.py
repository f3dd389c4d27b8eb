"""`daemonize` and the word to systemd: how a process comes up, reloads, and tells who started it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.process.test_supervisor import until
from tests.server import ServerProcess


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    """A server whose configuration sends it to the background; not started."""
    made = ServerProcess(tmp_path / "server", daemonize=True, pid_file="run/server.pid")
    yield made
    number = made.folder / "run" / "server.pid"
    if number.exists():
        os.kill(int(number.read_text()), signal.SIGKILL)


async def _called(server: ServerProcess) -> subprocess.CompletedProcess[bytes]:
    """What the command gives back to a shell that calls it."""
    command = [sys.executable, "-m", "ranvier", "run", "-c", str(server.config)]
    return await asyncio.to_thread(
        subprocess.run,
        command,
        cwd=server.folder,
        env=_environment(),
        capture_output=True,
        timeout=60,
        check=False,
    )


async def test_a_daemon_leaves_the_shell_once_it_answers_and_writes_its_number(daemon: ServerProcess):
    called = await _called(daemon)
    assert called.returncode == 0, called.stderr
    number = int((daemon.folder / "run" / "server.pid").read_text())
    async with daemon.client() as client:
        assert (await client.get("/health")).body == b"OK"
    assert os.getsid(number) != os.getsid(0)
    os.kill(number, signal.SIGTERM)
    await until(lambda: not Path(f"/proc/{number}").exists(), what="it is gone")
    assert not (daemon.folder / "run" / "server.pid").exists()
    # What it said once it had no terminal any more.
    assert '"stopped"' in (daemon.folder / "main.log").read_text()


async def test_a_daemon_that_cannot_start_tells_the_shell(daemon: ServerProcess):
    config = yaml.safe_load(daemon.config.read_text())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", config["listeners"][0]["port"]))
        taken.listen()
        called = await _called(daemon)
    assert called.returncode == 1
    assert b"can't be opened" in called.stderr
    assert not (daemon.folder / "run" / "server.pid").exists()


async def test_under_systemd_a_daemon_stays_where_systemd_sees_it(daemon: ServerProcess):
    await daemon.start()
    assert daemon.process is not None and daemon.process.poll() is None
    assert "`daemonize` is not followed" in daemon.words()
    assert await daemon.stop() == 0


async def test_systemd_hears_of_readiness_reload_and_stop(tmp_path: Path):
    server = ServerProcess(tmp_path / "server")
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(path))
        heard.settimeout(60)
        command = [sys.executable, "-m", "ranvier", "run", "-c", str(server.config)]
        with server.log.open("ab") as log:
            running = subprocess.Popen(  # noqa: ASYNC220
                command,
                cwd=server.folder,
                env={**os.environ, "NOTIFY_SOCKET": str(path)},
                stdout=log,
                stderr=log,
            )
        said: list[Any] = []
        try:
            for number in (None, signal.SIGHUP, signal.SIGTERM):
                if number is not None:
                    running.send_signal(number)
                said.append(await asyncio.to_thread(heard.recv, 1000))
                if number == signal.SIGHUP:
                    said.append(await asyncio.to_thread(heard.recv, 1000))
            assert await asyncio.to_thread(running.wait, 30) == 0
        finally:
            if running.poll() is None:
                running.kill()
    assert [one.partition(b"\n")[0] for one in said] == [
        b"READY=1",
        b"RELOADING=1",
        b"READY=1",
        b"STOPPING=1",
    ]
    assert b"MONOTONIC_USEC=" in said[1]
