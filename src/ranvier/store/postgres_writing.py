"""A transaction on PostgreSQL, with as few messages to and fro as it takes.

What is only put, not asked about, goes to the server in one statement. If a transaction does nothing but put, that
statement is all of it: rows, the log's lock, positions, entries, and the commit. Otherwise the last message carries
what the log needs. In both cases the server holds the log's lock, and nothing waits for this process while it does.
"""

# ruff: noqa: S608 - tables and columns are named by functions of the store
import re
import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from functools import lru_cache
from typing import Any, NamedTuple

import asyncpg
import orjson

from ranvier.store.database import Dialect, Entry, Row, savepoint

LOG_LOCK = 0x52414E56
Types = dict[str, dict[str, str]]
_SETTING = "ranvier.batch"
_SHORT = re.compile(r"put (\d+) was short")

# One message, no parameters: the simple query protocol runs it as a whole on the server. The rows come from a setting
# that the transaction made for itself; positions are drawn in the order of the list, under the lock.
_FINISH = f"""
SELECT pg_advisory_xact_lock({LOG_LOCK});
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
COMMIT;
"""


class Connection:
    """A reader of one connection."""

    dialect: Dialect = "postgres"

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def fetch(self, sql: str, *values: Any) -> Sequence[Row]:
        """All rows."""
        return await self._connection.fetch(sql, *values)  # type: ignore[no-any-return]

    async def fetch_row(self, sql: str, *values: Any) -> Row | None:
        """The first row, if there is one."""
        return await self._connection.fetchrow(sql, *values)  # type: ignore[no-any-return]

    async def fetch_value(self, sql: str, *values: Any) -> Any:
        """The first column of the first row, or `None`."""
        return await self._connection.fetchval(sql, *values)


class _Shape(NamedTuple):
    """What the text of an insert depends on; `counted` says that fewer rows than given are an error."""

    table: str
    columns: str
    types: tuple[str, ...]
    on_conflict: str
    counted: bool


class _Put(NamedTuple):
    shape: _Shape
    columns: list[list[Any]]
    short: Exception | None


class PostgresTransaction(Connection):
    """A transaction that begins when something is asked of it, and ends with `finish` or `roll_back`."""

    def __init__(self, connection: Any, types: Types, *, pooled: bool) -> None:
        super().__init__(connection)
        self._types = types
        self._puts: list[_Put] = []
        self._begun = False
        self._pooled = pooled
        self.entries: list[Entry] = []
        self.is_finishing = False
        """Whether the message was sent that commits, so that only the database knows what became of it."""

    async def fetch(self, sql: str, *values: Any) -> Sequence[Row]:
        await self._go_on()
        return await super().fetch(sql, *values)

    async def fetch_row(self, sql: str, *values: Any) -> Row | None:
        await self._go_on()
        return await super().fetch_row(sql, *values)

    async def fetch_value(self, sql: str, *values: Any) -> Any:
        await self._go_on()
        return await super().fetch_value(sql, *values)

    async def execute(self, sql: str, *values: Any) -> int:
        """Run one statement; answers the number of rows that it changed."""
        await self._go_on()
        status = await self._connection.execute(sql, *values)
        count = status.rpartition(" ")[2]
        return int(count) if count.isdigit() else 0

    async def insert(
        self, table: str, columns: str, rows: Sequence[Sequence[Any]], on_conflict: str = ""
    ) -> int:
        """Insert all rows; answers the number of rows written."""
        if not rows:
            return 0
        shape = self._shape(table, columns, on_conflict, counted=False)
        text = f"INSERT INTO {table} ({columns}) SELECT * FROM unnest({_arrays(shape, 1)}){_conflict(shape)}"
        return await self.execute(text, *(list(column) for column in zip(*rows, strict=True)))

    async def put(
        self,
        table: str,
        columns: str,
        rows: Sequence[Sequence[Any]],
        on_conflict: str = "",
        short: Exception | None = None,
    ) -> None:
        """Insert all rows before anything else is asked, at the latest by the commit."""
        if not rows:
            return
        if any(put.shape.table == table for put in self._puts):
            # One statement can't change a row that it has made.
            await self._go_on()
        shape = self._shape(table, columns, on_conflict, counted=short is not None)
        self._puts.append(_Put(shape, [list(column) for column in zip(*rows, strict=True)], short))

    def _shape(self, table: str, columns: str, on_conflict: str, *, counted: bool) -> _Shape:
        types = self._types[table]
        return _Shape(
            table, columns, tuple(types[name.strip()] for name in columns.split(",")), on_conflict, counted
        )

    def part(self) -> AbstractAsyncContextManager[None]:
        """A part of the transaction: what raises within is undone, announcements included."""
        return savepoint(self, self.entries)

    def announce(self, entry: Entry) -> None:
        """Give the change a position in the log when this transaction commits."""
        self.entries.append(entry)

    async def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            await self._connection.execute("BEGIN")

    async def _go_on(self) -> None:
        await self._begin()
        if self._puts:
            puts, self._puts = self._puts, []
            await self._send(puts, _putting_text(tuple(put.shape for put in puts)), ())

    async def _send(self, puts: Sequence[_Put], text: str, further: Sequence[Any]) -> Any:
        """Run the statement that writes what was put; its parameters are each put's columns and count, then others."""
        values: list[Any] = []
        for put in puts:
            values += put.columns
            if put.short is not None:
                values.append(len(put.columns[0]))
        try:
            return await self._connection.fetchval(text, *values, *further)
        except asyncpg.InvalidTextRepresentationError as error:
            found = _SHORT.search(str(error))
            short = puts[int(found[1])].short if found else None
            if short is None:
                raise
            raise short from error

    async def finish(self, batch: str) -> int | None:
        """Commit; answers the first position of the entries, if there are any."""
        at = int(time.time() * 1000)
        # Through a pooler a statement with parameters takes two messages, which only a transaction keeps together.
        if not self._begun and not self._pooled:
            return await self._finish_at_once(batch, at)
        value = {
            "id": batch,
            "at": at,
            "entries": [[e.kind, e.audience, e.ref] for e in self.entries],
        }
        await self._go_on()
        await self._connection.execute(
            "SELECT set_config($1, $2, true)", _SETTING, orjson.dumps(value).decode()
        )
        self.is_finishing = True
        await self._connection.execute(_FINISH)
        if not self.entries:
            return None
        found = "SELECT first_position FROM batches WHERE id = $1"
        if not self._pooled:
            return await self._connection.fetchval(found, batch)  # type: ignore[no-any-return]
        async with self._connection.transaction():
            return await self._connection.fetchval(found, batch)  # type: ignore[no-any-return]

    async def _finish_at_once(self, batch: str, at: int) -> int | None:
        text = _finishing_text(tuple(put.shape for put in self._puts), bool(self.entries))
        further: list[Any] = [batch, at]
        if self.entries:
            further += [
                [entry.kind for entry in self.entries],
                [entry.audience for entry in self.entries],
                [entry.ref for entry in self.entries],
            ]
        self.is_finishing = True
        return await self._send(self._puts, text, further)  # type: ignore[no-any-return]

    async def roll_back(self) -> None:
        """Undo what was begun."""
        if self._begun and not self._connection.is_closed():
            await self._connection.execute("ROLLBACK")


