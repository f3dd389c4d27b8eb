"""PostgreSQL at the start of a process: opened, waited for, and looked at; what is wrong is said in words."""

import asyncio
import logging

import asyncpg

from ranvier.config import PostgresStore
from ranvier.main.databases import CannotStart, connection_arguments
from ranvier.store import schema
from ranvier.store.connections import is_gone
from ranvier.store.database import Database, Unavailable
from ranvier.store.postgres import PostgresDatabase

WAIT_SECONDS = 60.0
"""How long a start waits for a database that is not up yet; systemd gives a service 90 seconds."""
_LEAST_VERSION = 12
_SAY_EVERY_SECONDS = 5.0
_log = logging.getLogger("ranvier.main")


async def open_postgres(where: PostgresStore) -> Database:
    """Open it and check that it can be used; raises `CannotStart`."""
    database = await _connect(where)
    try:
        await _check(database, where)
    except BaseException:
        await database.close()
        raise
    return database


async def _connect(where: PostgresStore) -> PostgresDatabase:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + WAIT_SECONDS
    say = 0.0
    while True:
        try:
            return await PostgresDatabase.connect(
                least=where.min_connections,
                most=where.max_connections,
                **connection_arguments(where),
            )
        except Exception as error:
            if not _may_come(error) or loop.time() >= deadline:
                raise CannotStart(_words(where, error)) from error
            if loop.time() >= say:
                say = loop.time() + _SAY_EVERY_SECONDS
                left = round(deadline - loop.time())
                _log.warning(
                    f"PostgreSQL at {_place(where)} does not answer yet ({error}); waiting for at most {left} s"
                )
        await asyncio.sleep(min(0.5, max(deadline - loop.time(), 0)))


def _may_come(error: Exception) -> bool:
    return isinstance(error, Unavailable) or is_gone(error)


def _place(where: PostgresStore) -> str:
    return f"{where.host or 'the local Unix socket'}, port {where.port}"


def _words(where: PostgresStore, error: Exception) -> str:
    """What is wrong, and what to do; never the password."""
    who = where.user or "of this process"
    login = (
        f"PostgreSQL at {_place(where)} does not let the user {who} into the database {where.database!r}: "
    )
    keys = "Check `database.args.user` and `password`"
    match error:
        case asyncpg.InvalidPasswordError():
            return f"{login}the password is wrong, or there is no such user. {keys}."
        case asyncpg.InvalidAuthorizationSpecificationError() | asyncpg.InterfaceError():
            return f"{login}{error}. {keys}, and PostgreSQL's pg_hba.conf."
        case asyncpg.InvalidCatalogNameError():
            return f"PostgreSQL at {_place(where)} has no database {where.database!r}. {_cure(where)}"
        case _:
            return (
                f"The database {where.database!r} at {_place(where)} can't be opened as user {who}: {error}. "
                "Check `database.args` in the configuration, and that PostgreSQL runs."
            )


def _cure(where: PostgresStore) -> str:
    return (
        "Make a new one: createdb --encoding=UTF8 --locale=C --template=template0 "
        f"--owner={where.user or 'USER'} {where.database}"
    )


async def _check(database: Database, where: PostgresStore) -> None:
    version = int(await database.fetch_value("SELECT current_setting('server_version_num')")) // 10_000
    if version < _LEAST_VERSION:
        raise CannotStart(
            f"PostgreSQL at {_place(where)} has version {version}; Ranvier needs {_LEAST_VERSION} or newer."
        )
    row = await database.fetch_row(
        "SELECT pg_encoding_to_char(encoding), datcollate, datctype FROM pg_database "
        "WHERE datname = current_database()"
    )
    assert row is not None
    if row[0] != "UTF8":
        raise CannotStart(
            f"The database {where.database!r} has the encoding {row[0]} and needs UTF8. {_cure(where)}"
        )
    if not where.allow_unsafe_locale and (row[1] not in ("C", "POSIX") or row[2] not in ("C", "POSIX")):
        raise CannotStart(
            f"The database {where.database!r} has the locale {row[1]}/{row[2]} and needs C: another one can change "
            f"the order of its indexes with an update of the system. {_cure(where)} Or accept the danger with "
            "`database.allow_unsafe_locale: true`."
        )
    is_behind = await schema.version_of(database) < max(schema.files("postgres"))
    if is_behind and not await database.fetch_value(
        "SELECT has_schema_privilege(current_schema(), 'CREATE')"
    ):
        raise CannotStart(
            f"The user {where.user or 'of this process'} may not make tables in the database {where.database!r}. "
            f"Make it the owner: ALTER DATABASE {where.database} OWNER TO {where.user or 'USER'}"
        )
