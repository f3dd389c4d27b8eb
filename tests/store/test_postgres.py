"""What the store relies on of PostgreSQL: connections that come back, commits that are never doubled, poolers."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from tests.postgresql import PgBouncer, PostgresServer

from ranvier.bus.rings import Told, read_ring
from ranvier.store import connections, log, schema
from ranvier.store.database import Entry, Transaction, Unavailable
from ranvier.store.log import Kind, Tail
from ranvier.store.postgres import PostgresDatabase
from ranvier.store.postgres_writing import CHANNEL
from ranvier.store.tailing import Tailing
from ranvier.store.writer import Writer


async def _open(server: PostgresServer, port: int | None = None, most: int = 6) -> PostgresDatabase:
    host = str(server.folder) if port is None else "127.0.0.1"
    made = await PostgresDatabase.connect(
        most=most, host=host, port=port or server.port, user="postgres", database="postgres"
    )
    await schema.upgrade(made)
    return made


@pytest.fixture
async def own(postgres_server: PostgresServer) -> AsyncIterator[PostgresDatabase]:
    """A database on a server that the test may restart."""
    made = await _open(postgres_server)
    yield made
    await made.close()


def _writer(database: PostgresDatabase, tail: Tail) -> Writer:
    return Writer(database, Tailing(database, tail, lambda entries: None))


def _note(name: str):
    """Write a row and say so; written twice it fails."""

    async def write(transaction: Transaction) -> str:
        await transaction.put("meta", "name, value", [(name, "noted")])
        transaction.announce(Entry(Kind.PROFILE, "*", name))
        return name

    return write


async def _check(database: PostgresDatabase, answered: list[str]) -> None:
    """Everything that was answered is there once, in rows and in the log, whose positions have no doubles."""
    rows = {row[0] for row in await database.fetch("SELECT name FROM meta WHERE value = 'noted'")}
    entries = [entry.ref for entry in await log.read_all(database, 0, await log.read_tip(database))]
    assert set(answered) <= rows
    assert sorted(entries) == sorted(rows)


@pytest.mark.parametrize("how", ["fast", "immediate"])
async def test_a_restart_of_the_database_loses_nothing_that_was_answered_and_fails_nobody(
    postgres_server: PostgresServer, own: PostgresDatabase, how: str
):
    tail = Tail(await log.read_tip(own))
    writer = _writer(own, tail)
    writer.start()
    answered: list[str] = []
    over = asyncio.Event()

    async def write(who: int) -> None:
        number = 0
        while not over.is_set():
            number += 1
            answered.append(await writer.run(_note(f"{who} {number}")))

    async def read() -> None:
        while not over.is_set():
            await own.fetch_value("SELECT COUNT(*) FROM meta")

    tasks = [asyncio.create_task(write(who)) for who in range(8)] + [asyncio.create_task(read())]
    for _ in range(2):
        await asyncio.sleep(0.3)
        await asyncio.to_thread(postgres_server.restart, how)
    before = len(answered)
    async with asyncio.timeout(10):
        while len(answered) < before + 20:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    over.set()
    await asyncio.gather(*tasks)
    await writer.stop()
    await _check(own, answered)


async def test_a_killed_session_doubles_and_loses_nothing(
    postgres_server: PostgresServer, own: PostgresDatabase
):
    writer = _writer(own, Tail(await log.read_tip(own)))
    writer.start()

    async def kill() -> None:
        for _ in range(3):
            await asyncio.sleep(0.15)
            await asyncio.to_thread(postgres_server.kill_a_backend)
            await asyncio.sleep(0.5)

    killing = asyncio.create_task(kill())
    answered: list[str] = []
    number = 0
    while not killing.done():
        number += 1
        answered += await asyncio.gather(*(writer.run(_note(f"{number} {i}")) for i in range(5)))
    await killing
    await writer.stop()
    await _check(own, answered)


async def test_who_asks_of_a_database_that_is_down_waits_for_its_time_and_is_told(
    postgres_server: PostgresServer, own: PostgresDatabase
):
    own.connections.patience = 0.3
    writer = _writer(own, Tail(0))
    writer.start()
    await asyncio.to_thread(postgres_server.stop)
    with pytest.raises(Unavailable):
        await own.fetch("SELECT 1")
    with pytest.raises(Unavailable):
        async with own.snapshot():
            pass
    refused = await asyncio.gather(*(writer.run(_note(f"n{i}")) for i in range(300)), return_exceptions=True)
    assert all(isinstance(one, Unavailable) for one in refused)
    await asyncio.to_thread(postgres_server.start)
    assert await writer.run(_note("after")) == "after"
    await writer.stop()
    await _check(own, ["after"])


async def test_connections_are_opened_when_needed_and_never_more_than_allowed(
    postgres_server: PostgresServer, own: PostgresDatabase
):
    count = "SELECT COUNT(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    assert own.connections.opened <= 2
    sleeping = [own.fetch("SELECT pg_sleep(0.05)") for _ in range(50)]
    most = asyncio.create_task(asyncio.to_thread(postgres_server.query, count))
    await asyncio.gather(*sleeping, *(own.commit(_note(f"n{i}")) for i in range(20)))
    assert 0 < int(await most) <= 6
    assert own.connections.opened == 6


async def test_connections_that_are_not_needed_are_closed_down_to_the_least(
    own: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(connections, "TRIM_SECONDS", 0.1)
    await asyncio.gather(*(own.fetch("SELECT pg_sleep(0.02)") for _ in range(30)))
    assert own.connections.opened == 6
    async with asyncio.timeout(5):
        while own.connections.opened > 2:
            await own.fetch("SELECT 1")
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.3)
    assert own.connections.opened == 2


async def test_a_reader_that_goes_away_in_the_middle_leaves_no_connection_behind(own: PostgresDatabase):
    for _ in range(20):
        reading = asyncio.create_task(own.fetch("SELECT pg_sleep(5)"))
        await asyncio.sleep(0.01)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    async with asyncio.timeout(3):
        await asyncio.gather(*(own.fetch("SELECT 1") for _ in range(20)))


async def test_rows_that_were_put_are_seen_by_what_is_asked_after(own: PostgresDatabase):
    async def write(transaction: Transaction) -> object:
        await transaction.put("meta", "name, value", [("a", "1"), ("b", "2")])
        before = await transaction.fetch_value("SELECT COUNT(*) FROM meta WHERE name IN ('a', 'b')")
        newer = "(name) DO UPDATE SET value = excluded.value"
        await transaction.put("meta", "name, value", [("a", "3")], newer)
        await transaction.put("meta", "name, value", [("a", "4")], newer)
        return before

    assert (await own.commit(write))[0] == 2
    assert await own.fetch_value("SELECT value FROM meta WHERE name = 'a'") == "4"


@pytest.mark.parametrize("asks", [False, True])
async def test_a_row_that_is_there_already_ends_the_whole_transaction(own: PostgresDatabase, asks: bool):
    await own.commit(_note("taken"))

    async def write(transaction: Transaction) -> None:
        if asks:
            await transaction.fetch("SELECT 1")
        await transaction.put("counters", "name, value", [("new", 1)])
        await transaction.put(
            "meta", "name, value", [("free", "x"), ("taken", "x")], "DO NOTHING", KeyError("mine")
        )
        transaction.announce(Entry(Kind.PROFILE, "*", "x"))

    with pytest.raises(KeyError, match="mine"):
        await own.commit(write)
    assert await own.fetch_value("SELECT COUNT(*) FROM meta WHERE value = 'x'") == 0
    assert await own.fetch_value("SELECT COUNT(*) FROM counters") == 0
    assert await log.read_tip(own) == 1


async def test_positions_of_many_writers_become_visible_in_order(
    postgres_server: PostgresServer, own: PostgresDatabase
):
    others = [own, *[await _open(postgres_server) for _ in range(3)]]
    over = asyncio.Event()

    async def write(who: int) -> None:
        for number in range(60):
            await others[who].commit(_note(f"{who} {number}"))

    async def watch() -> list[int]:
        seen: list[int] = []
        while True:
            is_last = over.is_set()
            after = seen[-1] if seen else 0
            rows = await own.fetch("SELECT position FROM log WHERE position > $1 ORDER BY position", after)
            seen += [row[0] for row in rows]
            if is_last:
                return seen

    watching = asyncio.create_task(watch())
    await asyncio.gather(*(write(who) for who in range(4)))
    over.set()
    seen = await watching
    assert seen == [row[0] for row in await own.fetch("SELECT position FROM log ORDER BY position")]
    assert len(seen) == 240
    for other in others[1:]:
        await other.close()


@pytest.mark.parametrize("asks", [False, True])
async def test_other_processes_are_told_by_the_commit_itself(
    postgres_server: PostgresServer, own: PostgresDatabase, asks: bool
):
    heard: list[str] = []
    listening = await asyncpg.connect(
        host=str(postgres_server.folder), port=postgres_server.port, user="postgres", database="postgres"
    )
    await listening.add_listener(CHANNEL, lambda *told: heard.append(str(told[3])))
    own.rings_as = "me"

    async def write(transaction: Transaction) -> None:
        if asks:
            await transaction.fetch("SELECT 1")
        for name in ("a", "b"):
            transaction.announce(Entry(Kind.PROFILE, "*", name))

    await own.commit(_note("before"))
    await own.commit(write)
    async with asyncio.timeout(5):
        while len(heard) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert read_ring(heard[1].removeprefix("log ").encode()) == Told(
        1, 2, 3, "me", [(Kind.PROFILE, "*", "a"), (Kind.PROFILE, "*", "b")]
    )
    await listening.close()


async def test_pgbouncer_in_transaction_mode_is_noticed_and_served(
    postgres_server: PostgresServer, pgbouncer: PgBouncer
):
    through = await _open(postgres_server, pgbouncer.port)
    assert through.connections.pooled
    writer = _writer(through, Tail(await log.read_tip(through)))
    writer.start()

    async def ask(number: int) -> None:
        assert await through.fetch_value("SELECT $1::bigint + 1", number) == number + 1
        async with through.snapshot() as moment:
            first = await moment.fetch_value("SELECT COUNT(*) FROM meta WHERE name <> $1", "none")
            assert await moment.fetch_value("SELECT COUNT(*) FROM meta WHERE name <> $1", "other") == first

    answered: list[str] = []
    for round_ in range(20):
        asking = [ask(number) for number in range(10)]
        answers = [writer.run(_note(f"{round_} {i}")) for i in range(5)]
        _, made = await asyncio.gather(asyncio.gather(*asking), asyncio.gather(*answers))
        answered += made
    await writer.stop()
    await _check(through, answered)
    await through.close()
