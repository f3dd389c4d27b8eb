"""What an administrator who upgrades, or downgrades by mistake, can rely on."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from ranvier.store import schema
from ranvier.store.database import Database
from ranvier.store.postgres import PostgresDatabase
from ranvier.store.sqlite import SqliteDatabase

VERSIONS = sorted(schema.files("sqlite"))


@pytest.fixture(params=["sqlite", "postgres"])
async def empty(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """A database without any table."""
    if request.param == "sqlite":
        made: Database = SqliteDatabase(tmp_path / "empty.db")
    else:
        folder = request.getfixturevalue("postgres_socket")
        name = f"t{uuid.uuid4().hex}"
        await postgres_database(folder, name)
        made = await PostgresDatabase.connect(host=folder, user="postgres", database=name)
    yield made
    await made.close()


async def beside(database: Database, folder: Path) -> Database:
    """A second database of the same kind, empty."""
    if database.dialect == "sqlite":
        return SqliteDatabase(folder / "beside.db")
    where = await database.fetch_row("SELECT current_database(), current_setting('unix_socket_directories')")
    assert where is not None
    await postgres_database(where[1], f"{where[0]}b")
    return await PostgresDatabase.connect(host=where[1], user="postgres", database=f"{where[0]}b")


async def postgres_database(folder: str, name: str) -> None:
    connection = await asyncpg.connect(host=folder, user="postgres", database="postgres")
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()


async def test_processes_that_start_at_once_upgrade_once(empty: Database, tmp_path: Path):
    if empty.dialect == "sqlite":
        second: Database = SqliteDatabase(tmp_path / "empty.db")
    else:
        where = await empty.fetch_row("SELECT current_database(), current_setting('unix_socket_directories')")
        assert where is not None
        second = await PostgresDatabase.connect(host=where[1], user="postgres", database=where[0])
    try:
        found = await asyncio.gather(*(schema.upgrade(database) for database in (empty, second)))
    finally:
        await second.close()
    assert [to for _, to in found] == [VERSIONS[-1]] * 2
    rows = await empty.fetch("SELECT version FROM schema_version ORDER BY version")
    assert [row[0] for row in rows] == VERSIONS


async def bring_to(database: Database, version: int) -> None:
    """Do what the program of that schema did."""
    for step, statements in schema.files(database.dialect).items():
        if step <= version:
            await database.run_script(
                [*statements, f"INSERT INTO schema_version (version) VALUES ({step})"],
            )


async def tables_of(database: Database) -> list[str]:
    if database.dialect == "sqlite":
        rows = await database.fetch(
            "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'virtual') "
            "AND name NOT LIKE 'sqlite_%' ORDER BY name"
        )
    else:
        rows = await database.fetch(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema() "
            "AND table_type = 'BASE TABLE' ORDER BY table_name"
        )
    return [row[0] for row in rows]


async def columns_of(database: Database, table: str) -> dict[str, tuple[Any, ...]]:
    """Type, whether it may be null, default, by column; the order of columns means nothing."""
    if database.dialect == "sqlite":
        rows = await database.fetch(
            'SELECT name, type, "notnull", dflt_value, pk FROM pragma_table_info($1)', table
        )
    else:
        rows = await database.fetch(
            "SELECT column_name, data_type, is_nullable, column_default FROM information_schema.columns "
            "WHERE table_schema = current_schema() AND table_name = $1",
            table,
        )
    return {row[0]: tuple(row[1:]) for row in rows}


async def shape_of(database: Database) -> dict[str, Any]:
    """Everything that the database's own catalogue says of tables, indexes, constraints and sequences."""
    shape: dict[str, Any] = {table: await columns_of(database, table) for table in await tables_of(database)}
    if database.dialect == "sqlite":
        queries = [
            'SELECT m.name, i.name, i."unique", i.partial, x.seqno, x.name, x."desc" FROM sqlite_master m, '
            "pragma_index_list(m.name) i, pragma_index_xinfo(i.name) x WHERE m.type = 'table' ORDER BY 1, 2, 5",
            "SELECT name, substr(sql, instr(sql, ' WHERE ')) FROM sqlite_master WHERE type = 'index' "
            "AND instr(sql, ' WHERE ') > 0 ORDER BY name",
            "SELECT type, name FROM sqlite_master WHERE type NOT IN ('table', 'index') ORDER BY type, name",
        ]
    else:
        queries = [
            "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema() ORDER BY indexname",
            "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE connamespace = current_schema()::regnamespace AND contype <> 'n' ORDER BY 1, 2",
            "SELECT sequence_name, data_type FROM information_schema.sequences "
            "WHERE sequence_schema = current_schema() ORDER BY 1",
        ]
    for number, query in enumerate(queries):
        shape[f"query {number}"] = [tuple(row) for row in await database.fetch(query)]
    return shape


