"""What the log says to one user between two positions, sorted by where it belongs in the answer."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import orjson

from ranvier.rooms.heads import TimelineItem
from ranvier.rooms.joined import UserMemberships
from ranvier.store import log
from ranvier.store.database import Database, Entry
from ranvier.store.log import Kind, Tail, device_audience


class Trimmed(Exception):
    """The log was trimmed beyond the reader's position: they need a full answer."""


@dataclass(slots=True)
class RoomNews:
    """What happened in a room: its timeline's new versions, receipts, and the numbers of events that were redacted.

    `items` are the new events, if all of them were at hand, as they were when they were new. With `tangled`, the
    room's state changed otherwise than by them alone.
    """

    first: int = 0
    last: int = 0
    items: list[TimelineItem] = field(default_factory=list)
    receipts: list[Entry] = field(default_factory=list)
    redacted: set[int] = field(default_factory=set)
    tangled: bool = False

    def add(self, entry: Entry) -> None:
        """Take in an entry about the room."""
        if entry.kind in (Kind.EVENT, Kind.STATE):
            version = int(entry.ref)
            self.first = self.first or version
            self.last = version
            if entry.kind == Kind.STATE:
                self.tangled = True
            elif entry.payload is not None:
                self.items.append(entry.payload)
        elif entry.kind == Kind.RECEIPT:
            self.receipts.append(entry)
        elif entry.kind == Kind.REDACTION:
            self.redacted.add(int(entry.ref))

    def at_hand(self) -> bool:
        """Whether `items` holds every new version, and tells all that changed."""
        return not self.tangled and len(self.items) == self.last - self.first + 1


@dataclass(slots=True)
class News:
    """All that is new for a user and device up to `until`."""

    until: int
    rooms: dict[str, RoomNews] = field(default_factory=dict)
    memberships: set[str] = field(default_factory=set)
    account_data: list[tuple[str | None, str]] = field(default_factory=list)
    unread: set[str] = field(default_factory=set)
    private_receipts: set[str] = field(default_factory=set)
    device_lists: bool = False
    to_device: bool = False
    keys: bool = False
    push_rules: bool = False

    def add(self, entry: Entry, room_id: str | None) -> None:
        """Take in an entry that is for the user; `room_id` if it is about a room."""
        kind = entry.kind
        if kind == Kind.DEVICE_LIST:
            self.device_lists = True
        elif room_id is not None:
            news = self.rooms.get(room_id)
            if news is None:
                news = self.rooms[room_id] = RoomNews()
            news.add(entry)
        elif kind == Kind.MEMBERSHIP:
            self.memberships.add(entry.ref)
        elif kind == Kind.ACCOUNT_DATA:
            room, name = orjson.loads(entry.ref)
            self.account_data.append((room, name))
        elif kind == Kind.TO_DEVICE:
            self.to_device = True
        elif kind == Kind.ONE_TIME_KEYS:
            self.keys = True
        elif kind == Kind.PUSH_RULES:
            self.push_rules = True
        elif kind == Kind.UNREAD:
            self.unread.add(entry.ref)
        elif kind == Kind.PRIVATE_RECEIPT:
            self.private_receipts.add(entry.ref)

    def __bool__(self) -> bool:
        return bool(
            self.rooms
            or self.memberships
            or self.account_data
            or self.device_lists
            or self.to_device
            or self.keys
            or self.push_rules
            or self.unread
            or self.private_receipts
        )


async def read(
    database: Database, tail: Tail, rooms: UserMemberships, user_id: str, device_id: str | None, after: int
) -> News:
    """The news after a position, from memory if it reaches back that far, otherwise from the table.

    Raises `Trimmed` if the table no longer reaches back that far either.
    """
    if after == tail.tip:
        return News(after)
    own = {user_id}
    if device_id is not None:
        own.add(device_audience(user_id, device_id))
    news = News(tail.tip)
    by_audience = rooms.by_audience
    entries: Iterable[Entry]
    if tail.reaches(after):
        entries = tail.between(after, news.until)
    else:
        # What a client missed while it was away may be much: it is summed up where it lies.
        audiences = [*own, *by_audience]
        for audience, first, last in await log.read_versions(database, audiences, after, news.until):
            news.rooms[by_audience[audience].room_id] = RoomNews(first, last)
        entries = await log.read_changed(database, audiences, after, news.until)
        if await log.read_horizon(database) > after:
            raise Trimmed
    for entry in entries:
        membership = by_audience.get(entry.audience)
        if membership is not None:
            news.add(entry, membership.room_id)
        elif entry.audience in own:
            news.add(entry, None)
    return news
