"""The command: `python -m bench.state_storage` prints one table for each database and history."""

import asyncio
import contextlib
import os
import random
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from bench.postgresql import DATABASE_USER, Cluster
from bench.state_storage.histories import HISTORIES, MEMBER, Key, Step
from bench.state_storage.lines import Lines
from bench.state_storage.structures import Deltas, State, Structure, row_count_by_synapse
from bench.state_storage.tree import Tree
from ranvier.store import schema
from ranvier.store.database import Database, Transaction
from ranvier.store.postgres import PostgresDatabase
from ranvier.store.sqlite import SqliteDatabase

STRUCTURES: dict[str, Callable[[], Structure]] = {
    "lines": Lines,
    "tree16": lambda: Tree(16),
    "tree32": lambda: Tree(32),
    "deltas": Deltas,
}
BATCH = 32
LOOK_UPS = 200
MANY_KEYS = 50
WHOLE_READS = 7


@dataclass(frozen=True)
class Figures:
    """Bytes as they grew and packed, for each state event of the room's founding and of what came later; times."""

    founding: float
    grown: float
    packed: float
    append_us: float
    one_us: float
    many_us: float
    whole_ms: float

    def row(self) -> str:
        sizes = f"{self.founding:6.0f} | {self.grown:6.0f} | {self.packed:6.0f}"
        return f"{sizes} | {self.append_us:6.0f} | {self.one_us:6.0f} | {self.many_us:7.0f} | {self.whole_ms:6.1f}"


@contextlib.asynccontextmanager
async def opened(kind: str, folder: Path) -> AsyncIterator[Callable[[str], "asyncio.Future[Database]"]]:
    """A way to make new databases of a kind, with the newest schema; all are closed at the end."""
    cluster = Cluster(folder / "cluster") if kind == "postgres" else None
    if cluster is not None:
        await asyncio.to_thread(cluster.start)
    made: list[Database] = []

    async def make(name: str) -> Database:
        if cluster is None:
            database: Database = SqliteDatabase(folder / f"{name}.db")
        else:
            await asyncio.to_thread(cluster.create, name)
            database = await PostgresDatabase.connect(
                host=cluster.host, port=cluster.port, user=DATABASE_USER, database=name
            )
        await schema.upgrade(database)
        made.append(database)
        return database

    try:
        yield lambda name: asyncio.ensure_future(make(name))
    finally:
        for database in made:
            await database.close()
        if cluster is not None:
            await asyncio.to_thread(cluster.stop)


async def size_of(database: Database, tables: Sequence[str]) -> int:
    """Bytes of tables and their indexes."""
    if database.dialect == "postgres":
        sizes = [await database.fetch_value(f"SELECT pg_total_relation_size('{table}')") for table in tables]
        return sum(sizes)
    return int(
        await database.fetch_value(
            "SELECT SUM(d.pgsize) FROM dbstat d JOIN sqlite_master m ON m.name = d.name WHERE m.tbl_name = ANY($1)",
            list(tables),
        )
    )


async def vacuum(database: Database, tables: Sequence[str], *, pack: bool) -> None:
    """What the database does by itself over time; or, to pack, the densest form that it knows."""
    if database.dialect == "postgres":
        for table in tables:
            await database.fetch(f"VACUUM {'(FULL, ANALYZE)' if pack else '(ANALYZE)'} {table}")
    elif pack:
        await database.fetch("VACUUM")


async def fill(database: Database, structure: Structure, steps: Sequence[Step], first: int) -> list[float]:
    """Append steps in group commits; answers microseconds for each step, by commit."""
    spent = []
    for start in range(first, len(steps), BATCH):
        part = steps[start : start + BATCH]

        async def write(transaction: Transaction, start: int = start, part: Sequence[Step] = part) -> None:
            await structure.append(transaction, start, part)

        begun = time.perf_counter()
        await database.commit(write)
        spent.append((time.perf_counter() - begun) * 1e6 / len(part))
    return spent


def naive(steps: Sequence[Step], wanted: int) -> State:
    """The state of a step, from its ancestors."""
    state: State = {}
    while wanted >= 0:
        state.setdefault(steps[wanted].key, steps[wanted].event)
        wanted = steps[wanted].parent
    return state


