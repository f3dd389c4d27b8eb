"""SQLite behind the store's seam: one writer thread, readers on the loop, checkpoints off the path that answers."""

import asyncio
import contextlib
import re
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import orjson

from ranvier.store.database import Dialect, Entry, Fence, Outcome, Row, Write, savepoint

_ARRAY = re.compile(r"= ANY\(\$(\d+)\)")
_PARAMETER = re.compile(r"\$(\d+)")
_CHECKPOINT_SECONDS = 1.0
_CACHE_KIB = 16 * 1024
_SMALL_CACHE_KIB = 4 * 1024
"""For connections beside the loop's and the writer's; what they miss is in the system's cache."""
_IDLE = 4
"""Connections for snapshots that are kept open."""
_FEW = 16
"""Rows up to which each number of them has a statement of its own."""
_VARIABLES = 30_000
"""Values that one statement may hold; SQLite's own limit is 32,766."""

T = TypeVar("T")


class _Statement(NamedTuple):
    """A statement in SQLite's words: which value each of its places takes, None where that is just their order.

    `lists` are the values that are bound as a JSON array.
    """

    text: str
    order: tuple[int, ...] | None
    lists: frozenset[int]


@lru_cache(maxsize=2048)
def _translate(sql: str) -> _Statement:
    # Numbered places are dear in some releases of Python: 3.12 up to 3.12.3 warns of each, each time.
    order = tuple(int(number) - 1 for number in _PARAMETER.findall(sql))
    lists = frozenset(int(number) - 1 for number in _ARRAY.findall(sql))
    text = _PARAMETER.sub("?", _ARRAY.sub(r"IN (SELECT value FROM json_each($\1))", sql))
    return _Statement(text, order if order != tuple(range(len(order))) else None, lists)


def _bind(statement: _Statement, values: Sequence[Any]) -> Sequence[Any]:
    if statement.lists:
        values = [orjson.dumps(v).decode() if i in statement.lists else v for i, v in enumerate(values)]
    return [values[place] for place in statement.order] if statement.order is not None else values


def _drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that awaits nothing but this database, which never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as finished:
        return finished.value  # type: ignore[no-any-return]
    coroutine.close()
    raise RuntimeError("a transaction awaited something other than its database")


class _Connection:
    """A reader of one SQLite connection; every method answers at once."""

    dialect: Dialect = "sqlite"

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def _run(self, sql: str, values: Sequence[Any]) -> sqlite3.Cursor:
        statement = _translate(sql)
        return self.connection.execute(statement.text, _bind(statement, values))

    async def fetch(self, sql: str, *values: Any) -> Sequence[Row]:
        return self._run(sql, values).fetchall()

    async def fetch_row(self, sql: str, *values: Any) -> Row | None:
        # All rows are read, so that no statement stays open and holds a snapshot.
        rows = self._run(sql, values).fetchall()
        return rows[0] if rows else None

    async def fetch_value(self, sql: str, *values: Any) -> Any:
        row = await self.fetch_row(sql, *values)
        return row[0] if row is not None else None


