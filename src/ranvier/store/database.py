"""The seam between the store and its two databases.

SQL is written once, for both: parameters are `$1`, `$2`, …; a list is matched with `= ANY($1)`; types are BIGINT, TEXT,
BYTEA and BOOLEAN; upserts are `ON CONFLICT … DO …`. A function of the store takes a `Reader` or a `Transaction` and
awaits it; on SQLite these answer without ever suspending.
"""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

Row = Sequence[Any]
Dialect = Literal["sqlite", "postgres"]
Outcome = TypeVar("Outcome")


class Reader(Protocol):
    """Something that answers queries."""

    dialect: Dialect

    async def fetch(self, sql: str, *values: Any) -> Sequence[Row]:
        """All rows."""
        ...

    async def fetch_row(self, sql: str, *values: Any) -> Row | None:
        """The first row, if there is one."""
        ...

    async def fetch_value(self, sql: str, *values: Any) -> Any:
        """The first column of the first row, or `None`."""
        ...


@dataclass(slots=True)
class Entry:
    """What the log will say of a change; `position` is set once it has one.

    `ref` names what changed, within its kind. `payload` is the changed thing itself for readers in this process; it is
    never stored. `weight` is about how many bytes it takes in memory, where that may be many.
    """

    kind: int
    audience: str
    ref: str
    payload: Any = None
    position: int = field(default=0)
    weight: int = field(default=0)


class Transaction(Reader, Protocol):
    """A reader that may also write; what it announces enters the log in the same commit."""

    async def execute(self, sql: str, *values: Any) -> int:
        """Run one statement; answers the number of rows that it changed."""
        ...

    async def insert(
        self, table: str, columns: str, rows: Sequence[Sequence[Any]], on_conflict: str = ""
    ) -> int:
        """Insert all rows in one statement (or few); `columns` is "a, b, c", `on_conflict` e.g. "DO NOTHING".

        Answers the number of rows written.
        """
        ...

    def part(self) -> AbstractAsyncContextManager[None]:
        """A part of the transaction: what raises within is undone, announcements included, and raised on."""
        ...

    def announce(self, entry: Entry) -> None:
        """Give the change a position in the log when this transaction commits."""
        ...


@contextlib.asynccontextmanager
async def savepoint(transaction: Transaction, entries: list[Entry]) -> AsyncIterator[None]:
    """A part of a transaction, for both databases; `entries` is what the transaction announced."""
    announced = len(entries)
    await transaction.execute("SAVEPOINT part")
    try:
        yield
    except BaseException:
        del entries[announced:]
        await transaction.execute("ROLLBACK TO SAVEPOINT part")
        await transaction.execute("RELEASE SAVEPOINT part")
        raise
    await transaction.execute("RELEASE SAVEPOINT part")


Write = Callable[[Transaction], Awaitable[Outcome]]


class CommitLost(Exception):
    """The connection broke while committing, and looking the batch up found that it was not, and never will be."""


class CommitUnknown(Exception):
    """The connection broke while committing, and the database did not come back: nobody knows what became of it.

    Whoever repeats it may do everything twice.
    """


class Database(Reader, Protocol):
    """A database with one schema. Plain reads see the newest commit; a `snapshot` sees one moment."""

    def snapshot(self) -> AbstractAsyncContextManager[Reader]:
        """A reader of one consistent moment, for several queries that must fit together."""
        ...

    async def fetch_slowly(self, sql: str, *values: Any) -> Sequence[Row]:
        """Like `fetch`, for queries that may read much: never holds up the event loop."""
        ...

    async def commit(self, write: Write[Outcome]) -> tuple[Outcome, list[Entry]]:
        """Run `write` in one durable transaction; answers its outcome and the log entries with their positions.

        Whatever `write` raises rolls everything back and is raised here.
        """
        ...

    async def forget_batches(self) -> None:
        """Drop what only served to find out whether a commit happened, where nobody can be unsure any more."""
        ...

    async def run_script(self, statements: Iterable[str], unless: str = "") -> None:
        """Run schema statements in one transaction, one script at a time whichever process brings it.

        Does nothing where the query `unless`, made once it is this script's turn, finds a row.
        """
        ...

    async def close(self) -> None:
        """Let go of all connections."""
        ...
