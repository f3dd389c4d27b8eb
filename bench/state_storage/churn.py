"""`python -m bench.state_storage.churn`: a room whose members come and go, and what is said in between.

Counts bytes on PostgreSQL for keeping the state before every event: the store's lines, and Synapse's state groups,
whose tables are made here after their published description and filled by the rule that makes them: a group for each
state event, told as a delta of the one before it until a chain is 100 long, then whole.
"""

import asyncio
import random
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from bench.state_storage.__main__ import opened, size_of, vacuum
from bench.state_storage.histories import MEMBER, Key
from ranvier.store import state
from ranvier.store.database import Database, Transaction

HOPS = 100
BATCH = 500
LINES = ("state_lines", "state_changes", "state_of_events")
GROUPS = ("state_groups", "state_group_edges", "state_groups_state", "event_to_state_groups")
# What the store keeps of an event's state are two columns of the event's row: what they add to a row is measured.
LINES_SCHEMA = (
    "CREATE TABLE events_alone (event BIGINT NOT NULL)",
    "CREATE TABLE state_of_events (event BIGINT NOT NULL, line BIGINT NOT NULL, version BIGINT NOT NULL)",
)
GROUPS_SCHEMA = (
    "CREATE TABLE state_groups (id BIGINT PRIMARY KEY, room_id TEXT NOT NULL, event_id TEXT NOT NULL)",
    "CREATE INDEX state_groups_room_id_idx ON state_groups (room_id)",
    "CREATE TABLE state_group_edges (state_group BIGINT NOT NULL, prev_state_group BIGINT NOT NULL)",
    "CREATE INDEX state_group_edges_prev_idx ON state_group_edges (prev_state_group)",
    "CREATE UNIQUE INDEX state_group_edges_unique_idx ON state_group_edges (state_group, prev_state_group)",
    "CREATE TABLE state_groups_state (state_group BIGINT NOT NULL, room_id TEXT NOT NULL, type TEXT NOT NULL, "
    "state_key TEXT NOT NULL, event_id TEXT NOT NULL)",
    "CREATE INDEX state_groups_state_type_idx ON state_groups_state (state_group, type, state_key)",
    "CREATE TABLE event_to_state_groups (event_id TEXT NOT NULL UNIQUE, state_group BIGINT NOT NULL)",
    "CREATE INDEX event_to_state_groups_sg_index ON event_to_state_groups (state_group)",
)
ROOM = "!abcdefghijklmnopqr:example.org"


@dataclass(frozen=True)
class Size:
    """Bytes for each state event, and for each message."""

    per_state_event: float
    per_message: float
    rows: int


def history(members: int, turns: int, messages: int) -> Iterator[Key | None]:
    """Keys of state events, None for messages: each member comes and goes `turns` times, talk is spread evenly."""
    chance = random.Random(4)
    users = [f"@user{number}:server{number % 50}.example.org" for number in range(members)]
    moves = [(MEMBER, user) for user in users for _ in range(2 * turns)]
    chance.shuffle(moves)
    said = 0
    for number, move in enumerate(moves, 1):
        yield move
        while said < messages * number // len(moves):
            said += 1
            yield None


def event_id(number: int) -> str:
    """As long as those of today's room versions."""
    return f"${number:043d}"


async def fill_lines(database: Database, events: Sequence[Key | None]) -> int:
    """The store's own functions; answers the rows of changes."""
    place = 0

    async def begin(transaction: Transaction) -> None:
        await state.insert_lines(transaction, [(1, 1, None, None)])

    await database.commit(begin)
    for start in range(0, len(events), BATCH):
        changes, kept = [], []
        for number, key in enumerate(events[start : start + BATCH], start):
            kept.append((number, 1, place))
            if key is not None:
                place += 1
                changes.append((1, *key, place, number))

        async def write(transaction: Transaction, changes: Any = changes, kept: Any = kept) -> None:
            await state.insert_changes(transaction, changes)
            await transaction.insert("state_of_events", "event, line, version", kept)
            await transaction.insert("events_alone", "event", [row[:1] for row in kept])

        await database.commit(write)
    return place


