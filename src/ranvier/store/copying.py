"""All rows of a SQLite database into a PostgreSQL one, while the server goes on writing to the first.

Triggers note the key of each row that changes. Rows are copied in the order of their keys; then the noted ones are
taken anew, again and again, until the server is stopped and the last ones are in. Whatever ends a copy, the next one
goes on from there: how far it came stands in the target, committed with the rows.
"""

# ruff: noqa: S608 - tables and columns are named by the databases' own schemas
import asyncio
import hashlib
import secrets
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from ranvier.store.database import Row
from ranvier.store.postgres import PostgresDatabase

MOVED: Final = "moved_to"
"""The fact in `meta` that keeps a server from starting on a database that was copied to its end."""
_PORTION: Final = 500
_LEFT_OUT: Final = ("schema_version", "search_texts", "processes", "leases", "batches")
"""What the target has of its own: its schema, an index that it makes anew, who is alive."""
_DERIVED: Final = ("search_",)
_TYPES: Final = {"BIGINT": "bigint", "TEXT": "text", "BYTEA": "bytea", "BOOLEAN": "boolean"}
_CHANGES: Final = "copy_changes"
_PROGRESS: Final = "copy_progress"

Told = Callable[[str, int], None]
"""Hears of progress: a table, and rows that were done."""


class CannotCopy(Exception):
    """The copy can't begin or go on; the message says why, and what to do."""


class Differs(CannotCopy):
    """A row was not found as it was written."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of both databases: columns with PostgreSQL's types, and which of them are the key."""

    name: str
    columns: tuple[str, ...]
    types: tuple[str, ...]
    key: tuple[int, ...]

    @property
    def key_columns(self) -> tuple[str, ...]:
        """The names of the key's columns, in its order."""
        return tuple(self.columns[place] for place in self.key)

    def noted(self, row: str) -> str:
        """SQLite's expression for the key of a trigger's OLD or NEW row, as JSON."""
        parts = [
            f"hex({row}.{self.columns[place]})"
            if self.types[place] == "bytea"
            else f"{row}.{self.columns[place]}"
            for place in self.key
        ]
        return f"json_array({', '.join(parts)})"

    def key_of(self, row: Row) -> tuple[Any, ...]:
        """The key of a row."""
        return tuple(row[place] for place in self.key)

    def written(self, key: Sequence[Any]) -> str:
        """A key as `noted` writes it."""
        return orjson.dumps(
            [part.hex().upper() if isinstance(part, bytes) else part for part in key]
        ).decode()

    def read(self, written: str) -> tuple[Any, ...]:
        """The key that `noted` wrote."""
        parts = orjson.loads(written)
        return tuple(
            bytes.fromhex(part) if self.types[place] == "bytea" else part
            for place, part in zip(self.key, parts, strict=True)
        )

    def converted(self, row: Sequence[Any]) -> tuple[Any, ...]:
        """A row of SQLite with PostgreSQL's values."""
        return tuple(
            bool(value) if kind == "boolean" and value is not None else value
            for kind, value in zip(self.types, row, strict=True)
        )


