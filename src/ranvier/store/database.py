"""The seam between the store and its two databases.

SQL is written once, for both: parameters are `$1`, `$2`, …; a list is matched with `= ANY($1)`; types are BIGINT, TEXT,
BYTEA and BOOLEAN; upserts are `ON CONFLICT … DO …`. A function of the store takes a `Reader` or a `Transaction` and
awaits it; on SQLite these answer without ever suspending.
"""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

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


class Fence(NamedTuple):
    """A portion of a queue as its holder has it: the number grows each time it changes hands (`store/shares.py`)."""

    queue: str
    portion: int
    number: int


class Transaction(Reader, Protocol):
    """A reader that may also write; what it announces enters the log in the same commit.

    Where it `is_careful`, to ask how many rows were written is cheap, or others are known to write the same.
    """

    is_careful: bool

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

    async def put(
        self,
        table: str,
        columns: str,
        rows: Sequence[Sequence[Any]],
        on_conflict: str = "",
        short: Exception | None = None,
    ) -> None:
        """Insert all rows like `insert`, which may wait until something else is asked, or for the commit.

        Where fewer rows than given are written, `short` is raised, here or later, and ends the transaction.
        """
        ...

    def part(self) -> AbstractAsyncContextManager[None]:
        """A part of the transaction: what raises within is undone, announcements included, and raised on."""
        ...

    async def take_turn(self) -> None:
        """Wait until no other process is in a transaction that took a turn: what is read now holds until the commit.

        It ends if nothing is asked of it for a second, as when its process was stopped.
        """
        ...

    def fence(self, fence: Fence) -> None:
        """Commit only if the portion did not change hands; otherwise the commit raises, and nothing is written."""
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


class Unavailable(Exception):
    """The database does not answer now, and did not for some seconds; what was asked may be asked again."""


class CommitLost(Unavailable):
    """The connection broke, and nothing of the transaction was committed, nor ever will be."""


class CommitUnknown(Unavailable):
    """The connection broke while committing, and the database did not come back: nobody knows what became of it.

    Whoever repeats it may do everything twice.
    """


class Fenced(Exception):
    """A portion of a queue belongs to another process now: nothing of the transaction was written."""


class Crowded(Exception):
    """Others were faster with some of what was put: the transaction is run again, and asks for counts."""


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
