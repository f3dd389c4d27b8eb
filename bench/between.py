"""Between the processes of one server: how soon one is woken by another, and what listening costs an idle one.

`python -m bench.between --bell listen` (or redis) starts a PostgreSQL, perhaps a Redis, and three processes: A is sent
to, at B somebody waits in /sync, C has no clients. The CPU of C, and of B with one client, is what the kernel charged.
"""

import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
import click
import yaml

from bench.lifted_limits import LIFTED_LIMITS
from bench.postgresql import DATABASE_USER, Cluster, free_port

V3 = "/_matrix/client/v3"
_TICKS = os.sysconf("SC_CLK_TCK")


class Process:
    """One process of the server."""

    def __init__(self, folder: Path, name: str, shared: dict[str, Any]) -> None:
        self.port = free_port()
        listener = {
            "port": self.port,
            "bind_addresses": ["127.0.0.1"],
            "type": "http",
            "resources": [{"names": ["client"]}],
        }
        file = folder / f"{name}.yaml"
        file.write_text(yaml.safe_dump({**shared, "listeners": [listener]}))
        with (folder / f"{name}.log").open("wb") as log:
            command = [sys.executable, "-m", "ranvier", "run", "--config", str(file)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)

    def url(self, path: str) -> str:
        """Where a path is."""
        return f"http://127.0.0.1:{self.port}{path}"

    async def until_ready(self, session: aiohttp.ClientSession) -> None:
        """Wait for its first answer."""
        for _ in range(1200):
            try:
                async with session.get(self.url("/_matrix/client/versions")):
                    return
            except aiohttp.ClientError:
                await asyncio.sleep(0.1)
        raise TimeoutError("a process did not start")

    def cpu(self) -> float:
        """Seconds of CPU so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


async def _ask(session: aiohttp.ClientSession, method: str, url: str, token: str, body: Any = None) -> Any:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with session.request(method, url, json=body, headers=headers) as answer:
        told = await answer.json()
        if answer.status != 200:
            raise RuntimeError(f"{url}: {answer.status} {told}")
        return told


async def _register(session: aiohttp.ClientSession, process: Process, name: str) -> str:
    body = {"username": name, "password": "a long passphrase", "auth": {"type": "m.login.dummy"}}
    return str((await _ask(session, "POST", process.url(f"{V3}/register"), "", body))["access_token"])


async def _latencies(
    session: aiohttp.ClientSession, a: Process, b: Process, sender: str, waiter: str, room: str, number: int
) -> list[float]:
    """Milliseconds from the answer of a send at A to that of the sync at B; 0 where that came first."""
    found = []
    since = (await _ask(session, "GET", b.url(f"{V3}/sync"), waiter))["next_batch"]
    for turn in range(number):
        url = b.url(f"{V3}/sync?timeout=20000&since={since}")
        waiting = asyncio.create_task(_timed(_ask(session, "GET", url, waiter)))
        await asyncio.sleep(0.15)
        url = a.url(f"{V3}/rooms/{room}/send/m.room.message/l{number}-{turn}")
        _, sent = await _timed(_ask(session, "PUT", url, sender, {"msgtype": "m.text", "body": "x"}))
        answer, woken = await waiting
        since = answer["next_batch"]
        found.append(max(0.0, (woken - sent) * 1000))
    return found


async def _timed(work: Any) -> tuple[Any, float]:
    return await work, time.perf_counter()


async def _load(
    session: aiohttp.ClientSession, process: Process, token: str, rooms: list[str], rate: int, seconds: float
) -> int:
    """Send at a rate; answers how many were answered."""
    done, begin, tasks = 0, time.perf_counter(), set()

    async def send(number: int) -> None:
        nonlocal done
        url = process.url(f"{V3}/rooms/{rooms[number % len(rooms)]}/send/m.room.message/x{begin}-{number}")
        await _ask(session, "PUT", url, token, {"msgtype": "m.text", "body": "x"})
        done += 1

    number = 0
    while (now := time.perf_counter() - begin) < seconds:
        while number < now * rate and len(tasks) < 200:
            task = asyncio.create_task(send(number))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            number += 1
        await asyncio.sleep(0.005)
    await asyncio.gather(*tasks)
    return done


async def measure(folder: Path, bell: str, rate: int, seconds: float, sends: int) -> None:
    """Start all, measure, print."""
    cluster = Cluster(folder / "postgresql")
    cluster.start()
    cluster.create("between")
    where = {"user": DATABASE_USER, "dbname": "between", "host": cluster.host, "port": cluster.port}
    shared: dict[str, Any] = {
        "server_name": "bench.example",
        "database": {"name": "psycopg2", "args": where},
        "signing_key_path": str(folder / "signing.key"),
        "enable_registration": True,
        "enable_registration_without_verification": True,
        "trusted_key_servers": [],
        "presence": {"enabled": False},
        **LIFTED_LIMITS,
    }
    redis = None
    if bell == "redis":
        port = free_port()
        shared["redis"] = {"enabled": True, "host": "127.0.0.1", "port": port}
        redis = subprocess.Popen(  # noqa: ASYNC220
            ["redis-server", "--port", str(port), "--save", "", "--appendonly", "no", "--dir", str(folder)],
            stdout=subprocess.DEVNULL,
        )
    processes: list[Process] = []
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            for name in "abc":
                processes.append(Process(folder, name, shared))
                await processes[-1].until_ready(session)
            a, b = processes[:2]
            ann, ben = await _register(session, a, "ann"), await _register(session, b, "ben")
            body = {"preset": "public_chat"}
            rooms = [
                (await _ask(session, "POST", a.url(f"{V3}/createRoom"), ann, body))["room_id"]
                for _ in range(20)
            ]
            await _ask(session, "POST", b.url(f"{V3}/join/{rooms[0]}"), ben, {})
            await _latencies(session, a, b, ann, ben, rooms[0], 10)
            found = sorted(await _latencies(session, a, b, ann, ben, rooms[0], sends))
            p50, p99 = statistics.median(found), found[int(len(found) * 0.99)]
            print(f"{bell}: woken at B after the answer at A: p50 {p50:.1f} ms, p99 {p99:.1f} ms")
            before = [process.cpu() for process in processes]
            done = await _load(session, a, ann, rooms, rate, seconds)
            used = [process.cpu() - was for process, was in zip(processes, before, strict=True)]
            told = ", ".join(f"{n} {100 * s / seconds:.1f} %" for n, s in zip("ABC", used, strict=True))
            print(f"{bell}: {done / seconds:.0f} events/s at A; of a core: {told}")
            each = ", ".join(f"{n} {s / done * 1e6:.0f}" for n, s in zip("ABC", used, strict=True))
            print(f"{bell}: CPU µs an event: {each}")
    finally:
        for process in processes:
            process.stop()
        if redis is not None:
            redis.kill()
            redis.wait()
        cluster.stop()


@click.command()
@click.option("--bell", type=click.Choice(["listen", "redis"]), default="listen", show_default=True)
@click.option("--rate", default=1000, show_default=True, help="Events a second at A.")
@click.option("--seconds", default=10.0, show_default=True)
@click.option("--sends", default=100, show_default=True, help="Sends whose news is waited for.")
def main(bell: str, rate: int, seconds: float, sends: int) -> None:
    """Measure between processes."""
    folder = Path(tempfile.mkdtemp(prefix="ranvier-between-"))
    folder.chmod(0o755)
    try:
        asyncio.run(measure(folder, bell, rate, seconds, sends))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
