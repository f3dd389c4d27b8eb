"""What the kernel charged to processes: CPU time and memory of a process and all its children.

CPU is `utime + stime` of /proc/PID/stat, read through the process' CPU clock (clock_getcpuclockid(3)): the
same account with its threads, living and ended, in nanoseconds instead of ticks of 10 ms. Children that
ended and were waited for stand in their parent's `cutime + cstime`.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

_CPUCLOCK_SCHED = 2
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_CUTIME, _CSTIME, _PPID = 13, 14, 1  # counted from the field after the command's name


class Memory(NamedTuple):
    """MiB held: `pss` shares out pages that several processes map, `rss` counts them in each."""

    pss: float
    rss: float


def cpu_clock(pid: int) -> int:
    """The id of a process' CPU clock, as clock_getcpuclockid(3) makes it."""
    return (~pid << 3) | _CPUCLOCK_SCHED


def process_seconds(pid: int) -> float:
    """CPU seconds of one process, its threads, and its children that have ended; 0 when it is gone."""
    try:
        return time.clock_gettime(cpu_clock(pid)) + _ended_children_seconds(pid)
    except OSError:
        return 0.0


def tree_of(pids: Iterable[int]) -> list[int]:
    """These processes and all their descendants that live now."""
    children: dict[int, list[int]] = {}
    for pid in (int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit()):
        fields = _stat_fields(pid)
        if fields:
            children.setdefault(int(fields[_PPID]), []).append(pid)
    found: list[int] = []
    waiting = [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.append(pid)
            waiting.extend(children.get(pid, []))
    return found


def tree_seconds(pids: Iterable[int]) -> float:
    """CPU seconds of these processes and all their descendants, ended ones included."""
    return sum(process_seconds(pid) for pid in tree_of(pids))


def tree_memory(pids: Iterable[int]) -> Memory:
    """Memory of these processes and all their descendants."""
    parts = [_process_memory(pid) for pid in tree_of(pids)]
    return Memory(sum(part.pss for part in parts), sum(part.rss for part in parts))


def machine_seconds() -> float:
    """CPU seconds that all processes of this machine have used."""
    fields = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
    user, nice, system, _idle, _iowait, irq, softirq = (int(field) for field in fields[:7])
    return (user + nice + system + irq + softirq) / _TICKS_PER_SECOND


async def settle(
    pids: Iterable[int], *, window: float = 0.05, share: float = 0.05, at_most: float = 3.0
) -> float:
    """Wait until these processes use less than `share` of a core during `window` seconds.

    Answers the seconds waited. A server goes on working after its last answer; that work belongs to the
    operation that caused it.
    """
    tree = tree_of(pids)
    start = time.perf_counter()
    while True:
        before = sum(map(process_seconds, tree))
        await asyncio.sleep(window)
        waited = time.perf_counter() - start
        if sum(map(process_seconds, tree)) - before < share * window or waited > at_most:
            return waited


async def last_busy_moment(pids: Iterable[int], *, quiet: float = 0.006, at_most: float = 1.0) -> float:
    """The perf_counter moment at which these processes last worked, once they were idle for `quiet` seconds."""
    clocks = [cpu_clock(pid) for pid in tree_of(pids)]
    start = busy = time.perf_counter()
    last = _clock_seconds(clocks)
    while True:
        await asyncio.sleep(0.001)
        now, used = time.perf_counter(), _clock_seconds(clocks)
        if used - last > 50e-6:
            busy = now
        last = used
        if now - busy > quiet or now - start > at_most:
            return busy


def _clock_seconds(clocks: Iterable[int]) -> float:
    total = 0.0
    for clock in clocks:
        with contextlib.suppress(OSError):  # the process has ended
            total += time.clock_gettime(clock)
    return total


def _stat_fields(pid: int) -> list[str]:
    try:
        # The command's name may hold blanks and brackets, so count from its last bracket.
        return (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        )
    except OSError:
        return []


def _ended_children_seconds(pid: int) -> float:
    fields = _stat_fields(pid)
    return (int(fields[_CUTIME]) + int(fields[_CSTIME])) / _TICKS_PER_SECOND if fields else 0.0


def _process_memory(pid: int) -> Memory:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except PermissionError:
        return _shared_out_memory(pid)
    except OSError:
        return Memory(0.0, 0.0)
    kib = {line.split(":")[0]: int(line.split()[1]) for line in text.splitlines()[1:]}
    return Memory(kib.get("Pss", 0) / 1024, kib.get("Rss", 0) / 1024)


def _shared_out_memory(pid: int) -> Memory:
    """Another user's process hides its map: take what it does not share as its proportional part."""
    try:
        _size, resident, shared = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[:3]
    except OSError:
        return Memory(0.0, 0.0)
    mib_per_page = os.sysconf("SC_PAGE_SIZE") / 1024 / 1024
    return Memory((int(resident) - int(shared)) * mib_per_page, int(resident) * mib_per_page)
