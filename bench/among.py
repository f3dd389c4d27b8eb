"""What a send costs where several processes write the same rooms.

`python -m bench.among` starts a PostgreSQL and one, then two, then four processes, and sends through all of them into
one room and into a hundred. CPU is what the kernel charged to the processes and to PostgreSQL until both are quiet.
"""

import asyncio
import itertools
import shutil
import tempfile
import time
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import click

from bench import requests
from bench.accounting import tree_seconds
from bench.between import V3, Process, _ask, _register
from bench.connection import Address, Connection
from bench.lifted_limits import LIFTED_LIMITS
from bench.postgresql import DATABASE_USER, Cluster

_QUIET_S = 1.5
"""After the last answer the processes still hear of what the others did."""


async def _drive(lines: list[Connection], asked: Iterator[bytes], waits: "array[float]") -> None:
    async def work(line: Connection) -> None:
        for request in asked:
            waits.append((await line.expect(request)).seconds)

    async with asyncio.TaskGroup() as group:
        for line in lines:
            group.create_task(work(line))


def _requests(tokens: list[str], rooms: list[str], number: int, tag: str) -> Iterator[bytes]:
    """So many sends, each with a transaction id of its own."""
    turn = itertools.cycle(rooms)
    for n in range(number):
        yield requests.send_message(tokens[n % len(tokens)], next(turn), f"{tag}-{n}", "x" * 64)


async def _send(
    processes: list[Process], tokens: list[str], rooms: list[str], number: int, in_flight: int, tag: str
) -> "array[float]":
    """So many sends, spread evenly over processes and rooms; answers how long each took (seconds)."""
    share = in_flight // len(processes)
    lines = [[Connection(Address("127.0.0.1", one.port)) for _ in range(share)] for one in processes]
    waits = array("d")
    try:
        async with asyncio.TaskGroup() as group:
            for place, own in enumerate(lines):
                asked = _requests(tokens, rooms, number // len(processes), f"{tag}-{place}")
                group.create_task(_drive(own, asked, waits))
    finally:
        for own in lines:
            for line in own:
                line.close()
    return waits


async def _measure(
    cluster: Cluster,
    processes: list[Process],
    tokens: list[str],
    rooms: list[str],
    sends: int,
    in_flight: int,
) -> str:
    await _send(processes, tokens, rooms, max(sends // 4, 4 * len(rooms)), in_flight, f"warm{time.time()}")
    await asyncio.sleep(_QUIET_S)
    begin = time.perf_counter()
    python, postgres = sum(one.cpu() for one in processes), tree_seconds(cluster.pids)
    waits = sorted(await _send(processes, tokens, rooms, sends, in_flight, f"x{time.time()}"))
    took = time.perf_counter() - begin
    await asyncio.sleep(_QUIET_S)
    python = (sum(one.cpu() for one in processes) - python) / len(waits) * 1e6
    postgres = (tree_seconds(cluster.pids) - postgres) / len(waits) * 1e6
    p50, p99 = waits[len(waits) // 2] * 1000, waits[int(len(waits) * 0.99)] * 1000
    what = f"{len(processes)} processes, {len(rooms):3} rooms, {in_flight} in flight"
    cpu = f"CPU {python + postgres:.0f} µs a send ({python:.0f} Python, {postgres:.0f} PostgreSQL)"
    return f"{what}: {cpu}, {len(waits) / took:.0f}/s, p50 {p50:.1f} p99 {p99:.1f} ms"


async def measure(folder: Path, counts: list[int], sends: int, in_flight: int) -> None:
    """Start all, measure, print."""
    cluster = Cluster(folder / "postgresql")
    cluster.start()
    try:
        for count in counts:
            cluster.create(f"among{count}")
            where = {
                "user": DATABASE_USER,
                "dbname": f"among{count}",
                "host": cluster.host,
                "port": cluster.port,
            }
            shared: dict[str, Any] = {
                "server_name": "bench.example",
                "database": {"name": "psycopg2", "args": where},
                "signing_key_path": str(folder / f"signing{count}.key"),
                "enable_registration": True,
                "enable_registration_without_verification": True,
                "trusted_key_servers": [],
                "presence": {"enabled": False},
                **LIFTED_LIMITS,
            }
            processes: list[Process] = []
            try:
                async with aiohttp.ClientSession() as session:
                    for number in range(count):
                        processes.append(Process(folder, f"p{count}-{number}", shared))
                        await processes[-1].until_ready(session)
                    first = processes[0]
                    tokens = [await _register(session, first, f"user{number}") for number in range(3)]
                    body = {"preset": "public_chat"}
                    url = first.url(f"{V3}/createRoom")
                    rooms = [
                        (await _ask(session, "POST", url, tokens[0], body))["room_id"] for _ in range(100)
                    ]
                    for token in tokens[1:]:
                        for room in rooms:
                            await _ask(session, "POST", first.url(f"{V3}/join/{room}"), token, {})
                for some in (rooms[:1], rooms):
                    print(await _measure(cluster, processes, tokens, some, sends, in_flight), flush=True)
            finally:
                for process in processes:
                    process.stop()
    finally:
        cluster.stop()


@click.command()
@click.option("--processes", default="1,2,4", show_default=True, help="How many, comma-separated.")
@click.option("--sends", default=4000, show_default=True)
@click.option("--in-flight", default=32, show_default=True)
def main(processes: str, sends: int, in_flight: int) -> None:
    """Measure what a send costs among several processes."""
    folder = Path(tempfile.mkdtemp(prefix="ranvier-among-"))
    folder.chmod(0o755)
    try:
        asyncio.run(measure(folder, [int(one) for one in processes.split(",")], sends, in_flight))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
