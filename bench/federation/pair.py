"""Two servers of one kind that federate, and who lives on them."""

import math
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from bench import requests
from bench.connection import Connection
from bench.federation.authority import Authority
from bench.figures import bucket_percentile, histogram
from bench.load import connections
from bench.progress import Bars
from bench.servers import Secure, Server, make
from bench.world import FULL, World

_LOOP_LAG = "ranvier_event_loop_lag_seconds"


@dataclass(frozen=True)
class Side:
    """One of the two."""

    world: World
    secure: Secure

    @property
    def server(self) -> Server:
        return self.world.server

    @property
    def name(self) -> str:
        """As others know it."""
        return self.secure.server_name


class Pair:
    """`home` and `away`; their CPU is charged together."""

    def __init__(self, kind: str, folder: Path, tree: Path, authority: Authority, bars: Bars) -> None:
        self.kind = kind
        self.authority = authority
        self.bars = bars
        places = [authority.secure() for _ in range(2)]
        self._servers = [
            make(kind, folder / f"{kind}-{name}", None, tree, secure)
            for name, secure in zip(("home", "away"), places, strict=True)
        ]
        self.home, self.away = (
            Side(World(server, FULL, bars, 0.0), secure)
            for server, secure in zip(self._servers, places, strict=True)
        )

    @property
    def pids(self) -> list[int]:
        return [pid for server in self._servers for pid in server.pids]

    @property
    def database_pids(self) -> list[int]:
        return []

    def install(self) -> str:
        """Make sure that both can be started, and answer their version."""
        return self._servers[0].install()

    async def start(self) -> None:
        for server in self._servers:
            await server.start()

    def kill(self) -> None:
        for server in self._servers:
            server.kill()


async def join(line: Connection, token: str, room_id: str, through: str) -> float:
    """Join a room of another server; the seconds that took."""
    path = f"{requests.CLIENT}/join/{quote(room_id, safe='')}?via={quote(through, safe='')}"
    return (await line.expect(requests.build("POST", path, token=token, body={}))).seconds


class Lag:
    """How late a server's event loop was while something happened, where the server measures it."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._before: dict[float, float] = {}

    async def begin(self) -> None:
        self._before = await self._read()

    async def percentiles_ms(self, *shares: float) -> list[float]:
        """Since `begin`, in milliseconds; NaN where the server tells nothing."""
        now = await self._read()
        counts = {bound: count - self._before.get(bound, 0.0) for bound, count in now.items()}
        return [bucket_percentile(counts, share) * 1e3 for share in shares]

    async def _read(self) -> dict[float, float]:
        with connections(self._server.address, 1) as (line,):
            answer = await line.ask(requests.build("GET", "/_synapse/metrics"))
        return histogram(answer.body.decode(), _LOOP_LAG) if answer.status == 200 else {}


def keep_on(core: int, pids: list[int]) -> None:
    """Let these processes, all their threads, run on one core only."""
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), {core})


def peak_mib(pid: int) -> float:
    """The most memory (RSS) that a process has held since `forget_peak`, in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return math.nan


def forget_peak(pid: int) -> None:
    """Measure a process's peak of memory anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")
