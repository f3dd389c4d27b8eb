"""The ordered log: every change that somebody may have to hear of has a position in one sequence.

Positions become visible in order: no position ever appears below one that a reader has passed. Only this module knows
how they arise. On SQLite the one writer counts. On PostgreSQL a transaction takes the log's advisory lock last and
draws its positions under it, in the message that also commits, so that the server holds the lock and a stopped
process can't (see docs/decisions/0004-ordered-log.md).
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Sequence
from enum import IntEnum
from itertools import islice

from ranvier.store.database import Database, Entry, Reader


class Kind(IntEnum):
    """What an entry is about; `ref` depends on it. Numbers are stored: never reuse one."""

    EVENT = 1
    """Audience: room. An event entered the live timeline. ref: the room's timeline version that it made.

    A state event in the live timeline changes the current state, unless a STATE entry beside it says otherwise.
    """
    STATE = 2
    """Audience: room. Current state changed without an event. ref: the room's timeline version that did it."""
    MEMBERSHIP = 3
    """Audience: user. The user's membership of a room changed. ref: the room's id."""
    RECEIPT = 4
    """Audience: room. ref: JSON [user, receipt type, thread or null]; private receipts have a kind of their own."""
    ACCOUNT_DATA = 5
    """Audience: user. ref: JSON [room id or null, type]."""
    TO_DEVICE = 6
    """Audience: device. ref: the message's number."""
    DEVICE_LIST = 7
    """Audience: the user and each room that they are in. ref: the user whose devices or keys changed."""
    ONE_TIME_KEYS = 8
    """Audience: device. The device's count of one-time keys or unused fallback keys changed. ref: empty."""
    TOKEN = 9
    """Audience: all. An access token became invalid or means something else. ref: its hash as hex, or a user id."""
    REDACTION = 10
    """Audience: room. An event was redacted. ref: the redacted event's number."""
    PUSH_RULES = 11
    """Audience: user. The user's push rules changed. ref: empty."""
    PROFILE = 12
    """Audience: all. A user's profile or account status changed. ref: the user."""
    UNREAD = 13
    """Audience: user. Unread counts of a room changed without a receipt. ref: the room's id."""
    PRIVATE_RECEIPT = 14
    """Audience: user. A private receipt of the user changed. ref: the room's id."""
    OUTGOING_TO_DEVICE = 20
    """Audience: destination. Messages wait for devices of its users. ref: empty."""


EVERYONE = "*"
_WEIGHT = 64 * 1024 * 1024


def room_audience(room: int) -> str:
    """Those who follow a room, by the room's number."""
    return f"r{room}"


def room_of(audience: str) -> int:
    """The number of the room that an audience follows."""
    return int(audience[1:])


def device_audience(user_id: str, device_id: str) -> str:
    """One device. A user's audience is the user id itself."""
    return f"{user_id}/{device_id}"


def destination_audience(server_name: str) -> str:
    """Another server, as one that is sent to."""
    return f">{server_name}"


class Tail:
    """The newest entries in memory, in order, with what changed attached where this process wrote it.

    Bounded in bytes, and by `capacity` entries, which may be changed at any time. `floor` is the position up to which
    entries may have been forgotten: a reader who has read less far must read the table.
    """

    def __init__(self, tip: int, capacity: int = 10_000) -> None:
        self._entries: deque[Entry] = deque()
        self._positions: list[int] = []
        self._dropped = 0
        self._latest: dict[str, int] = {}
        self._weight = 0
        self.capacity = capacity
        self.floor = tip
        self.tip = tip

    def extend(self, entries: Iterable[Entry]) -> None:
        """Append what was committed, in order."""
        for entry in entries:
            self._entries.append(entry)
            self._positions.append(entry.position)
            self._latest[entry.audience] = entry.position
            self.tip = entry.position
            self._weight += entry.weight
        while len(self._entries) > self.capacity or self._weight > _WEIGHT:
            self._drop()

    def _drop(self) -> None:
        oldest = self._entries.popleft()
        self.floor = oldest.position
        self._weight -= oldest.weight
        if self._latest.get(oldest.audience) == oldest.position:
            del self._latest[oldest.audience]
        self._dropped += 1
        if self._dropped > self.capacity:
            del self._positions[: self._dropped]
            self._dropped = 0

    def reaches(self, position: int) -> bool:
        """Whether everything after `position` is still in memory."""
        return position >= self.floor

    def latest(self, audience: str) -> int:
        """The newest position of an audience within memory, or 0."""
        return self._latest.get(audience, 0)

    def between(self, after: int, until: int) -> Sequence[Entry]:
        """The entries with `after < position <= until`; only right if `reaches(after)`."""
        first = bisect_right(self._positions, after, self._dropped) - self._dropped
        last = bisect_right(self._positions, until, self._dropped) - self._dropped
        if first == 0 and last == len(self._entries):
            return list(self._entries)
        if last - first <= 0:
            return ()
        if len(self._entries) - first < first:
            newest = list(
                islice(reversed(self._entries), len(self._entries) - last, len(self._entries) - first)
            )
            newest.reverse()
            return newest
        return list(islice(self._entries, first, last))