class _Transaction(_Connection):
    is_careful = True

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__(connection)
        self.entries: list[Entry] = []

    async def execute(self, sql: str, *values: Any) -> int:
        return self._run(sql, values).rowcount

    async def insert(
        self, table: str, columns: str, rows: Sequence[Sequence[Any]], on_conflict: str = ""
    ) -> int:
        width = columns.count(",") + 1
        largest = 1 << ((_VARIABLES // width).bit_length() - 1)
        written = first = 0
        while first < len(rows):
            size = min(largest, _rows_at_once(len(rows) - first))
            text = _insert_text(table, columns, width, size, on_conflict)
            values = [value for row in rows[first : first + size] for value in row]
            written += self.connection.execute(text, values).rowcount
            first += size
        return written

    async def put(
        self,
        table: str,
        columns: str,
        rows: Sequence[Sequence[Any]],
        on_conflict: str = "",
        short: Exception | None = None,
    ) -> None:
        if await self.insert(table, columns, rows, on_conflict) < len(rows) and short is not None:
            raise short

    def part(self) -> AbstractAsyncContextManager[None]:
        return savepoint(self, self.entries)

    async def take_turn(self) -> None:
        # No other process can use the file.
        pass

    def fence(self, fence: Fence) -> None:
        # No other process can use the file.
        pass

    def announce(self, entry: Entry) -> None:
        self.entries.append(entry)


def _rows_at_once(number: int) -> int:
    """Few different numbers, so that statements stay prepared: a few rows are one statement, of many a power of two."""
    return number if number <= _FEW else 1 << (number.bit_length() - 1)


@lru_cache(maxsize=1024)
def _insert_text(table: str, columns: str, width: int, size: int, on_conflict: str) -> str:
    row = "(" + ",".join("?" * width) + ")"
    conflict = f" ON CONFLICT {on_conflict}" if on_conflict else ""
    return f"INSERT INTO {table} ({columns}) VALUES {','.join([row] * size)}{conflict}"  # noqa: S608


class SqliteDatabase(_Connection):
    """One database file in WAL mode with `synchronous=FULL`: what was committed survives power loss."""

    def __init__(self, path: Path, readers: int = 2) -> None:
        self._path = path
        super().__init__(self._connect(_CACHE_KIB))
        self._writer = self._connect(_CACHE_KIB)
        self._writer.execute("PRAGMA wal_autocheckpoint = 0")
        self._write_thread = ThreadPoolExecutor(1, "sqlite-writer")
        self._read_threads = ThreadPoolExecutor(readers, "sqlite-reader")
        self._local = threading.local()
        self._idle: list[sqlite3.Connection] = []
        self._opened: list[sqlite3.Connection] = []
        self._position: int | None = None
        self._closing = threading.Event()
        self._dirty = threading.Event()
        self._checkpointer = threading.Thread(target=self._checkpoint, name="sqlite-checkpoint", daemon=True)
        self._checkpointer.start()

    def _connect(self, cache_kib: int = _SMALL_CACHE_KIB) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False, cached_statements=512
        )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA busy_timeout = 10000")
        connection.execute(f"PRAGMA cache_size = -{cache_kib}")
        return connection

    async def _in_thread(self, pool: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(pool, work)

    async def fetch_slowly(self, sql: str, *values: Any) -> Sequence[Row]:
        def read() -> Sequence[Row]:
            reader = getattr(self._local, "reader", None)
            if reader is None:
                reader = self._local.reader = _Connection(self._connect())
                self._opened.append(reader.connection)
            return _drive(reader.fetch(sql, *values))

        return await self._in_thread(self._read_threads, read)

    @contextlib.asynccontextmanager
    async def snapshot(self) -> AsyncIterator[_Connection]:
        connection = self._idle.pop() if self._idle else self._connect()
        try:
            connection.execute("BEGIN")
            yield _Connection(connection)
        finally:
            connection.execute("COMMIT")
            if len(self._idle) < _IDLE:
                self._idle.append(connection)
            else:
                connection.close()

    async def commit(self, write: Write[Outcome]) -> tuple[Outcome, list[Entry]]:
        return await self._in_thread(self._write_thread, lambda: self._commit(write))

    def _commit(self, write: Write[Outcome]) -> tuple[Outcome, list[Entry]]:
        transaction = _Transaction(self._writer)
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            outcome: Outcome = _drive(write(transaction))  # type: ignore[arg-type]
            _drive(self._write_log(transaction))
            self._writer.execute("COMMIT")
        except BaseException:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            self._position = None
            raise
        self._dirty.set()
        return outcome, transaction.entries

    async def _write_log(self, transaction: _Transaction) -> None:
        if not transaction.entries:
            return
        if self._position is None:
            self._position = await transaction.fetch_value("SELECT COALESCE(MAX(position), 0) FROM log")
        assert self._position is not None
        for entry in transaction.entries:
            self._position += 1
            entry.position = self._position
        rows = [(e.position, e.kind, e.audience, e.ref) for e in transaction.entries]
        await transaction.insert("log", "position, kind, audience, ref", rows)

    async def forget_batches(self) -> None:
        # A commit to a file of one's own is never in doubt.
        pass

    async def run_script(self, statements: Iterable[str], unless: str = "") -> None:
        def run() -> None:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                is_done = bool(unless) and self._writer.execute(unless).fetchone() is not None
                for statement in () if is_done else statements:
                    self._writer.execute(statement)
                self._writer.execute("COMMIT")
            except BaseException:
                self._writer.execute("ROLLBACK")
                raise

        await self._in_thread(self._write_thread, run)

    def _checkpoint(self) -> None:
        connection = self._connect()
        while not self._closing.wait(_CHECKPOINT_SECONDS):
            if self._dirty.is_set():
                self._dirty.clear()
                with contextlib.suppress(sqlite3.OperationalError):
                    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        connection.close()

    async def close(self) -> None:
        self._closing.set()
        await asyncio.to_thread(self._checkpointer.join)
        await asyncio.to_thread(self._write_thread.shutdown)
        await asyncio.to_thread(self._read_threads.shutdown)
        for connection in (*self._idle, *self._opened, self.connection, self._writer):
            connection.close()
