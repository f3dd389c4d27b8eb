"""The command: `python -m tests.mutation` makes mutants, runs the tests against each, and names those that survive.

What was tried is kept in a journal, so a run that was stopped goes on where it was. With more histories than the twelve
that the tests draw of each room version here (`RANVIER_TEST_HISTORIES=300`), those that survived are tried again.
"""

import json
import random
import sys
import time
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import click
from tests.mutation.mutants import Mutant, mutants_of
from tests.mutation.trying import KILLED, TREE, UNTESTED, Collected, histories, with_collected

AUTH_TESTS = (
    "test_auth_selection.py",
    "test_auth_rules.py",
    "test_auth_membership.py",
    "test_auth_power_levels.py",
    "test_join_rules.py",
    "test_membership_events.py",
)
RESOLUTION_TESTS = ("test_resolved_rooms.py", "test_state_resolution.py")
TARGETS = {
    "auth_rules": AUTH_TESTS,
    "auth_membership": AUTH_TESTS,
    "auth_power_levels": AUTH_TESTS,
    "auth_selection": AUTH_TESTS,
    "state_resolution": RESOLUTION_TESTS,
    "state_resolution_v1": RESOLUTION_TESTS,
    "state_resolution_v2": RESOLUTION_TESTS,
    "auth_chains": ("test_resolved_rooms.py", "test_auth_chains.py"),
}
ACCEPTED = Path(__file__).with_name("accepted.txt")
"""Survivors that change nothing that anybody could see, one a line as `name_of` tells them."""
JOURNAL = TREE / ".cache" / "mutation.jsonl"


class Journal:
    """The outcomes of mutants that were tried, by what they are and by the tests that tried them."""

    def __init__(self, path: Path, *, anew: bool) -> None:
        self._path = path
        self._outcomes: dict[str, str] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not anew:
            entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            self._outcomes = {entry["of"]: entry["outcome"] for entry in entries}

    def outcome(self, module: str, mutant: Mutant) -> str | None:
        """What became of it, if it was tried and may be relied on.

        One that was killed stays dead; a survivor is tried again when a test was changed, or more histories are drawn.
        """
        name = _digest(module, mutant.source)
        killed = self._outcomes.get(name)
        return killed if killed is not None else self._outcomes.get(_again(name, module))

    def add(self, module: str, mutant: Mutant, outcome: str) -> None:
        """Keep an outcome."""
        name = _digest(module, mutant.source)
        if outcome != KILLED:
            name = _again(name, module)
        self._outcomes[name] = outcome
        told = {"of": name, "outcome": outcome, "line": mutant.line, "mutant": name_of(module, mutant)}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(told) + "\n")


def _digest(*texts: str) -> str:
    return sha256("\0".join(texts).encode()).hexdigest()[:24]


def _again(name: str, module: str) -> str:
    texts = [(TREE / "tests" / "protocol" / test).read_text(encoding="utf-8") for test in TARGETS[module]]
    return _digest(name, histories(), *texts)


def name_of(module: str, mutant: Mutant) -> str:
    """A mutant, told without its line, which moves."""
    return f"{module}: {_short(mutant.before)} -> {_short(mutant.after)}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) < 110 else line[:107] + "..."


def try_all(
    collected: Collected,
    modules: Sequence[str],
    waiting: Sequence[tuple[str, Mutant]],
    journal: Journal,
    end: float,
) -> None:
    """Try mutants of modules that share their tests, until the time is over."""
    traced = collected.trace(modules)
    if traced is None:
        raise click.ClickException(f"The tests of {', '.join(modules)} fail without any change.")
    accepted = set(ACCEPTED.read_text(encoding="utf-8").splitlines())
    for module, mutant in waiting:
        if time.monotonic() > end:
            return
        function = (module, mutant.function)
        tests = sorted((test.seconds, test.place) for test in traced if function in test.functions)
        outcome = UNTESTED
        if tests:
            changed = compile(mutant.source, f"{module}.py", "exec")
            outcome = collected.outcome(module, changed, [place for _, place in tests])
        journal.add(module, mutant, outcome)
        if outcome != KILLED:
            new = "" if name_of(module, mutant) in accepted else " (new)"
            click.echo(f"{outcome}{new}: line {mutant.line} of {name_of(module, mutant)}")


def report(mutants: dict[str, list[Mutant]], journal: Journal) -> tuple[str, set[str]]:
    """The figures and the survivors, as Markdown; and the survivors' names."""
    lines = ["| module | mutants | tried | survived |", "| --- | --- | --- | --- |"]
    left: dict[str, list[Mutant]] = {}
    for module, of_module in mutants.items():
        outcomes = {mutant: journal.outcome(module, mutant) for mutant in of_module}
        left[module] = [mutant for mutant, outcome in outcomes.items() if outcome not in {None, KILLED}]
        tried = sum(outcome is not None for outcome in outcomes.values())
        lines.append(f"| {module} | {len(of_module)} | {tried} | {len(left[module])} |")
    for module, survivors in left.items():
        lines += ["", f"## {module}", ""] if survivors else []
        lines += [f"- line {m.line}: `{_short(m.before)}` became `{_short(m.after)}`" for m in survivors]
    names = {name_of(module, mutant) for module, survivors in left.items() for mutant in survivors}
    return "\n".join(lines) + "\n", names


@click.command()
@click.option("--minutes", default=60.0, help="After this time no further mutant is tried.")
@click.option("--only", multiple=True, type=click.Choice(list(TARGETS)), help="Modules; all without it.")
@click.option("--output", type=click.Path(path_type=Path), help="A file for the report.")
@click.option(
    "--journal", "path", type=click.Path(path_type=Path), default=JOURNAL, help="What was tried already."
)
@click.option("--anew", is_flag=True, help="Try what the journal says was tried, too.")
@click.option("--seed", default=1, help="Where time is short, chance chooses the mutants.")
def main(minutes: float, only: Sequence[str], output: Path | None, path: Path, anew: bool, seed: int) -> None:
    """Try mutants of the authorisation rules and of state resolution.

    The exit status says whether one survived that is not accepted.
    """
    end = time.monotonic() + minutes * 60
    journal = Journal(path, anew=anew)
    mutants = {
        name: list(
            mutants_of((TREE / "src" / "ranvier" / "protocol" / f"{name}.py").read_text(encoding="utf-8"))
        )
        for name in only or TARGETS
    }
    for tests in dict.fromkeys(TARGETS[name] for name in mutants):
        modules = [name for name in mutants if TARGETS[name] == tests]
        waiting = [(name, mutant) for name in modules for mutant in mutants[name]]
        waiting = [pair for pair in waiting if journal.outcome(*pair) is None]
        random.Random(seed).shuffle(waiting)
        if waiting and time.monotonic() < end:
            with_collected(
                tests,
                lambda collected, modules=modules, waiting=waiting: try_all(  # type: ignore[misc]
                    collected, modules, waiting, journal, end
                ),
            )
    text, survivors = report(mutants, journal)
    click.echo(text)
    if output is not None:
        output.write_text(text, encoding="utf-8")
    sys.exit(bool(survivors - set(ACCEPTED.read_text(encoding="utf-8").splitlines())))


if __name__ == "__main__":
    main()
