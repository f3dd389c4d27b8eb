"""What is SQLite's own: its connections."""

import gc
import sqlite3
import warnings
from contextlib import AsyncExitStack
from pathlib import Path

from ranvier.store.sqlite import SqliteDatabase


def connections() -> int:
    """How many connections of SQLite there are in this process."""
    gc.collect()
    return sum(isinstance(known, sqlite3.Connection) for known in gc.get_objects())


async def test_a_crowd_of_snapshots_leaves_few_connections_behind(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "homeserver.db")
    try:
        await database.run_script(["CREATE TABLE seen (number BIGINT)", "INSERT INTO seen VALUES (1)"])
        before = connections()
        async with AsyncExitStack() as stack:
            readers = [await stack.enter_async_context(database.snapshot()) for _ in range(30)]
            assert [await reader.fetch_value("SELECT COUNT(*) FROM seen") for reader in readers] == [1] * 30
            await database.run_script(["INSERT INTO seen VALUES (2)"])
            assert {await reader.fetch_value("SELECT COUNT(*) FROM seen") for reader in readers} == {1}
            assert connections() >= before + 30
            readers.clear()
        assert connections() <= before + 4
        async with database.snapshot() as reader:
            assert await reader.fetch_value("SELECT COUNT(*) FROM seen") == 2
    finally:
        await database.close()


async def test_values_are_found_by_their_numbers_wherever_and_however_often_these_stand(
    tmp_path: Path,
) -> None:
    database = SqliteDatabase(tmp_path / "homeserver.db")
    try:
        # Releases of Python that dislike numbered places say so.
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            row = await database.fetch_row("SELECT $2, $1, $2 WHERE $4 = ANY($3)", "a", "b", [4, 5], 5)
            assert row == ("b", "a", "b")
            assert await database.fetch_row("SELECT $1 WHERE $1 = ANY($2)", 3, [4, 5]) is None
            assert await database.fetch_value("SELECT $1 || $2", "a", "b") == "ab"
    finally:
        await database.close()
