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

from ranvier.store.database import Dialect, Entry, Fence, Fenced, Row, savepoint

LOG_LOCK = 0x52414E56
CHANNEL = "ranvier"
"""Of notifications, as `bus/listen.py` hears it."""
Types = dict[str, dict[str, str]]
_SETTING = "ranvier.batch"
_SHORT = re.compile(r"put (\d+) was short")

# One message, no parameters: the simple query protocol runs it as a whole on the server. The rows come from a setting
# that the transaction made for itself; positions are drawn in the order of the list, under the lock.
_APPEND = f"""
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
"""
# What goes before it where there are fences: a share lock on each lease that stands, and an error if one does not.
_FENCES = f"""
WITH given AS (
    SELECT f ->> 0 AS name, (f ->> 1)::bigint AS portion, (f ->> 2)::bigint AS fence
    FROM jsonb_array_elements(current_setting('{_SETTING}')::jsonb -> 'fences') AS f
),
standing AS (
    SELECT 1 FROM leases l JOIN given g ON l.name = g.name AND l.portion = g.portion AND l.fence = g.fence
    ORDER BY l.name, l.portion FOR SHARE OF l
)
SELECT 1 / ((SELECT COUNT(*) FROM given) = (SELECT COUNT(*) FROM standing))::int;
"""
# Other processes are told in the same message, as `bus/rings.py` reads it, since the positions are only known here.
_RING = f"""
SELECT pg_notify('{CHANNEL}', 'log [' || COALESCE((SELECT MAX(position) FROM log WHERE position < first_position), 0)
    || ',' || first_position || ',' || (value ->> 'ring'))
FROM (SELECT current_setting('{_SETTING}')::jsonb AS value) AS batch JOIN batches ON id = value ->> 'id'
WHERE first_position IS NOT NULL;
"""
_FINISH = _APPEND + "COMMIT;"
_FINISH_AND_RING = _APPEND + _RING + "COMMIT;"
# Who is stopped with the lock is cut off by the server, which releases it.
_TAKE_TURN = f"""
SET LOCAL idle_in_transaction_session_timeout = '1s'; SELECT pg_advisory_xact_lock({LOG_LOCK + 2});
"""
_RING_BYTES = 7_800
"""Of a ring with its entries; PostgreSQL takes less than 8,000."""


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

    def __init__(self, connection: Any, types: Types, *, pooled: bool, is_careful: bool) -> None:
        super().__init__(connection)
        self.is_careful = is_careful
        self._types = types
        self._puts: list[_Put] = []
        self._begun = False
        self._failed: Exception | None = None
        self._pooled = pooled
        self.entries: list[Entry] = []
        self.fences: set[Fence] = set()
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

    async def take_turn(self) -> None:
        """Wait until no other process is in a transaction that took a turn."""
        if self._begun or self._puts:
            await self._go_on()
            await self._connection.execute(_TAKE_TURN)
        else:
            self._begun = True
            await self._connection.execute(f"BEGIN; {_TAKE_TURN}")

    def fence(self, fence: Fence) -> None:
        """Commit only if the portion did not change hands."""
        self.fences.add(fence)

    def announce(self, entry: Entry) -> None:
        """Give the change a position in the log when this transaction commits."""
        self.entries.append(entry)

    async def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            await self._connection.execute("BEGIN")

    async def _go_on(self) -> None:
        if self._failed is not None:
            # Whoever asked when it failed need not be the one whose rows were short.
            raise self._failed
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
            self._failed = short
            raise short from error

    async def finish(self, batch: str, rings_as: str | None) -> int | None:
        """Commit; answers the first position of the entries, if there are any.

        `rings_as` is the id under which other processes are told in the same commit, None if they are not.
        """
        at = int(time.time() * 1000)
        rows = [(entry.kind, entry.audience, entry.ref) for entry in self.entries]
        ring = _ring(rings_as, rows) if rings_as is not None and rows else None
        # Through a pooler a statement with parameters takes two messages, which only a transaction keeps together.
        if not (self._begun or self._pooled or self.fences):
            return await self._finish_at_once(batch, at, rows, ring)
        value = {
            "id": batch,
            "at": at,
            "entries": rows,
            "ring": ring,
            "fences": [list(fence) for fence in self.fences],
        }
        await self._go_on()
        await self._connection.execute(
            "SELECT set_config($1, $2, true)", _SETTING, orjson.dumps(value).decode()
        )
        self.is_finishing = True
        finish = _FINISH if ring is None else _FINISH_AND_RING
        try:
            await self._connection.execute(_FENCES + finish if self.fences else finish)
        except asyncpg.DivisionByZeroError as error:
            raise Fenced(str(self.fences)) from error
        if not self.entries:
            return None
        found = "SELECT first_position FROM batches WHERE id = $1"
        if not self._pooled:
            return await self._connection.fetchval(found, batch)  # type: ignore[no-any-return]
        async with self._connection.transaction():
            return await self._connection.fetchval(found, batch)  # type: ignore[no-any-return]

    async def _finish_at_once(
        self, batch: str, at: int, rows: Sequence[tuple[int, str, str]], ring: str | None
    ) -> int | None:
        text = _finishing_text(tuple(put.shape for put in self._puts), bool(rows), ring is not None)
        further: list[Any] = [batch, at, *(list(column) for column in zip(*rows, strict=True))]
        if ring is not None:
            further.append(ring)
        self.is_finishing = True
        return await self._send(self._puts, text, further)  # type: ignore[no-any-return]

    async def roll_back(self) -> None:
        """Undo what was begun."""
        if self._begun and not self._connection.is_closed():
            await self._connection.execute("ROLLBACK")


def _ring(rings_as: str, rows: Sequence[tuple[int, str, str]]) -> str:
    """The end of what other processes are told, as `bus/rings.py` reads it."""
    told = orjson.dumps(rows)
    return f'"{rings_as}",{told.decode() if len(told) <= _RING_BYTES else len(rows)}]'


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
def _finishing_text(shapes: tuple[_Shape, ...], has_entries: bool, rings: bool) -> str:
    """A whole commit in one statement.

    Its last parameters are the batch's id, the time, columns of the entries, and the end of the ring.
    """
    parts, checked, place = _puts(shapes)
    batch = "INSERT INTO batches (id, first_position, committed_at)"
    parts.append(f"checked AS MATERIALIZED (SELECT {checked} AS zero)")
    if not has_entries:
        parts.append(f"batch AS ({batch} SELECT ${place}, NULL, ${place + 1}::bigint + zero FROM checked)")
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
    if not rings:
        return f"WITH {', '.join(parts)} SELECT MIN(position) FROM drawn"
    # The statement does not see what was committed while it waited for the lock; the sequence tells as much.
    parts.append(
        f"rung AS MATERIALIZED (SELECT pg_notify('{CHANNEL}', 'log [' || MIN(position) - 1 || ',' || MIN(position) "
        f"|| ',' || ${place + 5}::text) AS told FROM drawn)"
    )
    return f"WITH {', '.join(parts)} SELECT MIN(position), (SELECT COUNT(told) FROM rung) FROM drawn"
