"""PostgreSQL behind the store's seam, through asyncpg.

A commit's last message carries everything that the ordered log needs (the lock, the positions, the rows, the commit)
and nothing of it waits for this process: so a process that is stopped in between can't hold the log's lock.
"""

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

import asyncpg

from ranvier.store.connections import Connections, is_gone
from ranvier.store.database import (
    CommitLost,
    CommitUnknown,
    Crowded,
    Dialect,
    Entry,
    Outcome,
    Row,
    Unavailable,
    Write,
)
from ranvier.store.postgres_writing import LOG_LOCK, Connection, PostgresTransaction, Types

_SCHEMA_LOCK = LOG_LOCK + 1
_BATCHES_KEPT_MS = 3_600_000
_LOOK_UP_SECONDS, _LOOK_UP_PAUSE = 30.0, 0.1
_CLAIM = "INSERT INTO batches (id, first_position, committed_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"
_CAREFUL_COMMITS = 50
"""So many commits ask for counts after one that others were faster than."""
_CLAIMED = -1
"""In the place of a first position: the id was claimed while looking it up, so its batch can't be committed."""


class PostgresDatabase:
    """Connections for reads, and one at a time that commits."""

    dialect: Dialect = "postgres"

    def __init__(self, connections: Connections) -> None:
        self.connections = connections
        self._types: Types = {}
        self._unknown: list[str] = []
        self._careful = 0
        self.rings_as: str | None = None
        """The id under which commits tell other processes of themselves, if any is to be told so."""

    @classmethod
    async def connect(cls, *, least: int = 2, most: int = 10, **arguments: Any) -> "PostgresDatabase":
        """Open it with at most so many connections; `arguments` are libpq's: host, port, user, password, database.

        Raises what the driver raises if it can't be opened.
        """
        database = cls(await Connections.open(least, most, arguments))
        await database._read_types()
        return database

    async def _read_types(self) -> None:
        rows = await self.fetch(
            "SELECT table_name, column_name, data_type FROM information_schema.columns "
            "WHERE table_schema = current_schema()"
        )
        self._types = {}
        for table, column, kind in rows:
            self._types.setdefault(table, {})[column] = kind

    async def fetch(self, sql: str, *values: Any) -> Sequence[Row]:
        return await self.connections.fetch(sql, values)

    async def fetch_row(self, sql: str, *values: Any) -> Row | None:
        rows = await self.connections.fetch(sql, values)
        return rows[0] if rows else None

    async def fetch_value(self, sql: str, *values: Any) -> Any:
        rows = await self.connections.fetch(sql, values)
        return rows[0][0] if rows else None

    async def fetch_slowly(self, sql: str, *values: Any) -> Sequence[Row]:
        return await self.connections.fetch(sql, values)

    @contextlib.asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Connection]:
        async with self.connections.acquire() as connection:
            try:
                async with connection.transaction(isolation="repeatable_read", readonly=True):
                    yield Connection(connection)
            except Exception as error:
                if is_gone(error, connection):
                    raise Unavailable(f"the database went away: {error}") from error
                raise

    async def commit(self, write: Write[Outcome]) -> tuple[Outcome, list[Entry]]:
        rings_as, careful = self.rings_as, self._careful > 0
        self._careful -= careful
        try:
            return await self._commit(write, rings_as, is_careful=careful)
        except Crowded:
            if careful:
                raise
        self._careful = _CAREFUL_COMMITS
        return await self._commit(write, rings_as, is_careful=True)

    async def _commit(
        self, write: Write[Outcome], rings_as: str | None, *, is_careful: bool
    ) -> tuple[Outcome, list[Entry]]:
        batch = uuid.uuid4().hex
        lost: BaseException | None = None
        first: int | None = None
        async with self.connections.acquire_writing() as connection:
            transaction = PostgresTransaction(
                connection, self._types, pooled=self.connections.pooled, is_careful=is_careful
            )
            try:
                await self._end_unknown(connection)
                outcome = await write(transaction)
                first = await transaction.finish(batch, rings_as)
            except BaseException as error:
                if not is_gone(error, connection):
                    with contextlib.suppress(Exception):
                        await transaction.roll_back()
                    raise
                connection.terminate()
                if not transaction.is_finishing:
                    raise CommitLost(f"the database went away: {error}") from error
                lost = error
        if lost is not None:
            first = await self._look_up(batch, lost)
        for place, entry in enumerate(transaction.entries):
            assert first is not None
            entry.position = first + place
        return outcome, transaction.entries

    async def _look_up(self, batch: str, error: BaseException) -> int | None:
        """The fate of a commit whose answer was lost: its first position, or `CommitLost` if it never happened.

        Claiming the batch's id waits for a backend that is still committing it, and keeps one that is not there yet
        from committing it later; so the answer is final.
        """
        found = "SELECT first_position FROM batches WHERE id = $1"
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _LOOK_UP_SECONDS
        while loop.time() < deadline:
            try:
                async with self.connections.acquire() as connection, connection.transaction():
                    await connection.execute(_CLAIM, batch, _CLAIMED, int(time.time() * 1000))
                first: int | None = await self.fetch_value(found, batch)
            except (
                Unavailable,
                OSError,
                asyncpg.PostgresError,
                asyncpg.InterfaceError,
                asyncpg.InternalClientError,
            ):
                await asyncio.sleep(_LOOK_UP_PAUSE)
                continue
            if first == _CLAIMED:
                raise CommitLost(str(error)) from error
            return first
        self._unknown.append(batch)
        raise CommitUnknown(f"the database did not come back: {error}") from error

    async def _end_unknown(self, connection: Any) -> None:
        """Keep commits of unknown outcome from happening after what is written from now on."""
        while self._unknown:
            async with connection.transaction():
                await connection.execute(_CLAIM, self._unknown[0], _CLAIMED, int(time.time() * 1000))
            del self._unknown[0]

    async def forget_batches(self) -> None:
        """Drop the ids of commits that nobody can be unsure of any more."""
        oldest = int(time.time() * 1000) - _BATCHES_KEPT_MS
        async with self.connections.acquire() as connection, connection.transaction():
            await connection.execute("DELETE FROM batches WHERE committed_at < $1", oldest)

    async def run_script(self, statements: Iterable[str], unless: str = "") -> None:
        async with self.connections.acquire() as connection, connection.transaction():
            await connection.execute(f"SELECT pg_advisory_xact_lock({_SCHEMA_LOCK})")
            is_done = bool(unless) and await connection.fetchrow(unless) is not None
            for statement in () if is_done else statements:
                await connection.execute(statement)
        await self._read_types()

    async def close(self) -> None:
        await self.connections.close()
