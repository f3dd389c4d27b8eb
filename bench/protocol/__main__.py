"""The command: `python -m bench.protocol` prints the figures as Markdown; `--output` writes them to a file, too."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import click
import uvloop

from bench import machine
from bench.protocol import work
from bench.protocol.rooms import ADMIN, Room, chain_of, differ, found, member, signed_messages
from ranvier.protocol import unpadded_base64
from ranvier.protocol.events import Event

TREE = Path(__file__).parents[2]
SYNAPSE = TREE / ".cache" / "synapse" / "bin" / "python"
AUTHORISED = ("message", "join", "kick", "power levels")
RESOLVED = ("11", "12")


def to_authorise() -> dict[str, tuple[Event, Room]]:
    """Events and a room of 60 that allows each."""
    cases = {}
    user, moderator = member(30), member(3)
    room = found("11", 60)
    cases["message"] = (_message(room, user), room)
    for name, key, sender, content in (
        ("join", "@new:two.example", "@new:two.example", {"membership": "join"}),
        ("kick", user, moderator, {"membership": "leave"}),
    ):
        cases[name] = (room.copy().put("m.room.member", key, sender, content), room)
    levels = room.state["m.room.power_levels", ""].content
    changed = {**levels, "kick": 40}
    cases["power levels"] = (room.copy().put("m.room.power_levels", "", ADMIN, changed), room)
    return cases


def _message(room: Room, sender: str) -> Event:
    event = room.copy().put("m.room.message", "", sender, {"msgtype": "m.text", "body": "Hello"})
    pdu = {key: value for key, value in event.pdu.items() if key != "state_key"}
    return Event(event.event_id, event.room_version, pdu)


def ask_synapse(conflicts_by_version: dict[str, work.Conflict], pdus: Any, keys: Any) -> dict[str, Any]:
    """What Synapse's functions take for the same input."""
    authorised = {}
    for name, (event, room) in to_authorise().items():
        wanted = {
            room.state[key].event_id for key in room.state if room.state[key].event_id in event.auth_events
        }
        state = [kept.pdu for kept in room.state.values() if kept.event_id in wanted]
        authorised[name] = {"version": "11", "event": event.pdu, "state": state}
    resolved = {}
    for version, conflict in conflicts_by_version.items():
        book = conflict.room.events
        sets = [set(state.values()) for state in conflict.cut]
        difference = conflict.index.difference(sets, conflict.agreed)
        subgraph = conflict.index.subgraph(set().union(*sets))
        # In version 12 nothing cites the create event.
        needed = chain_of({next(iter(book))}.union(difference, subgraph, *sets), book)
        resolved[version] = {
            "version": version,
            "room_id": next(iter(book.values())).room_id,
            "events": {event_id: book[event_id].pdu for event_id in book if event_id in needed},
            "states": [[[*key, event_id] for key, event_id in state.items()] for state in conflict.states],
            "difference": sorted(difference),
            "subgraph": sorted(subgraph),
        }
    public = {name: unpadded_base64.encode(key.public) for name, key in keys.items()}
    run = subprocess.run(
        [str(SYNAPSE), "-m", "synapse_side"],
        input=json.dumps(
            {"authorise": authorised, "resolve": resolved, "verify": {"pdus": pdus, "keys": public}}
        ),
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
    )
    if run.returncode:
        raise click.ClickException(run.stderr)
    answer: dict[str, Any] = json.loads(run.stdout)
    return answer


def check_agreement(conflict: work.Conflict, theirs: list[list[str]]) -> None:
    """Both resolve to the same, or the figures are worth nothing."""
    changes = conflict.resolve()
    ours = {(*key, id_) for key, id_ in changes.items() if id_ and conflict.states[0].get(key) != id_}
    if ours != {tuple(entry) for entry in theirs}:
        raise click.ClickException("Synapse resolves the states otherwise.")


@click.command()
@click.option("--members", default=100_000, help="Members of the room whose branches are resolved.")
@click.option("--differing", default=1000, help="Keys on which its two branches differ.")
@click.option("--bulk", default=10_000, help="PDUs that are checked at once.")
@click.option("--output", type=click.Path(path_type=Path), help="A file for the figures.")
def main(members: int, differing: int, bulk: int, output: Path | None) -> None:
    """Measure the protocol floor, beside Synapse if scripts/synapse has installed it."""
    pdus, keys = signed_messages(bulk)
    cases = {version: work.Conflict(*differ(found(version, members), differing)) for version in RESOLVED}
    few = pdus[:500]
    theirs = ask_synapse(cases, few, keys) if SYNAPSE.exists() else None
    lines = ["| CPU of one process | Ranvier | Synapse | goal |", "| --- | --- | --- | --- |"]

    def row(name: str, ours: float, synapse: float | None, unit: str, goal: str) -> None:
        scale = {"µs": 1e6, "ms": 1e3}[unit]
        other = "" if synapse is None else f"{synapse * scale:.1f} {unit}"
        lines.append(f"| {name} | {ours * scale:.1f} {unit} | {other} | {goal} |")
        click.echo(lines[-1])

    for name, (event, room) in to_authorise().items():
        wanted = {key: kept for key, kept in room.state.items() if kept.event_id in event.auth_events}
        goal = "5 µs" if name == "message" else "15 µs"
        row(
            f"authorise: {name}",
            work.authorise(event, wanted),
            theirs and theirs["authorise"][name],
            "µs",
            goal,
        )
    for version, conflict in cases.items():
        seconds = None
        if theirs is not None:
            seconds, changes = theirs["resolve"][version]
            check_agreement(conflict, changes)
        name = f"resolve {conflict.keys:,} of {len(conflict.states[0]):,}, room version {version}"
        row(name, work.least(conflict.resolve, 1), seconds, "ms", "100 ms")
        click.echo(
            f"  (index rows read: {conflict.rows():,}; comparing whole states: {conflict.compare():.3f} s)"
        )
    row(
        "parse, check, name, verify and hash a PDU",
        work.check_pdus(few, keys),
        theirs and theirs["verify"],
        "µs",
        "70 µs",
    )
    row("of it verifying the signature alone", work.verify_signature(few[0], keys), None, "µs", "")
    seconds, cpu, lags = uvloop.run(work.check_in_bulk(pdus, keys))
    median, late, latest = (lags[int((len(lags) - 1) * part)] * 1000 for part in (0.5, 0.99, 1))
    lines += [
        "",
        f"{bulk:,} PDUs in bulk: {seconds:.2f} s, {cpu / seconds:.2f} cores, {cpu / bulk * 1e6:.0f} µs of CPU each; "
        f"the loop was late by {median:.1f} ms (median), {late:.1f} ms (99 %), {latest:.1f} ms (at most).",
    ]
    click.echo(lines[-1])
    if output is not None:
        facts = machine.describe(TREE, TREE)
        on = f"{facts['processor']}, {facts['cores']} cores, Python {facts['python']}, commit {facts['commit']}"
        head = f"`python -m bench.protocol` on {on}; "
        load = f"load of the machine {os.getloadavg()[0]:.1f} when it ended."
        output.write_text(
            "\n".join(["# The protocol floor", "", head + load, "", *lines, ""]), encoding="utf-8"
        )


if __name__ == "__main__":
    main()
