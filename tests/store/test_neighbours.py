"""What processes that share a PostgreSQL can rely on from each other's rows."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.conftest import PostgresDatabases

from ranvier.store.database import Database
from ranvier.store.neighbours import SOLITUDE_S, Neighbours, read_processes
from ranvier.store.postgres import PostgresDatabase
from ranvier.store.sqlite import SqliteDatabase


@pytest.fixture
async def shared(postgres_databases: PostgresDatabases) -> AsyncIterator[Database]:
    """A PostgreSQL database."""
    name = await postgres_databases.make()
    made = await PostgresDatabase.connect(host=postgres_databases.folder, user="postgres", database=name)
    yield made
    await made.close()


class Clock:
    """Seconds that pass as a test says, besides those that do."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        """The time."""
        return asyncio.get_running_loop().time() + self.ahead


async def test_a_process_without_others_is_alone_and_is_counted_at_once(shared: Database):
    first = Neighbours(shared, "main", ["clients"])
    await first.start()
    assert first.alone()
    assert first.is_counted()
    assert [one.instance for one in first.alive()] == ["main"]
    await first.stop()
    assert not first.alone()
    assert await read_processes(shared) == []


async def test_a_newcomer_is_counted_once_the_other_has_given_up_its_solitude(shared: Database):
    first = Neighbours(shared, "a", [])
    await first.start()
    second = Neighbours(shared, "b", ["clients", "media"])
    changes: list[set[str]] = []
    first.when_changed(lambda: changes.append({one.instance for one in first.alive()}))
    await second.start()
    assert not second.alone()
    assert not second.is_counted()
    await asyncio.wait_for(second.until_counted(), SOLITUDE_S)
    assert not first.alone()
    assert changes == [{"a", "b"}]
    assert [one.id for one in first.alive()] == [one.id for one in second.alive()]
    assert {one.instance: one.roles for one in first.alive()}["b"] == {"clients", "media"}
    await second.stop()
    await first.stop()


async def test_a_newcomer_beside_one_that_is_stopped_is_counted_when_that_one_relies_on_memory_no_more(
    shared: Database,
):
    stopped = Neighbours(shared, "stopped", [])
    await stopped.beat()
    assert stopped.alone()
    newcomer = Neighbours(shared, "newcomer", [])
    await newcomer.start()
    await asyncio.wait_for(newcomer.until_counted(), 2 * SOLITUDE_S)
    assert not stopped.alone()
    await newcomer.stop()


async def test_one_that_was_stopped_for_long_answers_nobody_before_it_was_seen_again(shared: Database):
    clock = Clock()
    stopped = Neighbours(shared, "stopped", [], clock=clock)
    await stopped.beat()
    clock.ahead = 5.0
    assert not stopped.alone()
    assert not stopped.is_counted()
    other = Neighbours(shared, "other", [])
    await other.start()
    await stopped.start()
    assert not stopped.is_counted()
    await asyncio.wait_for(stopped.until_counted(), SOLITUDE_S)
    await stopped.stop()
    await other.stop()


async def test_nobody_relies_on_memory_before_it_knows_what_the_last_other_had_answered(shared: Database):
    order: list[str] = []
    first, second = Neighbours(shared, "a", []), Neighbours(shared, "b", [])
    await first.beat()
    await second.beat()
    await first.beat()
    assert not first.alone()

    async def catch_up() -> None:
        order.append("alone" if first.alone() else "caught up")

    first.before_solitude(catch_up)
    await second.start()
    await second.stop()
    await first.beat()
    assert order == ["caught up"]
    assert first.alone()


async def test_what_a_process_tells_of_itself_can_be_read(shared: Database):
    first = Neighbours(shared, "a", ["media"])
    first.tell(lambda: {"lag_ms": 3})
    await first.beat()
    rows = await read_processes(shared)
    assert [(row.process.instance, row.is_alive, row.figures) for row in rows] == [("a", True, {"lag_ms": 3})]
    assert rows[0].silent_s < 1


async def test_on_sqlite_a_process_is_always_alone(tmp_path):
    database = SqliteDatabase(tmp_path / "ranvier.db")
    only = Neighbours.solitary(database)
    await only.start()
    assert only.alone()
    assert only.is_counted()
    assert [one.id for one in only.alive()] == [only.me]
    await only.stop()
    await database.close()
