"""What processes appended to rooms, as those read it that did not."""

from collections.abc import Sequence
from typing import NamedTuple

import orjson

from ranvier.store.database import Reader, Row
from ranvier.store.events import FROM, READ, StoredEvent, stored
from ranvier.store.state import Root
from ranvier.store.unread import HIGHLIGHTS, CounterRow

_HIGHLIGHTS = f"{HIGHLIGHTS}main"


class Appended(NamedTuple):
    """An event that made a version of its room's timeline.

    `extremities` are numbers of events, `root` is that of the state after it. `counters` are those of the main timeline
    that the event moved.
    """

    version: int
    extremities: tuple[int, ...]
    root: Root
    kept: StoredEvent
    counters: list[CounterRow]


async def at(reader: Reader, places: Sequence[tuple[int, int]]) -> list[Appended]:
    """The events that made these versions (room, version); the SQL is PostgreSQL's, as on SQLite there are no others.

    It begins with the places, of which any plan expects few: a range of the log would be planned by what it might hold.
    """
    rows = await reader.fetch(
        f"SELECT {READ}, t.version, t.extremities, t.state_line, t.state_version, c.counter, h.counter "
        f"{FROM} JOIN timeline t ON t.event = e.nid "
        "JOIN unnest($1::bigint[], $2::bigint[]) AS w (room, version) ON t.room = w.room AND t.version = w.version "
        "LEFT JOIN unread_counters c ON c.room = t.room AND c.thread = 'main' AND c.version = t.version "
        f"LEFT JOIN unread_counters h ON h.room = t.room AND h.thread = '{_HIGHLIGHTS}' AND h.version = t.version",
        [room for room, _ in places],
        [version for _, version in places],
    )
    return [_appended(row) for row in rows]


def _appended(row: Row) -> Appended:
    kept = stored(row)
    version, extremities, line, state_version, counter, highlights = (row[place] for place in range(12, 18))
    named = tuple(orjson.loads(extremities)) if extremities is not None else (kept.nid,)
    counters = [
        CounterRow(kept.room, thread, version, value)
        for thread, value in (("main", counter), (_HIGHLIGHTS, highlights))
        if value is not None
    ]
    return Appended(version, named, Root(line, state_version), kept, counters)