def sample(name: str, kind: str) -> Any:
    """A value of a column's type."""
    kind = kind.upper()
    if kind in ("BYTEA", "BLOB"):
        return name.encode()
    return {"BIGINT": 7, "BOOLEAN": True}.get(kind, f"sample {name}")


async def fill(database: Database) -> list[str]:
    """One row in every table; answers the tables."""
    tables = [table for table in await tables_of(database) if table != "schema_version"]
    rows = {table: await columns_of(database, table) for table in tables}

    async def write(transaction: Any) -> None:
        for table, columns in rows.items():
            row = tuple(sample(name, column[0]) for name, column in columns.items())
            await transaction.insert(table, ", ".join(columns), [row])

    await database.commit(write)
    return tables


@pytest.mark.parametrize("version", [0, *VERSIONS])
async def test_a_database_of_any_schema_becomes_like_a_fresh_one_and_keeps_its_rows(
    empty: Database, version: int, tmp_path: Path
):
    await bring_to(empty, version)
    assert await schema.version_of(empty) == version
    filled = await fill(empty) if version else []
    assert await schema.upgrade(empty) == (version, VERSIONS[-1])
    fresh = await beside(empty, tmp_path)
    try:
        await schema.upgrade(fresh)
        assert await shape_of(empty) == await shape_of(fresh)
    finally:
        await fresh.close()
    for table in filled:
        assert await empty.fetch_value(f"SELECT COUNT(*) FROM {table}") >= 1, table


async def test_an_upgrade_that_was_done_does_nothing(empty: Database):
    assert await schema.upgrade(empty) == (0, VERSIONS[-1])
    before = await shape_of(empty)
    assert await schema.upgrade(empty) == (VERSIONS[-1], VERSIONS[-1])
    assert await shape_of(empty) == before


async def test_a_step_that_fails_leaves_the_database_at_the_step_before(empty: Database):
    await bring_to(empty, VERSIONS[0])
    before = await shape_of(empty)
    with pytest.raises(Exception, match="nowhere"):
        await empty.run_script(["CREATE TABLE half (n BIGINT)", "INSERT INTO nowhere VALUES (1)"])
    assert await shape_of(empty) == before
    assert await schema.version_of(empty) == VERSIONS[0]


def _contracts(version: int) -> list[str]:
    """What a schema file says that takes something away."""
    return [f"UPDATE meta SET value = '{version}' WHERE name = 'schema_oldest'"]


async def test_a_program_starts_on_a_newer_schema_that_has_all_it_needs(empty: Database):
    await schema.upgrade(empty)
    newer = VERSIONS[-1] + 1
    await empty.run_script(
        [
            "CREATE TABLE newer (name TEXT PRIMARY KEY)",
            f"INSERT INTO schema_version (version) VALUES ({newer})",
        ]
    )
    assert await schema.upgrade(empty) == (newer, newer)


async def test_the_database_of_a_newer_program_is_refused_with_the_cure(empty: Database):
    await schema.upgrade(empty)
    newer = VERSIONS[-1] + 1
    await empty.run_script([*_contracts(newer), f"INSERT INTO schema_version (version) VALUES ({newer})"])
    before = await shape_of(empty)
    with pytest.raises(schema.SchemaTooNew) as refused:
        await schema.upgrade(empty)
    assert f"schema {VERSIONS[-1] + 1}" in str(refused.value)
    assert "install that version, or restore a backup" in str(refused.value)
    assert await shape_of(empty) == before
