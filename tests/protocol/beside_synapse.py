"""Chance histories of rooms of all versions, their states resolved here and by Synapse's own resolver.

`python -m tests.protocol.beside_synapse --histories N --seed S` compares N histories of each room version and prints
what was compared; `--output` writes it to a file.
"""

import json
import os
import random
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

import click
import pytest
from tests.protocol import naive_state_resolution as naive
from tests.protocol.resolving import resolve
from tests.protocol.room_histories import History
from tests.protocol.room_script import ALL_VERSIONS

from ranvier.protocol.room_versions import StateResolution
from ranvier.protocol.state_resolution import StateMap

TREE = Path(__file__).parents[2]
CASES = 8
"""Resolutions for each history."""


def synapse_python() -> str:
    """The Python that has Synapse; who asks is skipped if it is not installed."""
    candidates = [os.environ.get("RANVIER_TEST_SYNAPSE_PYTHON", "")]
    candidates += [str(TREE / ".cache" / name / "bin" / "python") for name in ("synapse-clients", "synapse")]
    for candidate in candidates:
        if candidate and Path(candidate).exists():
            return candidate
    pytest.skip("Synapse is not installed (scripts/synapse)")


@dataclass
class Tally:
    """What was compared. `changed` resolutions came to none of the states that went in; in those of `by_rejected`
    Synapse differs by its rule on rejected events, and by nothing else.
    """

    histories: int = 0
    events: int = 0
    rejected: int = 0
    resolutions: int = 0
    changed: int = 0
    by_rejected: int = 0

    def add(self, other: "Tally") -> None:
        """Count what the other counted, too."""
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))


class Resolver:
    """Synapse's resolver, in a process of its own."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def resolve(self, history: History, cases: list[list[StateMap]]) -> list[StateMap]:
        """The resolved state of each case."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(_as_line(history, cases) + "\n")
        self._process.stdin.flush()
        answers = json.loads(self._process.stdout.readline())
        return [{(type, key): event_id for type, key, event_id in state} for state in answers]


@contextmanager
def resolver(python: str) -> Iterator[Resolver]:
    """Synapse's resolver, as long as it is needed."""
    process = subprocess.Popen(
        [python, str(Path(__file__).with_name("synapse_resolutions.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
    )
    try:
        yield Resolver(process)
    finally:
        process.kill()
        process.communicate()


def compare(synapse: Resolver, version: str, seed: str) -> Tally:
    """Resolve the states of one history on both sides; AssertionError says where they differ."""
    history, cases = _make(random.Random(f"{seed} {version}"), version)
    tally = Tally(1, len(history.events), len(history.rejected), len(cases))
    for states, theirs in zip(cases, synapse.resolve(history, cases), strict=True):
        asked = (history.version, states, history.events)
        ours = resolve(*asked, history.index, history.rejected)
        tally.changed += ours not in states
        if ours != theirs and history.rejected:
            # Against the text, rejected events neither enter Synapse's state nor authorise anything there.
            ours = naive.resolve(*asked, history.rejected, admit_rejected=False)
            tally.by_rejected += 1
        keys = {key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)}
        told = [(key, ours.get(key), theirs.get(key)) for key in keys]
        assert not keys, f"seed {seed}, version {version}: {told}"
    return tally


def _make(chance: random.Random, version: str) -> tuple[History, list[list[StateMap]]]:
    history = History(chance, version, wild=chance.choice([0, 0.15, 0.4]))
    history.grow(chance.choice([6, 20, 40]))
    if history.version.state_resolution is StateResolution.V1:
        # Of them its text says nothing, and Synapse takes the last that is left without letting it authorise others.
        history.rejected.clear()
    elif chance.random() < 0.5:
        history.reject_some()
    return history, [history.some_states(chance.randrange(2, 9)) for _ in range(CASES)]


def _as_line(history: History, cases: Sequence[Sequence[StateMap]]) -> str:
    return json.dumps(
        {
            "version": history.version.identifier,
            "events": {event_id: event.pdu for event_id, event in history.events.items()},
            "rejected": sorted(history.rejected),
            "cases": [
                [[[*key, event_id] for key, event_id in state.items()] for state in states]
                for states in cases
            ],
        }
    )


def as_markdown(by_version: dict[str, Tally]) -> str:
    """A table of what was compared."""
    heads = [
        "histories",
        "events",
        "of them rejected",
        "resolutions",
        "changed the state",
        "differ by rejected",
    ]
    lines = ["| version | " + " | ".join(heads) + " |", "| --- |" + " --- |" * len(heads)]
    total = Tally()
    for tally in by_version.values():
        total.add(tally)
    for version, tally in [*by_version.items(), ("all", total)]:
        figures = " | ".join(f"{getattr(tally, one.name):,}" for one in fields(tally))
        lines.append(f"| {version} | {figures} |")
    return "\n".join(lines) + "\n"


@click.command()
@click.option("--histories", default=200, help="Histories of each room version.")
@click.option("--seed", default="1", help="Where chance begins.")
@click.option("--minutes", default=600.0, help="After this time no further round of all versions is begun.")
@click.option("--output", type=click.Path(path_type=Path), help="A file for what was compared.")
def main(histories: int, seed: str, minutes: float, output: Path | None) -> None:
    """Compare resolutions with Synapse's at length. A difference ends it, with what is needed to see it again."""
    end = time.monotonic() + minutes * 60
    by_version = {version: Tally() for version in ALL_VERSIONS}
    with resolver(synapse_python()) as synapse:
        for number in range(histories):
            if time.monotonic() > end:
                break
            for version, tally in by_version.items():
                tally.add(compare(synapse, version, f"{seed} {number}"))
            if output is not None:
                output.write_text(as_markdown(by_version), encoding="utf-8")
    click.echo(as_markdown(by_version))


if __name__ == "__main__":
    main()
