"""PostgreSQL behind the store's seam, through asyncpg.

A commit's last message carries everything that the ordered log needs (the lock, the positions, the rows, the commit)
and nothing of it waits for this process: so a process that is stopped in between can't hold the log's lock.
"""

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import asyncpg
import orjson

from ranvier.store.database import CommitLost, CommitUnknown, Dialect, Entry, Outcome, Row, Write, savepoint

_LOG_LOCK = 0x52414E56
_SCHEMA_LOCK = _LOG_LOCK + 1
_SETTING = "ranvier.batch"
_BATCHES_KEPT_MS = 3_600_000
_LOOK_UPS = 20
_CLAIM = "INSERT INTO batches (id, first_position, committed_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"
_CLAIMED = -1
"""In the place of a first position: the id was claimed while looking it up, so its batch can't be committed."""

# One message, no parameters: the simple query protocol runs it as a whole on the server. The rows come from a setting
# that the transaction made for itself; positions are drawn in the order of the list, under the lock.
_APPEND = f"""
SELECT pg_advisory_xact_lock({_LOG_LOCK});
WITH batch AS (SELECT current_setting('{_SETTING}')::jsonb AS value),
drawn AS (
    SELECT nextval('log_position') AS position, entry FROM (
        SELECT entry FROM batch, jsonb_array_elements(value -> 'entries') WITH ORDINALITY AS e (entry, place)
        ORDER BY place
    ) AS ordered
),
written AS (
    INSERT INTO log (position, kind, audience, ref)
    SELECT position, (entry ->> 0)::bigint, entry ->> 1, entry ->> 2 FROM drawn RETURNING position
)
INSERT INTO batches (id, first_position, committed_at)
SELECT value ->> 'id', (SELECT MIN(position) FROM written), (value ->> 'at')::bigint FROM batch;
"""  # noqa: S608
# Other processes are told in the same message, as `bus/rings.py` reads it, since the positions are only known here.
_RING = f"""
SELECT pg_notify('ranvier', 'log [' || COALESCE((SELECT MAX(position) FROM log WHERE position < first_position), 0)
    || ',' || first_position || ',' || (value ->> 'ring'))
FROM (SELECT current_setting('{_SETTING}')::jsonb AS value) AS batch JOIN batches ON id = value ->> 'id'
WHERE first_position IS NOT NULL;
"""  # noqa: S608
_FINISH = _APPEND + "COMMIT;"
_FINISH_AND_RING = _APPEND + _RING + "COMMIT;"
_RING_BYTES = 7_800
"""Of a ring with its entries; PostgreSQL takes less than 8,000."""


class _Connection:
    dialect: Dialect = "postgres"

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def fetch(self, sql: str, *values: Any) -> Sequence[Row]:
        return await self._connection.fetch(sql, *values)  # type: ignore[no-any-return]

    async def fetch_row(self, sql: str, *values: Any) -> Row | None:
        return await self._connection.fetchrow(sql, *values)  # type: ignore[no-any-return]

    async def fetch_value(self, sql: str, *values: Any) -> Any:
        return await self._connection.fetchval(sql, *values)


class _Transaction(_Connection):
    def __init__(self, connection: Any, types: dict[str, dict[str, str]]) -> None:
        super().__init__(connection)
        self._types = types
        self.entries: list[Entry] = []

    async def execute(self, sql: str, *values: Any) -> int:
        status = await self._connection.execute(sql, *values)
        count = status.rpartition(" ")[2]
        return int(count) if count.isdigit() else 0

    async def insert(
        self, table: str, columns: str, rows: Sequence[Sequence[Any]], on_conflict: str = ""
    ) -> int:
        if not rows:
            return 0
        types = self._types[table]
        arrays = ", ".join(
            f"${i}::{types[name.strip()]}[]" for i, name in enumerate(columns.split(","), start=1)
        )
        conflict = f" ON CONFLICT {on_conflict}" if on_conflict else ""
        text = f"INSERT INTO {table} ({columns}) SELECT * FROM unnest({arrays}){conflict}"  # noqa: S608
        return await self.execute(text, *(list(column) for column in zip(*rows, strict=True)))

    def part(self) -> AbstractAsyncContextManager[None]:
        return savepoint(self, self.entries)

    def announce(self, entry: Entry) -> None:
        self.entries.append(entry)


