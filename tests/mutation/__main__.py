"""The command: `python -m tests.mutation` makes mutants, runs the tests against each, and names those that survive.

Each mutant gets a process of its own, forked from one that has imported everything but Ranvier; there the module is
compiled from the changed source, and the tests run until the first that fails.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import hypothesis
import pytest
from tests.mutation.mutants import Mutant, mutants_of

TREE = Path(__file__).parents[2]
AUTH_TESTS = (
    "test_auth_selection.py",
    "test_auth_rules.py",
    "test_auth_membership.py",
    "test_auth_power_levels.py",
    "test_join_rules.py",
    "test_membership_events.py",
)
RESOLUTION_TESTS = ("test_resolved_rooms.py", "test_auth_chains.py", "test_state_resolution.py")
TARGETS: dict[str, tuple[str, ...]] = {
    "auth_rules": AUTH_TESTS,
    "auth_membership": AUTH_TESTS,
    "auth_power_levels": AUTH_TESTS,
    "auth_selection": AUTH_TESTS,
    "state_resolution": RESOLUTION_TESTS,
    "state_resolution_v1": RESOLUTION_TESTS,
    "state_resolution_v2": RESOLUTION_TESTS,
    "auth_chains": RESOLUTION_TESTS,
}
KILLED, SURVIVED = 1, 0
ACCEPTED = Path(__file__).with_name("accepted.txt")
"""Survivors that change nothing that anybody could see, one a line as `name_of` tells them."""
PATIENCE_S = 240
"""A mutant that keeps the tests busy for longer runs in a circle, and counts as killed."""


class _Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from a source that is not its file's."""

    def __init__(self, name: str, path: Path, source: str) -> None:
        self.name, self.path, self.source = name, path, source

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Ours, if it is asked for."""
        if fullname != self.name:
            return None
        return importlib.util.spec_from_loader(fullname, self, origin=str(self.path))

    def exec_module(self, module: ModuleType) -> None:
        """Run the changed source."""
        exec(compile(self.source, str(self.path), "exec"), module.__dict__)


def run_tests(name: str, source: str, tests: Sequence[str]) -> int:
    """In a process of its own: whether the tests notice."""
    child = os.fork()
    if child:
        return _outcome(child)
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    outcome = KILLED
    try:
        path = TREE / "src" / "ranvier" / "protocol" / f"{name}.py"
        sys.meta_path.insert(0, _Changed(f"ranvier.protocol.{name}", path, source))
        os.environ["RANVIER_TEST_HISTORIES"] = "12"
        hypothesis.settings.register_profile(
            "few", max_examples=15, derandomize=True, deadline=None, database=None
        )
        hypothesis.settings.load_profile("few")
        files = [str(TREE / "tests" / "protocol" / test) for test in tests]
        status = pytest.main(
            ["-x", "-q", "-p", "no:cacheprovider", "--noconftest", "-c", str(TREE / "pyproject.toml"), *files]
        )
        outcome = SURVIVED if status == 0 else KILLED
    finally:
        os._exit(outcome)


def _outcome(child: int) -> int:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return KILLED


def report(done: dict[str, tuple[int, list[Mutant]]], total: dict[str, int]) -> str:
    """The figures and the survivors, as Markdown."""
    lines = ["| module | mutants | tried | survived |", "| --- | --- | --- | --- |"]
    lines += [f"| {name} | {total[name]} | {tried} | {len(left)} |" for name, (tried, left) in done.items()]
    for name, (_, survivors) in done.items():
        lines += ["", f"## {name}", ""] if survivors else []
        lines += [f"- line {m.line}: `{_short(m.before)}` became `{_short(m.after)}`" for m in survivors]
    return "\n".join(lines) + "\n"


def name_of(module: str, mutant: Mutant) -> str:
    """A mutant, told without its line, which moves."""
    return f"{module}: {_short(mutant.before)} -> {_short(mutant.after)}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) < 110 else line[:107] + "..."


@click.command()
@click.option("--minutes", default=60.0, help="After this time no further mutant is tried.")
@click.option("--only", multiple=True, type=click.Choice(list(TARGETS)), help="Modules; all without it.")
@click.option("--output", type=click.Path(path_type=Path), help="A file for the report.")
@click.option("--seed", default=1, help="Where time is short, chance chooses the mutants.")
def main(minutes: float, only: Sequence[str], output: Path | None, seed: int) -> None:
    """Try mutants of the authorisation rules and of state resolution.

    The exit status says whether one survived that is not accepted.
    """
    deadline = time.monotonic() + minutes * 60
    waiting: list[tuple[str, Mutant]] = []
    done: dict[str, tuple[int, list[Mutant]]] = {}
    total: dict[str, int] = {}
    passed: set[tuple[str, ...]] = set()
    for name in only or TARGETS:
        source = (TREE / "src" / "ranvier" / "protocol" / f"{name}.py").read_text(encoding="utf-8")
        if TARGETS[name] not in passed and run_tests(name, source, TARGETS[name]) != SURVIVED:
            raise click.ClickException(f"The tests of {name} fail without any change.")
        passed.add(TARGETS[name])
        mutants = list(mutants_of(source))
        waiting += [(name, mutant) for mutant in mutants]
        done[name], total[name] = (0, []), len(mutants)
    random.Random(seed).shuffle(waiting)
    accepted = set(ACCEPTED.read_text(encoding="utf-8").splitlines())
    for name, mutant in waiting:
        if time.monotonic() > deadline:
            break
        outcome = run_tests(name, mutant.source, TARGETS[name])
        tried, survivors = done[name]
        if outcome == SURVIVED:
            survivors.append(mutant)
            new = "" if name_of(name, mutant) in accepted else " (new)"
            click.echo(f"survived{new}: line {mutant.line} of {name_of(name, mutant)}")
        done[name] = (tried + 1, survivors)
    for _, survivors in done.values():
        survivors.sort()
    text = report(done, total)
    click.echo(text)
    if output is not None:
        output.write_text(text, encoding="utf-8")
    named = {name_of(name, mutant) for name, (_, survivors) in done.items() for mutant in survivors}
    sys.exit(bool(named - accepted))


def imported_before_the_fork() -> list[Any]:
    """What every mutant's process would import anew otherwise."""
    import hypothesis.strategies
    import immutables
    import msgspec
    import nacl.bindings
    import orjson

    return [hypothesis.strategies, immutables, msgspec, nacl.bindings, orjson]


if __name__ == "__main__":
    imported_before_the_fork()
    main()