async def read(
    reader: Reader, audiences: Sequence[str], after: int, until: int, limit: int = 10_000
) -> list[Entry]:
    """Entries of the table for these audiences with `after < position <= until`, oldest first."""
    rows = await reader.fetch(
        "SELECT position, kind, audience, ref FROM log "
        "WHERE audience = ANY($1) AND position > $2 AND position <= $3 ORDER BY position LIMIT $4",
        list(audiences),
        after,
        until,
        limit,
    )
    return [Entry(row[1], row[2], row[3], None, row[0]) for row in rows]


async def read_all(reader: Reader, after: int, until: int, limit: int = 1 << 40) -> list[Entry]:
    """All entries with `after < position <= until`, oldest first, up to a limit."""
    rows = await reader.fetch(
        "SELECT position, kind, audience, ref FROM log WHERE position > $1 AND position <= $2 "
        "ORDER BY position LIMIT $3",
        after,
        until,
        limit,
    )
    return [Entry(row[1], row[2], row[3], None, row[0]) for row in rows]


async def read_events_before(
    database: Database, audiences: Sequence[str], before: int | None, limit: int
) -> list[tuple[int, int]]:
    """(position, event's number) of the newest events of rooms, the newest first; `before` a position, if given."""
    rows = await database.fetch_slowly(
        "SELECT l.position, t.event FROM (SELECT position, audience, ref FROM log "
        "WHERE audience = ANY($1) AND kind = $2 AND position < $3 ORDER BY position DESC LIMIT $4) l "
        "JOIN timeline t ON t.room = CAST(substr(l.audience, 2) AS BIGINT) AND t.version = CAST(l.ref AS BIGINT) "
        "WHERE t.event IS NOT NULL ORDER BY l.position DESC",
        list(audiences),
        int(Kind.EVENT),
        before if before is not None else 1 << 62,
        limit,
    )
    return [(row[0], row[1]) for row in rows]


async def read_versions(
    database: Database, audiences: Sequence[str], after: int, until: int
) -> list[tuple[str, int, int]]:
    """(audience, first, last) versions of rooms' timelines with `after < position <= until`."""
    rows = await database.fetch_slowly(
        "SELECT audience, MIN(CAST(ref AS BIGINT)), MAX(CAST(ref AS BIGINT)) FROM log "
        "WHERE audience = ANY($1) AND kind = ANY($2) AND position > $3 AND position <= $4 GROUP BY audience",
        list(audiences),
        [int(Kind.EVENT), int(Kind.STATE)],
        after,
        until,
    )
    return [(row[0], row[1], row[2]) for row in rows]


_UNNAMED = (Kind.TO_DEVICE, Kind.DEVICE_LIST, Kind.ONE_TIME_KEYS, Kind.PUSH_RULES)
_NAMED = (Kind.MEMBERSHIP, Kind.RECEIPT, Kind.ACCOUNT_DATA, Kind.UNREAD, Kind.PRIVATE_RECEIPT)


async def read_changed(database: Database, audiences: Sequence[str], after: int, until: int) -> list[Entry]:
    """What else changed with `after < position <= until`: each thing once, the newest last.

    So there is no more to read than there are things, however often they changed. `ref` is empty where only the kind
    matters: messages to devices, device lists, one-time keys, push rules.
    """
    rows = await database.fetch_slowly(
        "SELECT MAX(position), kind, audience, named FROM (SELECT position, kind, audience, "
        "CASE WHEN kind = ANY($2) THEN ref ELSE '' END AS named FROM log "
        "WHERE audience = ANY($1) AND kind = ANY($3) AND position > $4 AND position <= $5) AS told "
        "GROUP BY kind, audience, named ORDER BY 1",
        list(audiences),
        [int(kind) for kind in _NAMED],
        [int(kind) for kind in (*_NAMED, *_UNNAMED)],
        after,
        until,
    )
    return [Entry(row[1], row[2], row[3], None, row[0]) for row in rows]


async def read_tip(reader: Reader) -> int:
    """The newest visible position."""
    return int(await reader.fetch_value("SELECT COALESCE(MAX(position), 0) FROM log"))


async def read_generation(reader: Reader) -> str:
    """The log's generation: part of every sync token, renewed when a backup is restored."""
    return str(await reader.fetch_value("SELECT value FROM meta WHERE name = 'log_generation'"))


async def read_horizon(reader: Reader) -> int:
    """The position up to which the log was trimmed; a token below it needs a full answer."""
    value = await reader.fetch_value("SELECT value FROM meta WHERE name = 'log_horizon'")
    return int(value or 0)
