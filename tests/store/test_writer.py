"""What callers of the writer can rely on."""

import asyncio

import pytest

from ranvier.store import log
from ranvier.store.database import Database, Entry, Transaction
from ranvier.store.log import Kind, Tail
from ranvier.store.writer import Writer


def _remember(name: str, value: str):
    async def write(transaction: Transaction) -> str:
        await transaction.insert("meta", "name, value", [(name, value)])
        transaction.announce(Entry(Kind.PROFILE, "*", name))
        return value

    return write


async def test_what_was_answered_is_in_the_database_and_in_the_log(
    database: Database, writer: Writer, tail: Tail
):
    assert await writer.run(_remember("colour", "blue")) == "blue"
    assert await database.fetch_value("SELECT value FROM meta WHERE name = $1", "colour") == "blue"
    entries = await log.read(database, ["*"], 0, tail.tip)
    assert [entry.ref for entry in entries] == ["colour"]
    assert tail.tip == entries[-1].position


async def test_operations_that_arrive_together_share_commits(writer: Writer):
    await asyncio.gather(*(writer.run(_remember(f"k{i}", str(i))) for i in range(100)))
    assert writer.operations == 100
    assert writer.batches < 10


async def test_a_failing_operation_fails_alone(database: Database, writer: Writer):
    async def fail(transaction: Transaction) -> None:
        await transaction.insert("meta", "name, value", [("half", "done")])
        transaction.announce(Entry(Kind.PROFILE, "*", "half"))
        raise KeyError("mine")

    good = [writer.run(_remember(f"k{i}", "x")) for i in range(5)]
    outcomes = await asyncio.gather(*good, writer.run(fail), return_exceptions=True)
    assert outcomes[:5] == ["x"] * 5
    assert isinstance(outcomes[5], KeyError)
    assert await database.fetch_value("SELECT COUNT(*) FROM meta WHERE name = 'half'") == 0
    assert await database.fetch_value("SELECT COUNT(*) FROM meta WHERE value = 'x'") == 5
    assert await database.fetch_value("SELECT COUNT(*) FROM log WHERE ref = 'half'") == 0


async def test_positions_rise_without_gaps_or_repeats(database: Database, writer: Writer, tail: Tail):
    await asyncio.gather(*(writer.run(_remember(f"k{i}", "x")) for i in range(300)))
    rows = await database.fetch("SELECT position FROM log ORDER BY position")
    positions = [row[0] for row in rows]
    assert positions == list(range(positions[0], positions[0] + 300))
    assert [entry.position for entry in tail.between(0, tail.tip)] == positions


async def test_a_caller_that_goes_away_does_not_take_its_operation_with_it(
    database: Database, writer: Writer
):
    task = asyncio.create_task(writer.run(_remember("left", "behind")))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await writer.run(_remember("next", "fine")) == "fine"
    assert await database.fetch_value("SELECT value FROM meta WHERE name = 'left'") == "behind"


async def test_a_list_matches_any_of_its_members(database: Database, writer: Writer):
    await asyncio.gather(*(writer.run(_remember(f"k{i}", str(i))) for i in range(10)))
    rows = await database.fetch(
        "SELECT value FROM meta WHERE name = ANY($1) ORDER BY value", ["k1", "k7", "none"]
    )
    assert [row[0] for row in rows] == ["1", "7"]