def _arrays(shape: _Shape, first: int) -> str:
    return ", ".join(f"${place}::{kind}[]" for place, kind in enumerate(shape.types, first))


def _conflict(shape: _Shape) -> str:
    return f" ON CONFLICT {shape.on_conflict}" if shape.on_conflict else ""


def _puts(shapes: Sequence[_Shape]) -> tuple[list[str], str, int]:
    """The parts of a statement that puts; an expression that is 0 or fails; and the place of the next parameter.

    Each part waits for the one before it, so that rows are locked in the same order everywhere. The expression fails
    where fewer rows were written than given: the number of the put is in the text that PostgreSQL can't read as one.
    """
    parts: list[str] = []
    checks = ["0"]
    place = 1
    for number, shape in enumerate(shapes):
        after = f" WHERE (SELECT n FROM counted{number - 1}) >= 0" if number else ""
        parts += [
            f"put{number} AS (INSERT INTO {shape.table} ({shape.columns}) "
            f"SELECT * FROM unnest({_arrays(shape, place)}) AS given{after}{_conflict(shape)} RETURNING 1)",
            f"counted{number} AS MATERIALIZED (SELECT COUNT(*) AS n FROM put{number})",
        ]
        place += len(shape.types)
        written = f"(SELECT n FROM counted{number})"
        if shape.counted:
            checks.append(
                f"CASE WHEN {written} < ${place}::bigint "
                f"THEN CAST('put {number} was short: ' || {written} AS bigint) ELSE 0 END"
            )
            place += 1
        elif number == len(shapes) - 1:
            checks.append(f"{written} * 0")
    return parts, " + ".join(checks), place


@lru_cache(maxsize=512)
def _putting_text(shapes: tuple[_Shape, ...]) -> str:
    parts, checked, _ = _puts(shapes)
    return f"WITH {', '.join(parts)} SELECT {checked}"


@lru_cache(maxsize=512)
def _finishing_text(shapes: tuple[_Shape, ...], has_entries: bool) -> str:
    """A whole commit in one statement; its last parameters are the batch's id, the time, and columns of the entries."""
    parts, checked, place = _puts(shapes)
    batch = "INSERT INTO batches (id, first_position, committed_at)"
    parts.append(f"checked AS MATERIALIZED (SELECT {checked} AS zero)")
    if not has_entries:
        parts.append(f"batch AS ({batch} SELECT ${place}, NULL, ${place + 1}::bigint FROM checked)")
        return f"WITH {', '.join(parts)} SELECT NULL"
    arrays = f"${place + 2}::bigint[], ${place + 3}::text[], ${place + 4}::text[]"
    parts += [
        f"locked AS MATERIALIZED (SELECT pg_advisory_xact_lock({LOG_LOCK} + zero) FROM checked)",
        f"drawn AS MATERIALIZED (SELECT nextval('log_position') AS position, kind, audience, ref FROM ("
        f"SELECT kind, audience, ref FROM locked, unnest({arrays}) WITH ORDINALITY AS e (kind, audience, ref, place) "
        "ORDER BY place) AS ordered)",
        "written AS (INSERT INTO log (position, kind, audience, ref) SELECT position, kind, audience, ref FROM drawn)",
        f"batch AS ({batch} SELECT ${place}, MIN(position), ${place + 1}::bigint FROM drawn)",
    ]
    return f"WITH {', '.join(parts)} SELECT MIN(position) FROM drawn"