class PostgresDatabase:
    """A pool of connections for reads, and one connection at a time that commits."""

    dialect: Dialect = "postgres"

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._types: dict[str, dict[str, str]] = {}
        self._unknown: list[str] = []
        self.rings_as: str | None = None
        """The id under which commits tell other processes of themselves, if any is to be told so."""

    @classmethod
    async def connect(cls, *, least: int = 2, most: int = 10, **arguments: Any) -> "PostgresDatabase":
        """Open the pool; `arguments` are libpq's: host, port, user, password, database."""
        pool = await asyncpg.create_pool(min_size=least, max_size=most, **arguments)
        database = cls(pool)
        await database._read_types()
        return database

    async def _read_types(self) -> None:
        rows = await self._pool.fetch(
            "SELECT table_name, column_name, data_type FROM information_schema.columns "
            "WHERE table_schema = current_schema()"
        )
        self._types = {}
        for table, column, kind in rows:
            self._types.setdefault(table, {})[column] = kind

    async def fetch(self, sql: str, *values: Any) -> Sequence[Row]:
        rows: Sequence[Row] = await self._pool.fetch(sql, *values)
        return rows

    async def fetch_row(self, sql: str, *values: Any) -> Row | None:
        row: Row | None = await self._pool.fetchrow(sql, *values)
        return row

    async def fetch_value(self, sql: str, *values: Any) -> Any:
        return await self._pool.fetchval(sql, *values)

    async def fetch_slowly(self, sql: str, *values: Any) -> Sequence[Row]:
        rows: Sequence[Row] = await self._pool.fetch(sql, *values)
        return rows

    @contextlib.asynccontextmanager
    async def snapshot(self) -> AsyncIterator[_Connection]:
        async with (
            self._pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            yield _Connection(connection)

    async def commit(self, write: Write[Outcome]) -> tuple[Outcome, list[Entry]]:
        batch, rings_as = uuid.uuid4().hex, self.rings_as
        async with self._pool.acquire() as connection:
            transaction = _Transaction(connection, self._types)
            await self._end_unknown(connection)
            await connection.execute("BEGIN")
            try:
                outcome = await write(transaction)
                await self._stage(connection, batch, transaction.entries, rings_as)
            except BaseException:
                if not connection.is_closed():
                    await connection.execute("ROLLBACK")
                raise
            try:
                await connection.execute(_FINISH if rings_as is None else _FINISH_AND_RING)
                first = await connection.fetchval("SELECT first_position FROM batches WHERE id = $1", batch)
            except Exception as error:
                first = await self._look_up(batch, connection, error)
        for place, entry in enumerate(transaction.entries):
            entry.position = first + place
        return outcome, transaction.entries

    async def _stage(self, connection: Any, batch: str, entries: list[Entry], rings_as: str | None) -> None:
        rows = [[e.kind, e.audience, e.ref] for e in entries]
        value = {"id": batch, "at": int(time.time() * 1000), "entries": rows}
        if rings_as is not None:
            told = orjson.dumps(rows).decode()
            fits = len(told.encode()) <= _RING_BYTES
            value["ring"] = f'"{rings_as}",{told if fits else len(rows)}]'
        await connection.execute("SELECT set_config($1, $2, true)", _SETTING, orjson.dumps(value).decode())

    async def _look_up(self, batch: str, connection: Any, error: Exception) -> int | None:
        """The fate of a commit whose answer was lost: its first position, or `CommitLost` if it never happened.

        Claiming the batch's id waits for a backend that is still committing it, and keeps one that is not there yet
        from committing it later; so the answer is final.
        """
        if not connection.is_closed():
            with contextlib.suppress(Exception):
                await connection.execute("ROLLBACK")
        found = "SELECT first_position FROM batches WHERE id = $1"
        for attempt in range(_LOOK_UPS):
            try:
                await self._pool.execute(_CLAIM, batch, _CLAIMED, int(time.time() * 1000))
                first: int | None = await self._pool.fetchval(found, batch)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
                await asyncio.sleep(min(0.1 * 2**attempt, 2.0))
                continue
            if first == _CLAIMED:
                raise CommitLost(str(error)) from error
            return first
        self._unknown.append(batch)
        raise CommitUnknown(f"the database did not come back: {error}") from error

    async def _end_unknown(self, connection: Any) -> None:
        """Keep commits of unknown outcome from happening after what is written from now on."""
        while self._unknown:
            await connection.execute(_CLAIM, self._unknown[0], _CLAIMED, int(time.time() * 1000))
            del self._unknown[0]

    async def forget_batches(self) -> None:
        """Drop the ids of commits that nobody can be unsure of any more."""
        oldest = int(time.time() * 1000) - _BATCHES_KEPT_MS
        await self._pool.execute("DELETE FROM batches WHERE committed_at < $1", oldest)

    async def run_script(self, statements: Iterable[str], unless: str = "") -> None:
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(f"SELECT pg_advisory_xact_lock({_SCHEMA_LOCK})")
            is_done = bool(unless) and await connection.fetchrow(unless) is not None
            for statement in () if is_done else statements:
                await connection.execute(statement)
        await self._read_types()

    async def close(self) -> None:
        await self._pool.close()
