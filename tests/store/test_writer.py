"""What callers of the writer can rely on."""

import asyncio
import uuid
from collections.abc import Sequence
from typing import Any

import pytest

from ranvier.store import log
from ranvier.store.database import CommitUnknown, Database, Entry, Transaction
from ranvier.store.log import Kind, Tail
from ranvier.store.tailing import Tailing
from ranvier.store.writer import Work, Writer


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


class _Noting(Work[str, str]):
    """Writes names, and may fail to settle."""

    def __init__(self, *, settles: bool = True) -> None:
        self._settles = settles
        self.writes = 0

    async def write(self, transaction: Transaction, operations: Sequence[str], *, alone: bool) -> list[str]:
        self.writes += 1
        for name in operations:
            await _remember(name, "noted")(transaction)
        return list(operations)

    def settle(self, operations: Sequence[str], results: Sequence[str | Exception]) -> None:
        if not self._settles:
            raise LookupError("a bug")


async def test_a_refusal_undoes_nothing_of_what_other_work_wrote_beside_it(
    database: Database, writer: Writer
):
    async def refuse(transaction: Transaction) -> None:
        await transaction.insert("meta", "name, value", [("refused", "x")])
        raise KeyError("mine")

    noting = _Noting()
    outcomes = await asyncio.gather(
        writer.submit(noting, "beside"), writer.run(refuse), return_exceptions=True
    )
    assert outcomes[0] == "beside"
    assert isinstance(outcomes[1], KeyError)
    assert noting.writes == 1
    assert await database.fetch_value("SELECT COUNT(*) FROM meta WHERE name = 'refused'") == 0


async def test_what_can_t_be_settled_is_answered_and_stops_nobody(writer: Writer, tail: Tail):
    assert await writer.submit(_Noting(settles=False), "written") == "written"
    assert await writer.run(_remember("next", "fine")) == "fine"
    assert [entry.ref for entry in tail.between(0, tail.tip)] == ["written", "next"]


class _Forgetful:
    """A database whose connection breaks while it commits, as often as `breaks` says, and is not soon back."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.breaks = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    async def commit(self, write: Any) -> Any:
        answer = await self._database.commit(write)
        if self.breaks:
            self.breaks -= 1
            raise CommitUnknown("the line is dead")
        return answer


async def test_a_commit_of_unknown_outcome_is_not_repeated_and_heard_of_later(database: Database, tail: Tail):
    heard: list[str] = []
    forgetful = _Forgetful(database)
    writer = Writer(
        forgetful, Tailing(database, tail, lambda entries: heard.extend(entry.ref for entry in entries))
    )
    writer.start()
    forgetful.breaks = 1

    async def count(transaction: Transaction) -> None:
        await transaction.insert("meta", "name, value", [(f"made {uuid.uuid4()}", "once")])
        transaction.announce(Entry(Kind.PROFILE, "*", "counted"))

    outcomes = await asyncio.gather(*(writer.run(count) for _ in range(5)), return_exceptions=True)
    assert all(isinstance(outcome, CommitUnknown) for outcome in outcomes)
    assert await database.fetch_value("SELECT COUNT(*) FROM meta WHERE value = 'once'") == 5
    assert await writer.run(_remember("later", "fine")) == "fine"
    assert heard == ["counted"] * 5 + ["later"]
    assert [entry.ref for entry in tail.between(0, tail.tip)] == heard
    await writer.stop()


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
async def test_a_commit_whose_connection_was_killed_is_repeated_once(database: Database, writer: Writer):
    async def count(transaction: Transaction) -> None:
        await transaction.insert("meta", "name, value", [(f"made {uuid.uuid4()}", "once")])
        transaction.announce(Entry(Kind.PROFILE, "*", "counted"))

    async with database.snapshot() as other:
        # Commits wait for the log's lock.
        await other.fetch_value("SELECT pg_advisory_xact_lock(x'52414E56'::bigint)")
        writing = asyncio.gather(*(writer.run(count) for _ in range(3)))
        waits = (
            "SELECT pid FROM pg_stat_activity WHERE wait_event = 'advisory' AND datname = current_database()"
        )
        while (backend := await database.fetch_value(waits)) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await database.fetch_value("SELECT pg_terminate_backend($1)", backend)
        await asyncio.sleep(0.2)
    await writing
    assert await database.fetch_value("SELECT COUNT(*) FROM meta WHERE value = 'once'") == 3
    assert await database.fetch_value("SELECT COUNT(*) FROM log WHERE ref = 'counted'") == 3
