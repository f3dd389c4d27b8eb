"""The window in which work is measured: latencies, wall time, and the kernel's accounts before and after."""

import contextlib
import gc
import os
import time
from array import array
from collections.abc import AsyncIterator, Iterable, Sequence
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from bench.accounting import last_busy_moment, machine_seconds, settle, tree_seconds
from bench.figures import Fact, Result, percentile


class Charged(Protocol):
    """Whose CPU counts: one server, or several together."""

    @property
    def pids(self) -> list[int]:
        """Their own processes (children are found from them)."""

    @property
    def database_pids(self) -> list[int]:
        """Their databases' processes."""


class Accounts(NamedTuple):
    """Seconds of CPU, by whom, and of wall time; a reading, or the difference of two."""

    server: float
    database: float
    generator: float
    machine: float
    wall: float

    def minus(self, other: "Accounts") -> "Accounts":
        return Accounts(*(mine - theirs for mine, theirs in zip(self, other, strict=True)))


NOTHING = Accounts(0, 0, 0, 0, 0)


class Window:
    """`async with Window(server) as window:` measures what happens inside.

    It opens when the server is quiet. The rate's clock stops when the block ends; the CPU account is read
    once the server is quiet again, so that work done after the answers is charged too. `used` is what the
    work took, `whole` includes the pauses.
    """

    def __init__(self, server: Charged) -> None:
        self.latencies = array("d")
        self.seconds = 0.0
        self.used = self.whole = NOTHING
        self._server = server
        self._paused = self._opened = NOTHING

    async def __aenter__(self) -> Self:
        await settle(self._pids)
        gc.collect()
        gc.freeze()
        gc.disable()
        self._opened = read_accounts(self._server)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        end, generator = time.perf_counter(), time.process_time()
        gc.enable()
        gc.unfreeze()
        if error is None:
            await settle(self._pids)
            closed = read_accounts(self._server)
            self.whole = closed.minus(self._opened)
            self.used = closed._replace(generator=generator).minus(self._opened).minus(self._paused)
            self.seconds = end - self._opened.wall - self._paused.wall

    @contextlib.asynccontextmanager
    async def pause(self) -> AsyncIterator[None]:
        """What happens inside is not part of the work: its CPU and time are left out.

        It begins when the server is quiet, so what came before is charged in full, and its time to the
        moment at which the server was last seen busy.
        """
        generator = time.process_time()
        busy = await last_busy_moment(self._pids)
        # To watch for quiet is no part of the load, and the time of it none of the work.
        begin = read_accounts(self._server)._replace(wall=busy, generator=generator)
        yield
        await last_busy_moment(self._pids)
        used = read_accounts(self._server).minus(begin)
        self._paused = total([self._paused, used])

    def result(
        self,
        work: str,
        *,
        operations: int | None = None,
        seconds: float | None = None,
        facts: tuple[Fact, ...] = (),
        checked: str = "",
    ) -> Result:
        """The row; operations are as many as latencies unless told, seconds the window's."""
        return result_of([self], work, operations=operations, seconds=seconds, facts=facts, checked=checked)

    @property
    def _pids(self) -> list[int]:
        return [*self._server.pids, *self._server.database_pids]


def result_of(
    windows: Sequence[Window],
    work: str,
    *,
    operations: int | None = None,
    seconds: float | None = None,
    facts: tuple[Fact, ...] = (),
    checked: str = "",
) -> Result:
    """One row for work that was measured in several windows."""
    latencies = [latency for window in windows for latency in window.latencies]
    count = len(latencies) if operations is None else operations
    used, whole = total(window.used for window in windows), total(window.whole for window in windows)
    others = whole.machine - whole.server - whole.database - whole.generator
    return Result(
        work=work,
        operations=count,
        seconds=sum(window.seconds for window in windows) if seconds is None else seconds,
        p50_ms=percentile(latencies, 0.50) * 1e3,
        p99_ms=percentile(latencies, 0.99) * 1e3,
        server_cpu_ms=used.server * 1e3 / count,
        database_cpu_ms=used.database * 1e3 / count,
        generator_cpu_us=used.generator * 1e6 / count,
        others_share=max(0.0, others / (whole.wall * (os.cpu_count() or 1))),
        facts=facts,
        checked=checked,
    )


def total(parts: Iterable[Accounts]) -> Accounts:
    """The sum of these, each account for itself."""
    return Accounts(*map(sum, zip(*parts, strict=True)))


def read_accounts(server: Charged) -> Accounts:
    """What the kernel has charged until now."""
    return Accounts(
        tree_seconds(server.pids),
        tree_seconds(server.database_pids),
        time.process_time(),
        machine_seconds(),
        time.perf_counter(),
    )
