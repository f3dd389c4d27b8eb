"""How far other servers were sent what happens here, and what the log and the timelines still hold for them.

Only a destination that lacks something has a row. All others have the position of their portion, so that nothing is
written for them while they are up to date (docs/decisions/0095-positions-of-destinations.md).
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from ranvier.store import tuples
from ranvier.store.database import Database, Entry, Reader, Transaction
from ranvier.store.log import Kind, room_audience


class Lag(NamedTuple):
    """A destination that lacks something: everything up to a position was handed over, or not meant for it.

    `position_ts` is a time (ms since the epoch) before anything later was written. `caught_up_at` is None unless it
    catches up by room: up to that position, and has got `room` up to `version`, and all rooms of lower numbers.
    """

    destination: str
    position: int
    position_ts: int
    room: int = 0
    version: int = 0
    caught_up_at: int | None = None


class TimelineEvent(NamedTuple):
    """An event of a room's live timeline: its version and its number."""

    room: int
    version: int
    event: int


_COLUMNS = ", ".join(Lag._fields)


async def read_devices_changed_while_partial(
    reader: Reader, room: int, version: int | None = None
) -> list[str]:
    """The users whose device lists changed since a room was joined with a state that lacked members.

    With a `version` of its timeline there are none unless that brought the rest.
    """
    rows = await reader.fetch(
        "SELECT DISTINCT l.ref FROM partial_rooms p JOIN log l ON l.audience = $3 AND l.kind = $4 "
        "WHERE p.room = $1 AND p.completed_version = COALESCE($2, p.completed_version) AND l.position > ("
        "SELECT MIN(position) FROM log WHERE audience = $3 AND kind = $5 AND ref = ("
        "SELECT CAST(e.timeline_version AS TEXT) FROM events e WHERE e.nid = p.join_event))",
        room,
        version,
        room_audience(room),
        int(Kind.DEVICE_LIST),
        int(Kind.EVENT),
    )
    return [row[0] for row in rows]


async def read_moved_while_partial(reader: Reader, room: int) -> list[str]:
    """The users whose memberships events changed after a room was joined with partial state."""
    rows = await reader.fetch(
        "SELECT DISTINCT e.state_key FROM partial_rooms p JOIN events j ON j.nid = p.join_event "
        "JOIN timeline t ON t.room = p.room AND t.version > j.timeline_version "
        "JOIN events e ON e.nid = t.event WHERE p.room = $1 AND e.type = 'm.room.member'",
        room,
    )
    return [row[0] for row in rows]


async def read_lags(reader: Reader) -> list[Lag]:
    """All destinations that lack something."""
    rows = await reader.fetch(f"SELECT {_COLUMNS} FROM lagging_destinations ORDER BY destination")  # noqa: S608
    return [Lag(*row) for row in rows]


async def read_positions(reader: Reader) -> dict[int, int]:
    """By portion, the position of the destinations that lack nothing."""
    rows = await reader.fetch("SELECT share, position FROM sending_positions")
    return {row[0]: row[1] for row in rows}


async def save(
    transaction: Transaction, lags: Sequence[Lag], ended: Collection[str], positions: Mapping[int, int]
) -> None:
    """Keep who lacks what, forget those who lack nothing any more, and move the others' positions, all at once."""
    await transaction.insert(
        "lagging_destinations",
        _COLUMNS,
        lags,
        "(destination) DO UPDATE SET position = excluded.position, position_ts = excluded.position_ts, "
        "room = excluded.room, version = excluded.version, caught_up_at = excluded.caught_up_at",
    )
    if ended:
        await transaction.execute(
            "DELETE FROM lagging_destinations WHERE destination = ANY($1)", sorted(ended)
        )
    await transaction.insert(
        "sending_positions",
        "share, position",
        list(positions.items()),
        "(share) DO UPDATE SET position = excluded.position",
    )


async def rooms_of_server(database: Database, server_name: str) -> list[int]:
    """The numbers of the rooms that users of a server are or were in, in order."""
    find = "instr" if database.dialect == "sqlite" else "strpos"
    rows = await database.fetch_slowly(
        f"SELECT DISTINCT room FROM memberships WHERE substr(user_id, {find}(user_id, ':') + 1) = $1 "  # noqa: S608
        "AND room <> 0 ORDER BY room",
        server_name,
    )
    return [row[0] for row in rows]


async def read_news(
    database: Database, rooms: Collection[int], after: int, until: int, limit: int
) -> list[Entry]:
    """Entries of the log on these rooms' events, state and receipts, oldest first."""
    rows = await database.fetch_slowly(
        "SELECT position, kind, audience, ref FROM log WHERE audience = ANY($1) AND kind = ANY($2) "
        "AND position > $3 AND position <= $4 ORDER BY position LIMIT $5",
        [room_audience(room) for room in rooms],
        [int(kind) for kind in (Kind.EVENT, Kind.STATE, Kind.RECEIPT)],
        after,
        until,
        limit,
    )
    return [Entry(row[1], row[2], row[3], None, row[0]) for row in rows]


async def read_device_lists(database: Database, rooms: Collection[int], after: int, until: int) -> list[str]:
    """The users in these rooms whose devices or keys changed, by the log."""
    rows = await database.fetch_slowly(
        "SELECT DISTINCT ref FROM log WHERE audience = ANY($1) AND kind = $2 AND position > $3 AND position <= $4",
        [room_audience(room) for room in rooms],
        int(Kind.DEVICE_LIST),
        after,
        until,
    )
    return [row[0] for row in rows]


async def read_events_to_tell(
    reader: Reader, versions: Sequence[tuple[int, int]], server_name: str
) -> dict[tuple[int, int], int]:
    """The numbers of the events at these (room, version) that are of this server's users, or memberships."""
    found: dict[tuple[int, int], int] = {}
    for portion in tuples.slices(versions):
        table, values = tuples.table_of(portion, ("BIGINT", "BIGINT"), first=2)
        rows = await reader.fetch(
            f"WITH given (room, version) AS ({table}) "  # noqa: S608
            "SELECT t.room, t.version, t.event FROM given g "
            "JOIN timeline t ON t.room = g.room AND t.version = g.version JOIN events e ON e.nid = t.event "
            "WHERE e.sender LIKE $1 OR e.type = 'm.room.member'",
            f"%:{server_name}",
            *values,
        )
        found.update({(row[0], row[1]): row[2] for row in rows})
    return found


async def read_timeline_to_tell(
    database: Database, room: int, after: int, server_name: str, limit: int
) -> list[TimelineEvent]:
    """The same events of one room's timeline after a version, oldest first."""
    rows = await database.fetch_slowly(
        "SELECT t.room, t.version, t.event FROM timeline t JOIN events e ON e.nid = t.event "
        "WHERE t.room = $1 AND t.version > $2 AND (e.sender LIKE $3 OR e.type = 'm.room.member') "
        "ORDER BY t.version LIMIT $4",
        room,
        after,
        f"%:{server_name}",
        limit,
    )
    return [TimelineEvent(*row) for row in rows]


async def version_before(database: Database, room: int, at: int) -> int:
    """The newest version of a room's timeline whose event came before a time (ms since the epoch); 0 if none did."""
    rows = await database.fetch_slowly(
        "SELECT t.version FROM timeline t JOIN events e ON e.nid = t.event "
        "WHERE t.room = $1 AND e.received_ts < $2 ORDER BY t.version DESC LIMIT 1",
        room,
        at,
    )
    return int(rows[0][0]) if rows else 0
