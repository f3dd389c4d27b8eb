"""Writers of several processes on one PostgreSQL: what one reads before it writes, no other changes in between."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.conftest import PostgresDatabases

from ranvier.store import log
from ranvier.store.database import Database, Entry, Transaction
from ranvier.store.log import Kind, Tail
from ranvier.store.neighbours import Neighbours
from ranvier.store.postgres import PostgresDatabase
from ranvier.store.tailing import Tailing
from ranvier.store.writer import Writer


class Process:
    """The store of one process: it is never alone, and hears nothing but by asking."""

    def __init__(self, database: Database, tail: Tail) -> None:
        self.database = database
        self.heard: list[str] = []
        self.neighbours = Neighbours(database, "one", [])
        self.tailing = Tailing(
            database, tail, lambda entries: self.heard.extend(one.ref for one in entries), self.neighbours
        )
        self.writer = Writer(database, self.tailing)


@pytest.fixture
async def processes(postgres_databases: PostgresDatabases) -> AsyncIterator[list[Process]]:
    """Three of them."""
    name = await postgres_databases.make()
    made = []
    for _ in range(3):
        database = await PostgresDatabase.connect(
            host=postgres_databases.folder, user="postgres", database=name
        )
        made.append(Process(database, Tail(await log.read_tip(database))))
    for process in made:
        await process.neighbours.start()
    for process in made:
        await process.neighbours.until_counted()
        process.writer.start()
    yield made
    for process in made:
        await process.writer.stop()
        await process.neighbours.stop()
        await process.database.close()


async def _count(transaction: Transaction) -> None:
    value = int(await transaction.fetch_value("SELECT value FROM meta WHERE name = 'count'") or 0)
    await transaction.insert(
        "meta", "name, value", [("count", str(value + 1))], "(name) DO UPDATE SET value = excluded.value"
    )
    transaction.announce(Entry(Kind.PROFILE, "*", str(value + 1)))


async def test_nothing_is_lost_that_several_read_change_and_write(processes: list[Process]):
    await asyncio.gather(*(process.writer.run(_count) for _ in range(40) for process in processes))
    database = processes[0].database
    assert await database.fetch_value("SELECT value FROM meta WHERE name = 'count'") == "120"
    for process in processes:
        await process.tailing.confirm()
        assert process.heard == [str(number) for number in range(1, 121)]


async def test_one_that_is_stopped_in_its_turn_does_not_hold_the_others_up_for_long(processes: list[Process]):
    stopped, other = processes[:2]
    is_in_turn = asyncio.Event()
    attempts = 0

    async def stop(transaction: Transaction) -> None:
        nonlocal attempts
        attempts += 1
        await transaction.fetch_value("SELECT 1")
        if attempts == 1:
            is_in_turn.set()
            await asyncio.sleep(30)
        await _count(transaction)

    stopping = asyncio.create_task(stopped.writer.run(stop))
    await is_in_turn.wait()
    await asyncio.wait_for(other.writer.run(_count), 20)
    await stopping
    assert await other.database.fetch_value("SELECT value FROM meta WHERE name = 'count'") == "2"
