"""The database that the configuration names, opened and checked."""

import secrets

from ranvier.config import PostgresStore, SqliteStore
from ranvier.store import schema
from ranvier.store.database import Database, Transaction
from ranvier.store.sqlite import SqliteDatabase


class CannotStart(Exception):
    """The server can't start; the message says why, and what to do."""


async def open_database(where: SqliteStore | PostgresStore) -> Database:
    """Open it, and bring its schema up to date; raises `CannotStart`."""
    database = _open_sqlite(where) if isinstance(where, SqliteStore) else await _open_postgres(where)
    try:
        await schema.upgrade(database)
    except schema.SchemaTooNew as error:
        await database.close()
        raise CannotStart(str(error)) from error
    except BaseException:
        await database.close()
        raise
    return database


def _open_sqlite(where: SqliteStore) -> Database:
    try:
        where.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return SqliteDatabase(where.path)
    except Exception as error:
        raise CannotStart(
            f"The database {where.path} can't be opened: {error}. Its folder must be writable for this user."
        ) from error


async def _open_postgres(where: PostgresStore) -> Database:
    from ranvier.main.postgres_start import open_postgres  # noqa: PLC0415 - with SQLite its driver is not needed

    return await open_postgres(where)


async def claim(database: Database, server_name: str) -> None:
    """Write down whose database this is, or refuse to start on another server's; raises `CannotStart`."""

    async def write(transaction: Transaction) -> None:
        rows = [("server_name", server_name), ("log_generation", secrets.token_hex(4)), ("log_horizon", "0")]
        await transaction.insert("meta", "name, value", rows, "(name) DO NOTHING")

    owner = await database.fetch_value("SELECT value FROM meta WHERE name = 'server_name'")
    if owner is None:
        await database.commit(write)
        owner = await database.fetch_value("SELECT value FROM meta WHERE name = 'server_name'")
    if owner != server_name:
        raise CannotStart(
            f"The database belongs to the server {owner}, and the configuration says `server_name: {server_name}`. "
            f"A server can't be renamed: set `server_name: {owner}`, or give {server_name} a database of its own."
        )