async def fill_groups(database: Database, events: Sequence[Key | None]) -> int:
    """State groups; answers the rows of `state_groups_state`."""
    group, length, rows = 0, 0, 0
    current: dict[Key, int] = {}
    for start in range(0, len(events), BATCH):
        groups: list[Any] = []
        edges: list[Any] = []
        states: list[Any] = []
        kept: list[Any] = []
        for number, key in enumerate(events[start : start + BATCH], start):
            if key is not None:
                current[key] = number
                group += 1
                groups.append((group, ROOM, event_id(number)))
                length = 0 if length >= HOPS or group == 1 else length + 1
                told = current if length == 0 else {key: number}
                states += [(group, ROOM, *each, event_id(value)) for each, value in told.items()]
                if length:
                    edges.append((group, group - 1))
            kept.append((event_id(number), max(group, 1)))
        rows += len(states)

        async def write(
            transaction: Transaction,
            groups: Any = groups,
            edges: Any = edges,
            states: Any = states,
            kept: Any = kept,
        ) -> None:
            await transaction.insert("state_groups", "id, room_id, event_id", groups)
            await transaction.insert("state_group_edges", "state_group, prev_state_group", edges)
            await transaction.insert(
                "state_groups_state", "state_group, room_id, type, state_key, event_id", states
            )
            await transaction.insert("event_to_state_groups", "event_id, state_group", kept)

        await database.commit(write)
    return rows


async def measure(events: Sequence[Key | None], folder: Path) -> dict[str, Size]:
    """Both on PostgreSQL, as they grow, after an ordinary vacuum."""
    moves = sum(key is not None for key in events)
    sizes: dict[str, Size] = {}
    async with opened("postgres", folder) as make:
        for name, tables, made, by_event, fill in (
            ("Ranvier: lines", LINES, LINES_SCHEMA, LINES[2:], fill_lines),
            ("Synapse: state groups", GROUPS, GROUPS_SCHEMA, GROUPS[3:], fill_groups),
        ):
            database = await make(name.partition(":")[0].lower())
            await database.run_script(made)
            before = await size_of(database, tables)
            rows = await fill(database, events)
            await vacuum(database, tables, pack=False)
            by_events = await size_of(database, by_event)
            by_state = await size_of(database, tables) - before - by_events
            if fill is fill_lines:
                by_events -= await size_of(database, ["events_alone"])
            sizes[name] = Size(by_state / moves, by_events / len(events), rows)
    return sizes


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--members", default=1_000, show_default=True)
@click.option("--turns", default=1, show_default=True, help="How often each member comes and goes.")
@click.option("--messages", default=100_000, show_default=True)
def main(members: int, turns: int, messages: int) -> None:
    """Bytes for each state event and message, beside Synapse's tables."""
    events = list(history(members, turns, messages))
    with tempfile.TemporaryDirectory(prefix="bench-state-") as folder:
        Path(folder).chmod(0o711)
        sizes = asyncio.run(measure(events, Path(folder)))
    print(f"{members} members come and go {turns} times, {messages} messages; PostgreSQL, with indexes")
    print(f"{'':24}{'bytes a state event':>22}{'bytes an event':>18}{'rows of state':>16}")
    for name, size in sizes.items():
        print(f"{name:24}{size.per_state_event:>22,.0f}{size.per_message:>18,.0f}{size.rows:>16,}")
    ours, theirs = sizes.values()
    state_ratio = theirs.per_state_event / ours.per_state_event
    event_ratio = theirs.per_message / ours.per_message
    print(
        f"{state_ratio:.1f} times less for a state event, {event_ratio:.1f} times less for the state of any event"
    )


if __name__ == "__main__":
    main()
