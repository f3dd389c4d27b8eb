"""Databases for every suite: each test that asks for one runs on SQLite and on PostgreSQL."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from ranvier.store import log, schema
from ranvier.store.database import Database
from ranvier.store.postgres import PostgresDatabase
from ranvier.store.sqlite import SqliteDatabase
from ranvier.store.tailing import Tailing
from ranvier.store.writer import Writer

pytest_plugins = ("tests.server", "tests.federated", "tests.redis", "tests.postgresql")


def _postgres_programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    program = shutil.which("initdb")
    return Path(program).parent if program else None


def _as_postgres(command: list[str]) -> list[str]:
    """PostgreSQL refuses to run as root; its own user, which Debian's package made, does."""
    return (
        ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *command]
        if os.geteuid() == 0
        else command
    )


@pytest.fixture(scope="session")
def postgres_socket() -> Iterator[str]:
    """A PostgreSQL of our own on a Unix socket, for the whole run; answers the socket's folder."""
    programs = _postgres_programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt install postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="ranvier-pg-"))
    data = folder / "data"
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    subprocess.run(
        _as_postgres(
            [
                str(programs / "initdb"),
                "-D",
                str(data),
                "-U",
                "postgres",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--locale=C",
                "-N",
            ]
        ),
        check=True,
        stdout=subprocess.DEVNULL,
    )
    server = subprocess.Popen(
        _as_postgres(
            [
                str(programs / "postgres"),
                "-D",
                str(data),
                "-k",
                str(folder),
                "-c",
                "listen_addresses=",
                "-c",
                "fsync=off",
                "-c",
                "full_page_writes=off",
                "-c",
                "synchronous_commit=off",
                "-c",
                "max_connections=200",
            ]
        ),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _until_ready(str(folder))
        yield str(folder)
    finally:
        # At once: its data is thrown away, and a polite end waits for every connection that a test left behind.
        server.send_signal(signal.SIGQUIT)
        server.wait()
        # Hundreds of databases are hundreds of thousands of files: nobody waits for their removal.
        subprocess.Popen(["rm", "-rf", str(folder)], start_new_session=True)


def _until_ready(folder: str) -> None:
    """Wait until the server answers on its socket (looked at from a plain thread: no loop runs here)."""
    programs = _postgres_programs()
    assert programs is not None
    for _ in range(300):
        ready = subprocess.run([str(programs / "pg_isready"), "-q", "-h", folder], check=False)
        if ready.returncode == 0:
            return
        time.sleep(0.05)
    raise TimeoutError("PostgreSQL did not start")


class PostgresDatabases:
    """Databases in the run's PostgreSQL, whose socket is in `folder`.

    Each is a copy of one that has the newest schema, as running the schema takes several times as long.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._template: str | None = None

    async def make(self) -> str:
        """The name of a new one."""
        if self._template is None:
            template = await self._create("")
            made = await PostgresDatabase.connect(host=self.folder, user="postgres", database=template)
            await schema.upgrade(made)
            await made.close()
            self._template = template
        return await self._create(f"TEMPLATE {self._template}")

    async def _create(self, how: str) -> str:
        name = f"t{uuid.uuid4().hex}"
        connection = await asyncpg.connect(host=self.folder, user="postgres", database="postgres")
        await connection.execute(f"CREATE DATABASE {name} {how}")
        await connection.close()
        return name


@pytest.fixture(scope="session")
def postgres_databases(postgres_socket: str) -> PostgresDatabases:
    """Makes databases for tests."""
    return PostgresDatabases(postgres_socket)


@pytest.fixture(params=["sqlite", "postgres"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """A fresh database with the newest schema."""
    if request.param == "sqlite":
        made: Database = SqliteDatabase(tmp_path / "ranvier.db")
    else:
        databases: PostgresDatabases = request.getfixturevalue("postgres_databases")
        name = await databases.make()
        made = await PostgresDatabase.connect(host=databases.folder, user="postgres", database=name)
    await schema.upgrade(made)
    yield made
    await made.close()


@pytest.fixture
async def tail(database: Database) -> log.Tail:
    """The newest entries of the log."""
    return log.Tail(await log.read_tip(database))


@pytest.fixture
async def writer(database: Database, tail: log.Tail) -> AsyncIterator[Writer]:
    """A writer that runs."""
    made = Writer(database, Tailing(database, tail, lambda entries: None))
    made.start()
    yield made
    await made.stop()
