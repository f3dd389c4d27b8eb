"""The database that the configuration names, opened and checked."""

import asyncio
import logging
import secrets
from typing import Any, Final

from ranvier.config import PostgresStore, SqliteStore
from ranvier.store import schema
from ranvier.store.database import Database, Transaction
from ranvier.store.sqlite import SqliteDatabase

_FOUNDING_S: Final = 0.5
"""Between two looks whether the main process has begun."""

_log = logging.getLogger("ranvier.main")


class CannotStart(Exception):
    """The server can't start; the message says why, and what to do."""


async def open_database(where: SqliteStore | PostgresStore, *, waits: bool = False) -> Database:
    """Open it, and bring its schema up to date; raises `CannotStart`.

    With `waits`, a database that is empty is another process's to found, and this one waits for it.
    """
    if waits:
        await _until_founded(where)
    database = await connect(where)
    try:
        await schema.upgrade(database)
    except schema.SchemaTooNew as error:
        await database.close()
        raise CannotStart(str(error)) from error
    except BaseException:
        await database.close()
        raise
    return database


async def connect(where: SqliteStore | PostgresStore) -> Database:
    """Open it as it is, whatever its schema; raises `CannotStart`."""
    return _open_sqlite(where) if isinstance(where, SqliteStore) else await _open_postgres(where)


async def _until_founded(where: SqliteStore | PostgresStore) -> None:
    """Wait until the main process has made the tables, the server's name in them and its signing key."""
    database = await connect(where)
    told = False
    try:
        while not (
            await schema.version_of(database)
            and await database.fetch_value("SELECT 1 FROM meta WHERE name = 'server_name'")
        ):
            if not told:
                _log.warning("the database is empty: waiting for the main process")
                told = True
            await asyncio.sleep(_FOUNDING_S)
    finally:
        await database.close()


def _open_sqlite(where: SqliteStore) -> Database:
    try:
        where.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return SqliteDatabase(where.path)
    except Exception as error:
        raise CannotStart(
            f"The database {where.path} can't be opened: {error}. Its folder must be writable for this user."
        ) from error


def connection_arguments(where: PostgresStore) -> dict[str, Any]:
    """How one connection is made, as asyncpg names it."""
    return {
        "host": where.host,
        "port": where.port,
        "user": where.user,
        "password": where.password.reveal() if where.password is not None else None,
        "database": where.database,
        "ssl": where.ssl_mode if where.host is not None and not where.host.startswith("/") else None,
    }


async def _open_postgres(where: PostgresStore) -> Database:
    from ranvier.main.postgres_start import open_postgres  # noqa: PLC0415 - with SQLite its driver is not needed

    return await open_postgres(where)


async def claim(database: Database, server_name: str) -> None:
    """Write down whose database this is, or refuse to start on another server's; raises `CannotStart`."""

    async def write(transaction: Transaction) -> None:
        rows = [("server_name", server_name), ("log_generation", secrets.token_hex(4)), ("log_horizon", "0")]
        await transaction.insert("meta", "name, value", rows, "(name) DO NOTHING")

    if await database.fetch_value("SELECT 1 FROM meta WHERE name = 'moved_to'"):
        raise CannotStart(
            "The SQLite database was copied to PostgreSQL, and what it holds is old by now: the configuration's "
            "`database` must name the PostgreSQL database. To go back, and lose what was written since, take the "
            "mark away: sqlite3 FILE \"DELETE FROM meta WHERE name = 'moved_to'\""
        )
    owner = await database.fetch_value("SELECT value FROM meta WHERE name = 'server_name'")
    if owner is None:
        await database.commit(write)
        owner = await database.fetch_value("SELECT value FROM meta WHERE name = 'server_name'")
    if owner != server_name:
        raise CannotStart(
            f"The database belongs to the server {owner}, and the configuration says `server_name: {server_name}`. "
            f"A server can't be renamed: set `server_name: {owner}`, or give {server_name} a database of its own."
        )
