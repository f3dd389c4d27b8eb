"""A room's live timeline: one row for each version of its head, in the room's own order."""

from typing import NamedTuple

from ranvier.store.database import Reader
from ranvier.store.log import room_audience
from ranvier.store.state import Root


class TimelineRow(NamedTuple):
    """One version: the number of the event that made it, if one did, and the root of the state after it."""

    version: int
    event: int | None
    root: Root


async def page(reader: Reader, room: int, after: int, until: int, limit: int) -> list[TimelineRow]:
    """The newest `limit` versions with `after < version <= until`, oldest first."""
    rows = await reader.fetch(
        "SELECT version, event, state_line, state_version FROM timeline "
        "WHERE room = $1 AND version > $2 AND version <= $3 ORDER BY version DESC LIMIT $4",
        room,
        after,
        until,
        limit,
    )
    return [TimelineRow(row[0], row[1], Root(row[2], row[3])) for row in reversed(rows)]


async def root_at(reader: Reader, room: int, version: int) -> Root | None:
    """The root of the state after a version."""
    row = await reader.fetch_row(
        "SELECT state_line, state_version FROM timeline WHERE room = $1 AND version <= $2 "
        "ORDER BY version DESC LIMIT 1",
        room,
        version,
    )
    return Root(row[0], row[1]) if row is not None else None


async def version_at(reader: Reader, room: int, position: int) -> int | None:
    """The room's version at a position of the log; None if nothing of the room came later."""
    value = await reader.fetch_value(
        "SELECT MIN(CAST(ref AS BIGINT)) FROM log WHERE audience = $1 AND kind IN (1, 2) AND position > $2",
        room_audience(room),
        position,
    )
    return int(value) - 1 if value is not None else None