def _typical(times: Sequence[float]) -> float:
    """The lower decile: what the work takes, without what the machine did besides."""
    return sorted(times)[len(times) // 10]


async def measure(database: Database, structure: Structure, steps: Sequence[Step], members: int) -> Figures:
    """Fill a new database and read from it; raises AssertionError where an answer is wrong."""
    if structure.schema:
        await database.run_script(structure.schema)
    founding = members + 3
    await fill(database, structure, steps[:founding], 0)
    await vacuum(database, structure.tables, pack=False)
    before = await size_of(database, structure.tables)
    appended = await fill(database, structure, steps, founding)
    await vacuum(database, structure.tables, pack=False)
    grown = await size_of(database, structure.tables)

    chance = random.Random(4)
    keys = [step.key for step in steps[:founding]]
    places = [chance.randrange(founding, len(steps)) for _ in range(LOOK_UPS)]
    one, many, whole = [], [], []
    for place in places:
        one.append(await _timed(database, structure, steps, place, [chance.choice(keys)]))
    for place in places[:30]:
        many.append(await _timed(database, structure, steps, place, chance.sample(keys, MANY_KEYS)))
    for place in places[:WHOLE_READS]:
        begun = time.perf_counter()
        found = await structure.whole(database, place)
        whole.append((time.perf_counter() - begun) * 1e3)
        assert found == naive(steps, place), f"{structure.name} gives a wrong state"
    await vacuum(database, structure.tables, pack=True)
    packed = await size_of(database, structure.tables)
    further = len(steps) - founding
    return Figures(
        before / founding,
        (grown - before) / further,
        packed / len(steps),
        _typical(appended),
        _typical(one),
        _typical(many),
        _typical(whole),
    )


async def _timed(
    database: Database, structure: Structure, steps: Sequence[Step], place: int, keys: Sequence[Key]
) -> float:
    begun = time.perf_counter()
    found = await structure.look_up(database, place, keys)
    spent = (time.perf_counter() - begun) * 1e6
    state = naive(steps, place)
    assert found == {key: state[key] for key in keys if key in state}, f"{structure.name} finds a wrong event"
    return spent


async def measure_sync(database: Database, lines: Lines, steps: Sequence[Step]) -> str:
    """What a sync asks of the lines: the state without members, and what changed within 20 steps."""
    chance = random.Random(5)
    places = [chance.randrange(len(steps) // 2, len(steps)) for _ in range(60)]
    states, changes = [], []
    for place in places:
        begun = time.perf_counter()
        found = await lines.without_members(database, place)
        states.append((time.perf_counter() - begun) * 1e6)
        whole = naive(steps, place)
        assert found == {key: event for key, event in whole.items() if key[0] != MEMBER}, "a wrong state"
        begun = time.perf_counter()
        told = await lines.changes(database, place - 20, place)
        changes.append((time.perf_counter() - begun) * 1e6)
        before = naive(steps, place - 20)
        assert told == {k: whole.get(k) for k in before | whole if before.get(k) != whole.get(k)}, (
            "wrong changes"
        )
    return (
        f"lines: the state without members {_typical(states):.0f} µs, "
        f"what changed within 20 steps {_typical(changes):.0f} µs"
    )


HEAD = (
    "| structure | founding B/event | later B/event | packed B/event | append µs | 1 key µs "
    f"| {MANY_KEYS} keys µs | whole ms |\n| --- | --- | --- | --- | --- | --- | --- | --- |"
)


async def run(
    kinds: Sequence[str], histories: Sequence[str], names: Sequence[str], members: int, changes: int
) -> None:
    for kind in kinds:
        with tempfile.TemporaryDirectory(prefix="ranvier-state-") as folder:
            os.chmod(folder, 0o755)  # noqa: PTH101 - PostgreSQL runs as another user
            async with opened(kind, Path(folder)) as new_database:
                for history in histories:
                    steps = HISTORIES[history](members, changes)
                    rows = row_count_by_synapse(steps)[members + 3 :]
                    click.echo(f"\n{kind}, {history}: {members} members, {len(rows)} further changes")
                    click.echo(f"state groups by Synapse's rule: {sum(rows) / len(rows):.1f} rows a change")
                    click.echo(HEAD)
                    more: list[str] = []
                    for name in names:
                        structure = STRUCTURES[name]()
                        database = await new_database(f"{history}_{name}")
                        figures = await measure(database, structure, steps, members)
                        click.echo(f"| {structure.name} | {figures.row()} |")
                        if isinstance(structure, Lines):
                            more.append(await measure_sync(database, structure, steps))
                    click.echo("\n".join(more))


@click.command()
@click.option("--database", "kinds", multiple=True, type=click.Choice(["sqlite", "postgres"]))
@click.option("--history", "histories", multiple=True, type=click.Choice(list(HISTORIES)))
@click.option("--structure", "names", multiple=True, type=click.Choice(list(STRUCTURES)))
@click.option("--members", default=10_000, show_default=True)
@click.option("--changes", default=10_000, show_default=True)
def main(
    kinds: tuple[str, ...], histories: tuple[str, ...], names: tuple[str, ...], members: int, changes: int
) -> None:
    """Measure what it costs to keep every state of a room; without options, everything."""
    asyncio.run(
        run(
            kinds or ("sqlite", "postgres"),
            histories or ("straight", "forked"),
            names or tuple(STRUCTURES),
            members,
            changes,
        )
    )


if __name__ == "__main__":
    main()