class Copying:
    """One copy: `prepare`, `copy` each table, `follow` until there is little left, `verify`, and `finish`."""

    def __init__(self, source: Path, target: PostgresDatabase) -> None:
        self._path = source
        self._target = target
        self._source = sqlite3.connect(f"file:{source}?mode=rw", uri=True, isolation_level=None)
        self._source.execute("PRAGMA busy_timeout = 10000")
        self.tables: list[Table] = []
        self.digests: dict[str, str] = {}
        """By table, the SHA-256 of the rows that were found the same in both databases."""

    def close(self) -> None:
        """Let go of the source."""
        self._source.close()

    async def prepare(self) -> None:
        """Find out what there is to copy, and note changes from now on; raises `CannotCopy`."""
        self.tables = list(self._read_tables())
        progress = await self._progress()
        if self._source.execute("SELECT 1 FROM meta WHERE name = ?", (MOVED,)).fetchone():
            if progress is not None:
                await self._target.run_script([f"DROP TABLE {_PROGRESS}"])
            raise CannotCopy("The SQLite database was copied to its end already.")
        mark = self._note_changes()
        if progress is None:
            if await self._target.fetch_value("SELECT 1 FROM meta WHERE name = 'server_name'"):
                raise CannotCopy("The PostgreSQL database is in use already: name an empty one.")
            create = f"CREATE TABLE {_PROGRESS} (name TEXT PRIMARY KEY, place TEXT NOT NULL)"
            begun = f"INSERT INTO {_PROGRESS} (name, place) VALUES ('source', '{mark}')"
            await self._target.run_script([create, begun])
        elif progress["source"] != mark:
            raise CannotCopy(
                "The PostgreSQL database holds a part of a copy of another SQLite database: name an empty one."
            )

    def _read_tables(self) -> Iterator[Table]:
        found = self._source.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        for (name,) in found.fetchall():
            if name in _LEFT_OUT or name.startswith((*_DERIVED, "sqlite_", "copy_")):
                continue
            facts = self._source.execute(f"PRAGMA table_info({name})").fetchall()
            keys = sorted((fact[5], place) for place, fact in enumerate(facts) if fact[5])
            types = tuple(_TYPES[fact[2]] for fact in facts)
            yield Table(name, tuple(fact[1] for fact in facts), types, tuple(place for _, place in keys))

    def _note_changes(self) -> str:
        """Make the triggers, unless they are there; answers the copy's mark."""
        source = self._source
        source.execute("BEGIN IMMEDIATE")
        source.execute(
            f"CREATE TABLE IF NOT EXISTS {_CHANGES} "
            "(seq INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, key TEXT NOT NULL)"
        )
        source.execute("CREATE TABLE IF NOT EXISTS copy_mark (mark TEXT NOT NULL)")
        found = source.execute("SELECT mark FROM copy_mark").fetchone()
        mark = str(found[0]) if found else secrets.token_hex(8)
        if not found:
            source.execute("INSERT INTO copy_mark (mark) VALUES (?)", (mark,))
        for table in self.tables:
            for event, rows in (("INSERT", ("NEW",)), ("UPDATE", ("OLD", "NEW")), ("DELETE", ("OLD",))):
                notes = "".join(
                    f"INSERT INTO {_CHANGES} (name, key) VALUES ('{table.name}', {table.noted(row)}); "
                    for row in rows
                )
                source.execute(
                    f"CREATE TRIGGER IF NOT EXISTS copy_{table.name}_{event.lower()} AFTER {event} ON {table.name} "
                    f"BEGIN {notes}END"
                )
        source.execute("COMMIT")
        return mark

    async def _progress(self) -> dict[str, str] | None:
        exists = "SELECT 1 FROM pg_tables WHERE schemaname = current_schema() AND tablename = $1"
        if not await self._target.fetch_value(exists, _PROGRESS):
            return None
        return {row[0]: row[1] for row in await self._target.fetch(f"SELECT name, place FROM {_PROGRESS}")}

    def count(self, table: Table) -> int:
        """Rows of the source."""
        return int(self._source.execute(f"SELECT COUNT(*) FROM {table.name}").fetchone()[0])

    async def copy(self, table: Table, told: Told) -> None:
        """Copy a table, from where an earlier copy ended."""
        progress = await self._progress() or {}
        place = progress.get(f"table {table.name}")
        if place == "whole":
            return
        last = table.read(place) if place else None
        while rows := self._after(table, last):
            last = table.key_of(rows[-1])
            await self._write(table, (), rows, f"table {table.name}", table.written(last))
            told(table.name, len(rows))
        await self._write(table, (), (), f"table {table.name}", "whole")

    def _after(self, table: Table, last: tuple[Any, ...] | None) -> list[tuple[Any, ...]]:
        key = ", ".join(table.key_columns)
        after = f"WHERE ({key}) > ({', '.join('?' * len(table.key))})" if last is not None else ""
        text = f"SELECT {', '.join(table.columns)} FROM {table.name} {after} ORDER BY {key} LIMIT {_PORTION}"
        return [table.converted(row) for row in self._source.execute(text, last or ()).fetchall()]

    async def _write(
        self, table: Table, keys: Sequence[tuple[Any, ...]], rows: Sequence[Row], name: str, place: str
    ) -> None:
        """Take rows of these keys away, write these, and note how far the copy has come, in one transaction.

        A row that stands in another's way is left out: both have changed meanwhile, and are taken anew.
        """
        async with self._target.connections.acquire() as connection, connection.transaction():
            await self._put(connection, table, keys, rows)
            await connection.execute(
                f"INSERT INTO {_PROGRESS} (name, place) VALUES ($1, $2) "
                "ON CONFLICT (name) DO UPDATE SET place = excluded.place",
                name,
                place,
            )

    async def _put(
        self, connection: Any, table: Table, keys: Sequence[tuple[Any, ...]], rows: Sequence[Row]
    ) -> None:
        if keys:
            same = " AND ".join(f"t.{column} = k.{column}" for column in table.key_columns)
            await connection.execute(
                f"DELETE FROM {table.name} t USING unnest({_arrays(table, table.key)}) AS "
                f"k({', '.join(table.key_columns)}) WHERE {same}",
                *(list(column) for column in zip(*keys, strict=True)),
            )
        if rows:
            await connection.execute(
                f"INSERT INTO {table.name} ({', '.join(table.columns)}) SELECT * FROM "
                f"unnest({_arrays(table, range(len(table.columns)))}) ON CONFLICT DO NOTHING",
                *(list(column) for column in zip(*rows, strict=True)),
            )

    def pending(self) -> int:
        """Changes that were noted and not taken in yet."""
        return int(self._source.execute(f"SELECT COUNT(*) FROM {_CHANGES}").fetchone()[0])

    async def follow(self) -> int:
        """Take in a portion of what changed; answers how many changes there were."""
        await self._forget((await self._progress() or {}).get("changes"))
        source = self._source
        source.execute("BEGIN")
        changes = source.execute(
            f"SELECT seq, name, key FROM {_CHANGES} ORDER BY seq LIMIT {_PORTION}"
        ).fetchall()
        by_table: dict[str, dict[str, None]] = {}
        for _, name, key in changes:
            by_table.setdefault(name, {})[key] = None
        tables = {table.name: table for table in self.tables}
        taken = [(tables[name], [tables[name].read(key) for key in keys]) for name, keys in by_table.items()]
        portions = [(table, keys, self._at(table, keys)) for table, keys in taken]
        source.execute("COMMIT")
        if not changes:
            return 0
        until = str(changes[-1][0])
        async with self._target.connections.acquire() as connection, connection.transaction():
            for table, keys, rows in portions:
                await self._put(connection, table, keys, rows)
            await connection.execute(
                f"INSERT INTO {_PROGRESS} (name, place) VALUES ('changes', $1) "
                "ON CONFLICT (name) DO UPDATE SET place = excluded.place",
                until,
            )
        await self._forget(until)
        for table, keys, rows in portions:
            await self._compare(table, keys, rows)
        return len(changes)

    async def _forget(self, until: str | None) -> None:
        if until is not None:
            self._source.execute(f"DELETE FROM {_CHANGES} WHERE seq <= ?", (int(until),))

    def _at(self, table: Table, keys: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """The rows of the source that stand at these keys."""
        where = " AND ".join(f"{column} = ?" for column in table.key_columns)
        text = f"SELECT {', '.join(table.columns)} FROM {table.name} WHERE {where}"
        rows = (self._source.execute(text, key).fetchone() for key in keys)
        return [table.converted(row) for row in rows if row is not None]

    async def verify(self, table: Table, told: Told) -> None:
        """Look whether each row of a table is the same in both; raises `Differs`."""
        digest = hashlib.sha256()
        last = None
        while rows := self._after(table, last):
            last = table.key_of(rows[-1])
            for row in await self._compare(table, [table.key_of(row) for row in rows], rows):
                digest.update(repr(row).encode())
            told(table.name, len(rows))
        self.digests[table.name] = digest.hexdigest()

    async def _compare(
        self, table: Table, keys: Sequence[tuple[Any, ...]], rows: Sequence[tuple[Any, ...]]
    ) -> list[tuple[Any, ...]]:
        """The rows of the target at these keys that are as they should be; others must have changed meanwhile."""
        same = " AND ".join(f"t.{column} = k.{column}" for column in table.key_columns)
        found = await self._target.fetch(
            f"SELECT {', '.join(f't.{column}' for column in table.columns)} FROM {table.name} t JOIN "
            f"unnest({_arrays(table, table.key)}) AS k({', '.join(table.key_columns)}) ON {same}",
            *(list(column) for column in zip(*keys, strict=True)),
        )
        here = {table.key_of(row): row for row in rows}
        there = {table.key_of(row): tuple(row) for row in found}
        for key in keys:
            if here.get(key) != there.get(key) and not self._is_noted(table, key):
                raise Differs(
                    f"The row {table.written(key)} of {table.name} is not the same in both databases. Start with an "
                    "empty PostgreSQL database again; if it happens twice, please report it."
                )
        return [there[key] for key in keys if key in there and here.get(key) == there[key]]

    def _is_noted(self, table: Table, key: tuple[Any, ...]) -> bool:
        parts = ", ".join("hex(?)" if table.types[place] == "bytea" else "?" for place in table.key)
        text = f"SELECT 1 FROM {_CHANGES} WHERE name = ? AND key = json_array({parts}) LIMIT 1"
        return self._source.execute(text, (table.name, *key)).fetchone() is not None

    def hold(self) -> bool:
        """Whether no server uses the source any more; if so, none can until the copy is finished."""
        with closing(sqlite3.connect(self._path, isolation_level=None, timeout=0)) as other:
            try:
                # Leaving this mode takes that there is nobody else, the connection of this copy included.
                self._source.close()
                mode = other.execute("PRAGMA journal_mode = DELETE").fetchone()[0]
            except sqlite3.OperationalError:
                mode = "wal"
        self._source = sqlite3.connect(f"file:{self._path}?mode=rw", uri=True, isolation_level=None)
        self._source.execute("PRAGMA busy_timeout = 10000")
        if mode != "delete":
            return False
        self._source.execute("PRAGMA locking_mode = EXCLUSIVE")
        try:
            self._source.execute("BEGIN EXCLUSIVE")
            self._source.execute("COMMIT")
        except sqlite3.OperationalError:
            self._source.execute("PRAGMA locking_mode = NORMAL")
            return False
        return True

    async def finish(self) -> dict[str, int]:
        """The last changes, the counts, the sequence, once the source is held; answers rows by table.

        Raises `Differs`.
        """
        while await self.follow():
            pass
        counts: dict[str, int] = {}
        for table in self.tables:
            here = self.count(table)
            there = int(await self._target.fetch_value(f"SELECT COUNT(*) FROM {table.name}"))
            if here != there:
                raise Differs(f"{table.name} has {here} rows in SQLite and {there} in PostgreSQL.")
            counts[table.name] = here
        async with self._target.connections.acquire() as connection, connection.transaction():
            # The positions of the log go on where they were: clients' tokens stay good.
            await connection.execute(
                "SELECT setval('log_position', GREATEST((SELECT COALESCE(MAX(position), 0) FROM log), 1), "
                "EXISTS (SELECT 1 FROM log))"
            )
            await connection.execute("DELETE FROM followers WHERE name = 'search'")
        self._leave_source()
        await self._target.run_script([f"DROP TABLE {_PROGRESS}"])
        return counts

    def _leave_source(self) -> None:
        """Take the triggers away, and keep servers from starting on what is old from now on."""
        source = self._source
        source.execute("BEGIN IMMEDIATE")
        for (name,) in source.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'copy~_%' ESCAPE '~'"
        ).fetchall():
            source.execute(f"DROP TRIGGER {name}")
        source.execute(
            "INSERT INTO meta (name, value) VALUES (?, 'PostgreSQL') ON CONFLICT DO NOTHING", (MOVED,)
        )
        source.execute(f"DROP TABLE {_CHANGES}")
        source.execute("DROP TABLE copy_mark")
        source.execute("COMMIT")


async def until_held(copying: Copying, tick: Callable[[int], None], pause: float = 0.2) -> None:
    """Go on taking in changes until the server is stopped; `tick` hears how many are left to take in."""
    while True:
        while await copying.follow():
            tick(copying.pending())
        if copying.hold():
            return
        tick(0)
        await asyncio.sleep(pause)


def _arrays(table: Table, places: Sequence[int] | range) -> str:
    return ", ".join(f"${number}::{table.types[place]}[]" for number, place in enumerate(places, 1))
