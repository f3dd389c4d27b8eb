"""The texts of events by their words: FTS5 on SQLite, tsvector on PostgreSQL, behind functions that are the same.

A text is taken apart by `words`, so both databases find the same. Each word that is looked for matches the words that
begin with it; the pieces of a run follow one another.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from ranvier.store.database import Database, Reader, Transaction
from ranvier.store.words import Run, split

MOST_COUNTED: Final = 10_000
"""Results that are counted."""
_PLACES: Final = 200
"""Rooms that SQLite is told to look for as words; more are sorted out afterwards."""


class Text(NamedTuple):
    """A text to be found: the event's number, its room's, where in it the text stands, and when it was sent (ms)."""

    event: int
    room: int
    key: str
    at: int
    text: str


class Hit(NamedTuple):
    """An event that was found; a higher rank fits better."""

    event: int
    at: int
    rank: float


class Wanted(NamedTuple):
    """What is looked for: these runs in texts of these rooms (numbers) at these keys."""

    runs: Sequence[Run]
    rooms: Sequence[int]
    keys: Sequence[str]


async def add(transaction: Transaction, texts: Sequence[Text]) -> None:
    """Make texts findable; those that are stay as they are."""
    known = await transaction.fetch(
        "SELECT event FROM search_texts WHERE event = ANY($1)", [text.event for text in texts]
    )
    seen = {row[0] for row in known}
    new = [text for text in texts if text.event not in seen]
    if not new:
        return
    if transaction.dialect == "postgres":
        columns = [[getattr(text, name) for text in new] for name in ("event", "room", "key", "at")]
        await transaction.execute(
            "INSERT INTO search_texts (event, room, key, sent_ts, words) SELECT e, r, k, t, w::tsvector "
            "FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::text[]) AS u(e, r, k, t, w) "
            "ON CONFLICT DO NOTHING",
            *columns,
            [_vector(split(text.text)) for text in new],
        )
        return
    await transaction.insert(
        "search_texts", "event, room, key, sent_ts", [(t.event, t.room, t.key, t.at) for t in new]
    )
    await transaction.insert(
        "search_words",
        "rowid, place, words",
        [(t.event, f"r{t.room}", " ".join(" ".join(run) for run in split(t.text))) for t in new],
    )


async def remove(transaction: Transaction, events: Sequence[int]) -> None:
    """Nobody shall find these events any more."""
    await transaction.execute("DELETE FROM search_texts WHERE event = ANY($1)", list(events))
    if transaction.dialect == "sqlite":
        await transaction.execute("DELETE FROM search_words WHERE rowid = ANY($1)", list(events))


async def texts_after(reader: Reader, event: int, limit: int) -> list[int]:
    """The numbers of live events that may hold texts, after a number, in order."""
    rows = await reader.fetch(
        "SELECT nid FROM events WHERE nid > $1 AND timeline_version IS NOT NULL AND redacted_by IS NULL "
        "AND type IN ('m.room.message', 'm.room.name', 'm.room.topic') ORDER BY nid LIMIT $2",
        event,
        limit,
    )
    return [row[0] for row in rows]


async def clear(transaction: Transaction) -> None:
    """Forget all."""
    await transaction.execute("DELETE FROM search_texts")
    if transaction.dialect == "sqlite":
        await transaction.execute("DELETE FROM search_words")


async def newest(database: Database, wanted: Wanted, before: tuple[int, int], limit: int) -> list[Hit]:
    """What fits, the newest first, before a time and event number."""
    sql = (
        f"SELECT t.event, t.sent_ts, 0 FROM {_matching(database)} AND (t.sent_ts, t.event) < ($4, $5) "  # noqa: S608
        "ORDER BY t.sent_ts DESC, t.event DESC LIMIT $6"
    )
    rows = await database.fetch_slowly(sql, *_values(database, wanted), *before, limit)
    return [Hit(row[0], row[1], float(row[2])) for row in rows]


async def best(database: Database, wanted: Wanted, offset: int, limit: int) -> list[Hit]:
    """What fits, the best first."""
    if database.dialect == "postgres":
        rank = "ts_rank_cd(t.words, $1::text::tsquery)"
    else:
        rank = "-w.rank"
    sql = (
        f"SELECT t.event, t.sent_ts, {rank} FROM {_matching(database)} "  # noqa: S608
        "ORDER BY 3 DESC, t.sent_ts DESC, t.event DESC LIMIT $4 OFFSET $5"
    )
    rows = await database.fetch_slowly(sql, *_values(database, wanted), limit, offset)
    return [Hit(row[0], row[1], float(row[2])) for row in rows]


async def count(database: Database, wanted: Wanted) -> int:
    """How many fit, up to `MOST_COUNTED`."""
    sql = f"SELECT COUNT(*) FROM (SELECT 1 FROM {_matching(database)} LIMIT $4) AS found"  # noqa: S608
    rows = await database.fetch_slowly(sql, *_values(database, wanted), MOST_COUNTED)
    return int(rows[0][0])


def _matching(reader: Reader) -> str:
    if reader.dialect == "postgres":
        return "search_texts t WHERE t.words @@ $1::text::tsquery AND t.room = ANY($2) AND t.key = ANY($3)"
    return (
        "search_words w JOIN search_texts t ON t.event = w.rowid "
        "WHERE w.search_words MATCH $1 AND t.room = ANY($2) AND t.key = ANY($3)"
    )


def _values(reader: Reader, wanted: Wanted) -> tuple[str, list[int], list[str]]:
    make = _tsquery if reader.dialect == "postgres" else _fts_query
    return make(wanted), list(wanted.rooms), list(wanted.keys)


# What `words` gives holds letters, digits and marks only, so there is nothing to escape.


def _fts_query(wanted: Wanted) -> str:
    words = " AND ".join(f'"{" ".join(run)}" *' for run in wanted.runs)
    if len(wanted.rooms) > _PLACES:
        return f"words : ({words})"
    places = " OR ".join(f'"r{room}"' for room in wanted.rooms)
    return f"words : ({words}) AND place : ({places})"


def _tsquery(wanted: Wanted) -> str:
    return " & ".join(
        "(" + " <-> ".join([*(f"'{piece}'" for piece in run[:-1]), f"'{run[-1]}':*"]) + ")"
        for run in wanted.runs
    )


def _vector(runs: Sequence[Run]) -> str:
    # PostgreSQL keeps positions up to 16,383, and 256 of one word.
    places: dict[str, list[str]] = {}
    for place, piece in enumerate((piece for run in runs for piece in run), start=1):
        places.setdefault(piece, []).append(str(place))
    return " ".join(f"'{piece}':{','.join(found[:256])}" for piece, found in places.items())
