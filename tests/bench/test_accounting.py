"""The kernel's accounts, read from real processes."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.accounting import (
    cpu_clock,
    last_busy_moment,
    process_seconds,
    settle,
    tree_memory,
    tree_of,
    tree_seconds,
)

# Burns CPU seconds in the way that is asked for, says "done", and waits for its input to end.
PROGRAM = """
import subprocess, sys, threading, time
def burn(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
def in_threads():
    threads = [threading.Thread(target=burn, args=(0.15,)) for _ in range(2)]
    [t.start() for t in threads]
    [t.join() for t in threads]
ways = {
    "itself": lambda: burn(0.3),
    "threads": in_threads,
    "ended-child": lambda: subprocess.run([sys.executable, "-c", BURN]),
    "living-child": lambda: subprocess.Popen([sys.executable, "-c", BURN + "; print(1, flush=True); input()"],
                                             stdin=sys.stdin, stdout=subprocess.PIPE).stdout.readline(),
    "nothing": lambda: None,
    "memory": lambda: globals().__setitem__("held", b"x" * 40 * 2**20),
}
BURN = "import time; end = time.thread_time() + 0.3\\nwhile time.thread_time() < end: pass\\n0"
ways[sys.argv[1]]()
print("done", flush=True)
sys.stdin.read()
"""


class _Children:
    def __init__(self) -> None:
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, way: str) -> int:
        """The process' id, once it has done its work."""
        command = [sys.executable, "-c", PROGRAM, way]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.started.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == b"done\n"
        return child.pid

    def end(self) -> None:
        for child in self.started:
            child.communicate()


@pytest.fixture
def children() -> Iterator[_Children]:
    made = _Children()
    yield made
    made.end()


@pytest.mark.parametrize("way", ["itself", "threads", "ended-child", "living-child"])
def test_cpu_is_charged_wherever_it_was_used(children: _Children, way: str) -> None:
    idle = tree_seconds([children.start("nothing")])
    used = tree_seconds([children.start(way)])
    assert 0.28 < used - idle < 0.5


def test_the_cpu_clock_is_the_account_in_proc_stat(children: _Children) -> None:
    pid = children.start("itself")
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    assert process_seconds(pid) == pytest.approx(ticks / os.sysconf("SC_CLK_TCK"), abs=0.021)


def test_the_cpu_clock_of_this_process_is_its_own_process_time() -> None:
    before = time.process_time()
    clock = time.clock_gettime(cpu_clock(os.getpid()))
    assert before <= clock <= time.process_time()


def test_a_process_that_is_gone_costs_nothing(children: _Children) -> None:
    pid = children.start("nothing")
    children.end()
    assert process_seconds(pid) == 0.0
    assert tree_of([pid]) == []
    assert tree_memory([pid]) == (0.0, 0.0)


def test_a_tree_holds_the_process_and_its_living_descendants(children: _Children) -> None:
    pid = children.start("living-child")
    tree = tree_of([pid])
    assert tree[0] == pid
    assert len(tree) == 2
    assert set(tree) <= set(tree_of([os.getpid()]))


def test_memory_that_a_process_holds_is_counted(children: _Children) -> None:
    empty, full = (tree_memory([children.start(way)]) for way in ("nothing", "memory"))
    assert 35 < full.pss - empty.pss < 50
    assert 35 < full.rss - empty.rss < 50
    assert full.pss <= full.rss


def _wait_until_used(pid: int, seconds: float) -> None:
    deadline = time.monotonic() + 30
    while process_seconds(pid) < seconds:
        assert time.monotonic() < deadline
        time.sleep(0.01)


async def test_settling_waits_for_the_end_of_the_work() -> None:
    code = "import time; end = time.thread_time() + 0.4\nwhile time.thread_time() < end: pass\ntime.sleep(5)"
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    _wait_until_used(child.pid, 0.05)
    await settle([child.pid], share=0.001, at_most=20)
    used = process_seconds(child.pid)
    child.kill()
    await child.wait()
    assert used >= 0.4


async def test_settling_gives_up_on_a_process_that_never_rests() -> None:
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", "while True: pass")
    _wait_until_used(child.pid, 0.05)
    waited = await settle([child.pid], share=0.001, at_most=0.3)
    child.kill()
    await child.wait()
    assert 0.3 <= waited < 5


async def test_the_last_busy_moment_lies_before_the_quiet_time(children: _Children) -> None:
    pid = children.start("nothing")
    await settle([pid])
    before = time.perf_counter()
    busy = await last_busy_moment([pid], quiet=0.05)
    assert before - 0.01 <= busy <= time.perf_counter() - 0.05
