"""Runs tests against mutants: pytest collects once, and each mutant gets a fork of that process.

In the fork the changed functions take the place of the module's own: a function keeps its name and its identity and
gets other code, so it does not matter who imported it before.
"""

import importlib
import json
import os
import pickle
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any, NamedTuple

import hypothesis
import pytest

TREE = Path(__file__).parents[2]
KILLED, SURVIVED, UNTESTED = "killed", "survived", "no test gets there"
PATIENCE_S = 240
"""A mutant that keeps the tests busy for longer runs in a circle, and counts as killed."""
HISTORIES = "RANVIER_TEST_HISTORIES"
"""Names how many histories of rooms the tests draw."""
_RAISES_ONLY = "never_raises"
"""Tests whose failure would only say that something raised, which take most of the time."""


def histories() -> str:
    """How many histories the tests draw here: few at first, as most mutants fall at once."""
    return os.environ.get(HISTORIES, "12")


class Traced(NamedTuple):
    """A test: its place in the run, the seconds it takes, and the functions of the modules that it gets to."""

    place: int
    seconds: float
    functions: frozenset[tuple[str, str]]


def with_collected(tests: Sequence[str], use: Callable[["Collected"], None]) -> None:
    """Have pytest collect these files, and use what it found."""
    os.environ[HISTORIES] = histories()
    # Nobody wants to see a failure, so none is made smaller.
    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
    hypothesis.settings.register_profile(
        "few", max_examples=15, derandomize=True, deadline=None, database=None, phases=phases
    )
    hypothesis.settings.load_profile("few")
    files = [str(TREE / "tests" / "protocol" / test) for test in tests]
    options = ["-x", "-p", "no:terminal", "-p", "no:cacheprovider", "--noconftest", "-s"]
    own = ["-c", str(TREE / "pyproject.toml"), "-o", "addopts=--import-mode=importlib"]
    pytest.main([*options, *own, *files], plugins=[_Plugin(use)])


class _Plugin:
    def __init__(self, use: Callable[["Collected"], None]) -> None:
        self._use = use

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave out those that would find little for their time."""
        items[:] = [item for item in items if _RAISES_ONLY not in item.name]

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Instead of running the tests."""
        self._use(Collected(session))
        return True


class Collected:
    """The tests that pytest collected."""

    def __init__(self, session: pytest.Session) -> None:
        self._session = session

    def trace(self, modules: Sequence[str]) -> list[Traced] | None:
        """What each test gets to; None if one fails without any change."""
        files = {str(TREE / "src" / "ranvier" / "protocol" / f"{name}.py"): name for name in modules}

        def work() -> Iterator[bytes]:
            traced = []
            for place in range(len(self._session.items)):
                functions: set[tuple[str, str]] = set()

                def note(frame: FrameType, event: str, _: object, functions: Any = functions) -> None:
                    code = frame.f_code
                    if code.co_filename in files:
                        functions.add((files[code.co_filename], code.co_qualname))

                start = time.perf_counter()
                sys.settrace(note)
                passed = self._run(place)
                sys.settrace(None)
                if not passed:
                    return
                traced.append(Traced(place, time.perf_counter() - start, frozenset(functions)))
            yield pickle.dumps(traced)

        answer = _in_fork(work, patience_s=1800)
        traced: list[Traced] | None = pickle.loads(answer) if answer else None
        return traced

    def outcome(self, module: str, changed: CodeType, places: Sequence[int]) -> str:
        """Whether one of these tests notices that the module was compiled from another source."""

        def work() -> Iterator[bytes]:
            replace(importlib.import_module(f"ranvier.protocol.{module}"), changed)
            yield json.dumps(all(self._run(place) for place in places)).encode()

        return SURVIVED if _in_fork(work, PATIENCE_S) == b"true" else KILLED

    def _run(self, place: int) -> bool:
        """Whether the test passes."""
        item = self._session.items[place]
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
        return not self._session.testsfailed


def replace(module: ModuleType, changed: CodeType) -> None:
    """Give the module's functions and methods the code that they have in the changed source."""
    for name, code in _functions_of(changed):
        target: Any = module
        for part in name.split("."):
            target = vars(target)[part]
        function = _function(target)
        if hasattr(target, "cache_clear"):
            target.cache_clear()
        function.__code__ = code


def _functions_of(code: CodeType) -> Iterator[tuple[str, CodeType]]:
    """Those of the module and of its classes; what stands within a function comes with it."""
    for inner in code.co_consts:
        if isinstance(inner, CodeType) and "<" not in inner.co_name:
            if inner.co_flags & 0x2:  # a function's: it has fast locals
                yield inner.co_qualname, inner
            else:
                yield from _functions_of(inner)


def _function(target: Any) -> FunctionType:
    if isinstance(target, property):
        target = target.fget
    target = getattr(target, "__func__", target)
    target = getattr(target, "__wrapped__", target)
    assert isinstance(target, FunctionType)
    return target


def _in_fork(work: Callable[[], Iterator[bytes]], patience_s: float) -> bytes:
    """What the work says in a process of its own; nothing if it breaks down or takes too long."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setsid()
            os.close(reader)
            null = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(null, descriptor)
            for part in work():
                with open(writer, "wb", closefd=False) as pipe:
                    pipe.write(part)
        finally:
            os._exit(0)
    os.close(writer)
    try:
        return _read(reader, time.monotonic() + patience_s)
    finally:
        os.close(reader)
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _read(reader: int, deadline: float) -> bytes:
    import select

    parts = []
    while (left := deadline - time.monotonic()) > 0 and select.select([reader], [], [], left)[0]:
        part = os.read(reader, 65536)
        if not part:
            return b"".join(parts)
        parts.append(part)
    return b""
