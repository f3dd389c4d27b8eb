"""Unread counts: how many events would notify a user since they read, by room and thread.

Nothing is written per member. A room has a running counter for each thread and one for the main timeline, and as many
for what highlights everyone; what a user has not read is the difference between a counter now and where they have read
to. Only where an event means another thing to a user than to all (it mentions them, or their own rules say so) there is
a mark for that user. A redacted event has one mark for everyone, which takes it out of all counts. Whoever sends has
read: "either by using the API or by sending an event" (Client-Server API, "Receiving notifications").
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ranvier.protocol.push_audience import concerned_users, default_verdict
from ranvier.protocol.push_conditions import PushFacts
from ranvier.protocol.push_evaluation import Verdict
from ranvier.protocol.relations import MAIN_TIMELINE
from ranvier.rooms.heads import MEMBER, Head, Heads, Room, TimelineItem
from ranvier.rooms.preferences import PLAIN, Preferences
from ranvier.rooms.verdicts import facts_of, verdict_of
from ranvier.store import unread as store
from ranvier.store.database import Database, Entry, Transaction
from ranvier.store.events import StoredEvent
from ranvier.store.log import Kind
from ranvier.store.unread import EVERYONE, HIGHLIGHTS, CounterRow, MarkRow, ReadRow

ALL_THREADS = ""
_THREAD_COST = 250
_READER_COST = 900
MENTIONED = 100
"""Mentioned users whose memberships are looked up for one event; further ones are not highlighted."""


@dataclass(slots=True)
class Count:
    """Events that notify, and those of them that are highlighted."""

    notification: int = 0
    highlight: int = 0

    def json(self) -> bytes:
        """The object that sync gives."""
        return b'{"highlight_count":%d,"notification_count":%d}' % (self.highlight, self.notification)


@dataclass(slots=True)
class Counts:
    """A user's unread counts of a room: the main timeline's, and those of threads with any."""

    main: Count
    threads: dict[str, Count] = field(default_factory=dict)

    def all_threads(self) -> Count:
        """The sum, for clients that don't ask for threads."""
        if not self.threads:
            return self.main
        counts = (self.main, *self.threads.values())
        return Count(sum(c.notification for c in counts), sum(c.highlight for c in counts))


@dataclass(slots=True)
class Counted:
    """What one event does to the counters."""

    counters: list[CounterRow]
    reads: list[ReadRow]
    marks: list[MarkRow]


class _Reader:
    """How far one user has read a room, their marks after that, and the sum of these by thread."""

    __slots__ = ("bases", "marks", "reads", "sums")

    def __init__(self, reads: dict[str, ReadRow], marks: Iterable[MarkRow]) -> None:
        self.reads = reads
        self.bases: dict[str, int] = {}
        self.marks: list[MarkRow] = []
        self.sums: dict[str, Count] = {}
        known = list(marks)
        redacted = {mark.version for mark in known if mark.user_id == EVERYONE}
        self._take(mark for mark in known if mark.user_id == EVERYONE or mark.version not in redacted)

    @property
    def floor(self) -> int:
        """The version up to which everything was read."""
        whole = self.reads.get(ALL_THREADS)
        return whole.version if whole is not None else 0

    def seen(self, thread: str) -> int:
        """The version up to which a thread was read."""
        read = self.reads.get(thread)
        return max(self.floor, read.version if read is not None else 0)

    def mark(self, mark: MarkRow) -> None:
        """A new mark; one that is known already changes nothing."""
        if not self.marks or self.marks[-1].version < mark.version:
            self._take([mark])

    def _take(self, marks: Iterable[MarkRow]) -> None:
        for mark in marks:
            if mark.version > self.seen(mark.thread):
                self.marks.append(mark)
                total = self.sums.setdefault(mark.thread, Count())
                total.notification += mark.notify
                total.highlight += mark.highlight

    def advance(self, read: ReadRow) -> None:
        """The user has read further, or not."""
        known = self.reads.get(read.thread)
        if known is not None and known.version >= read.version:
            return
        self.reads[read.thread] = read
        self.bases.clear()
        if self.marks:
            marks, self.marks, self.sums = self.marks, [], {}
            self._take(marks)


@dataclass(slots=True)
class RoomCounters:
    """A room's counters by name with the version that set each, the newest last, and the readers looked at."""

    threads: dict[str, tuple[int, int]]
    readers: dict[str, _Reader] = field(default_factory=dict)
    moves: int = 0

    def count(self, row: CounterRow) -> None:
        """A thread has a new counter."""
        self.threads.pop(row.thread, None)
        self.threads[row.thread] = (row.counter, row.version)

    def advance(self, read: ReadRow) -> None:
        """Somebody has read further."""
        reader = self.readers.get(read.user_id)
        if reader is not None:
            reader.advance(read)

    def after(self, version: int) -> list[tuple[str, int, int]]:
        """(thread, counter, version) of those that were counted after a version."""
        found = []
        for thread, (counter, at) in reversed(self.threads.items()):
            if at <= version:
                break
            found.append((thread, counter, at))
        return found

    def cost(self) -> int:
        """Bytes that this takes in memory, about; the marks of readers left out."""
        return _THREAD_COST * len(self.threads) + _READER_COST * len(self.readers)


class Unread:
    """Counts events as they are appended, and answers how many a user has not read."""

    def __init__(self, server_name: str, database: Database, heads: Heads, preferences: Preferences) -> None:
        self._suffix = f":{server_name}"
        self._database = database
        self._heads = heads
        self._preferences = preferences
        self._tentative: dict[tuple[int, str], int] = {}

    # While appending

    async def gather(self, room: Room) -> None:
        """What counting needs, into memory."""
        wishes = await self._preferences.of_room(room.nid)
        if wishes:
            named = [user_id for user_id, wish in wishes.items() if wish.rule_set.needs_display_name]
            await self._heads.fault_in(room, named)
        await self._heads.counts(room)
        await self._counters(room)

    def count(self, room: Room, head: Head, item: TimelineItem, thread: str) -> Counted:
        """What the event does; on the loop, without I/O."""
        facts = facts_of(room, head, item.kept.event)
        shared = default_verdict(facts)
        counters = []
        if shared.notify:
            counters.append(self._raise(room, item, thread))
        if shared.highlight:
            counters.append(self._raise(room, item, HIGHLIGHTS + thread))
        marks = self._marks(room, head, item, thread, facts, shared)
        return Counted(counters, self._reads(room, item, thread, self._counter(room, thread)), marks)

    def _counter(self, room: Room, thread: str) -> int:
        """A counter as the events left it that are about to be written."""
        tentative = self._tentative.get((room.nid, thread))
        if tentative is not None:
            return tentative
        counters: RoomCounters | None = room.counters
        return counters.threads.get(thread, (0, 0))[0] if counters is not None else 0

    def _raise(self, room: Room, item: TimelineItem, thread: str) -> CounterRow:
        counter = self._tentative[room.nid, thread] = self._counter(room, thread) + 1
        return CounterRow(room.nid, thread, item.version, counter)

    def _reads(self, room: Room, item: TimelineItem, thread: str, counter: int) -> list[ReadRow]:
        """Who sends has read; other servers count for their own users."""
        event = item.kept.event
        is_own = event.type != MEMBER or event.state_key == event.sender
        if not is_own or not event.sender.endswith(self._suffix):
            return []
        where = ALL_THREADS if event.type == MEMBER else thread
        return [ReadRow(room.nid, event.sender, where, item.version, counter)]

    async def counters_at(
        self,
        room: Room,
        thread: str,
        version: int,
        told: list[CounterRow],
        running: dict[tuple[int, str], int],
    ) -> tuple[int, list[CounterRow]]:
        """A thread's counter after an event that another process appended, and the rows that the event made.

        `told` are those of the main timeline; `running` are counters that events just before it made.
        """
        rows = told
        if thread != MAIN_TIMELINE:
            places = [(room.nid, name, version) for name in (thread, HIGHLIGHTS + thread)]
            rows = list((await store.counted_at(self._database, places)).values())
        for row in rows:
            running[room.nid, row.thread] = row.counter
        if (room.nid, thread) in running:
            return running[room.nid, thread], rows
        threads: dict[str, tuple[int, int]] = room.counters.threads if room.counters is not None else {}
        counter, at = threads.get(thread, (0, 0))
        if at >= version:
            # Memory is ahead.
            counter = await store.counter_at(self._database, room.nid, thread, version)
        return counter, rows

    async def marks_at(self, places: Sequence[tuple[Room, int]]) -> dict[tuple[int, int], list[MarkRow]]:
        """Marks of events (room, version) for readers in memory."""
        wanted = [
            (room.nid, version)
            for room, version in places
            if room.counters is not None and room.counters.readers
        ]
        return await store.marks_at(self._database, wanted) if wanted else {}

    def counted_elsewhere(
        self,
        room: Room,
        item: TimelineItem,
        thread: str,
        counted: tuple[int, list[CounterRow]],
        marks: list[MarkRow],
    ) -> Counted:
        """What an event did that another process appended."""
        counter, rows = counted
        return Counted(rows, self._reads(room, item, thread, counter), marks)

    def _marks(
        self, room: Room, head: Head, item: TimelineItem, thread: str, facts: PushFacts, shared: Verdict
    ) -> list[MarkRow]:
        event = item.kept.event
        wishes = self._preferences.at_hand(room.nid) or {}
        own = [
            u
            for u, p in wishes.items()
            if p.rule_set.may_differ_in(event.room_id) or event.sender in p.ignored
        ]

        def may_be_notified(user_id: str) -> bool:
            if not user_id.endswith(self._suffix):
                return False
            member = head.state.get((MEMBER, user_id))
            return member is not None and member.event.content.get("membership") == "join"

        marks = []
        for user_id in concerned_users(facts, may_be_notified, own):
            preference = wishes.get(user_id, PLAIN)
            verdict = verdict_of(facts, user_id, preference, head)
            notify = verdict.notify - shared.notify
            highlight = verdict.highlight - shared.highlight
            if notify or highlight:
                marks.append(MarkRow(room.nid, user_id, item.version, thread, notify, highlight))
        return marks

    def undo(self, counted: Iterable[Counted]) -> None:
        """These events were counted and will not be, as one that should enter with them was refused."""
        for one in counted:
            for row in one.counters:
                self._tentative[row.room, row.thread] -= 1

    async def write(self, transaction: Transaction, counted: Sequence[Counted]) -> None:
        """Write what a batch did."""
        await store.write(
            transaction,
            [row for one in counted for row in one.counters],
            [read for one in counted for read in one.reads],
            [mark for one in counted for mark in one.marks],
        )

    def settle(self, room: Room, counted: Iterable[Counted]) -> None:
        """After the commit."""
        self._tentative.clear()
        self.follow(room, counted)

    def follow(self, room: Room, counted: Iterable[Counted]) -> None:
        """What was counted, here or by another process, enters memory."""
        if room.counters is None:
            return
        counters: RoomCounters = room.counters
        for one in counted:
            for row in one.counters:
                counters.count(row)
            for mark in one.marks:
                reader = counters.readers.get(mark.user_id)
                if reader is not None:
                    reader.mark(mark)
            for read in one.reads:
                counters.advance(read)

    def fall(self) -> None:
        """The batch was rolled back."""
        self._tentative.clear()

    # While reading

    async def of(self, room: Room, user_id: str) -> Counts:
        """What a member of the room has not read."""
        counters = room.counters or await self._counters(room)
        reader = counters.readers.get(user_id) or await self._reader(room, counters, user_id)
        counts = Counts(Count())
        for name, counter, version in counters.after(reader.floor):
            thread = name.removeprefix(HIGHLIGHTS)
            seen = reader.seen(thread)
            if version > seen:
                unread = counter - await self._base(room, reader, name, seen)
                _add(counts, thread, *((unread, 0) if name == thread else (0, unread)))
        for thread, total in list(reader.sums.items()):
            _add(counts, thread, total.notification, total.highlight)
        counts.threads = {root: c for root, c in counts.threads.items() if c.notification or c.highlight}
        return counts

    async def _base(self, room: Room, reader: _Reader, thread: str, seen: int) -> int:
        """The thread's counter where the user has read to."""
        read, whole = reader.reads.get(thread), reader.reads.get(ALL_THREADS)
        if read is not None and read.version == seen:
            return read.counter
        if thread == MAIN_TIMELINE and whole is not None:
            return whole.counter
        known = reader.bases.get(thread)
        if known is None:
            known = await store.counter_at(self._database, room.nid, thread, seen)
            reader.bases[thread] = known
        return known

    async def _counters(self, room: Room) -> RoomCounters:
        while room.counters is None:
            await self._count_all([room])
        counters: RoomCounters = room.counters
        return counters

    async def _count_all(self, rooms: Sequence[Room]) -> None:
        """The counters of rooms, into memory; leaves out a room in which something happened meanwhile."""
        before = [(room, room.head) for room in rooms]
        threads = await store.counters(self._database, [room.nid for room in rooms])
        for room, head in before:
            if room.head is head and room.counters is None:
                room.counters = RoomCounters(threads[room.nid])

    async def prepare(self, rooms: Sequence[Room], user_id: str) -> None:
        """What a user's counts of many rooms need, into memory, in few reads."""
        uncounted = [room for room in rooms if room.counters is None]
        if uncounted:
            await self._count_all(uncounted)
        missing = [r for r in rooms if r.counters is not None and user_id not in r.counters.readers]
        if missing:
            await self._read(missing, user_id)

    async def _reader(self, room: Room, counters: RoomCounters, user_id: str) -> _Reader:
        while True:
            await self._read([room], user_id)
            counters = room.counters or await self._counters(room)
            reader = counters.readers.get(user_id)
            if reader is not None:
                return reader

    async def _read(self, rooms: Sequence[Room], user_id: str) -> None:
        """Look the user up in these rooms; leaves out a room in which something happened meanwhile."""
        before = [(room, room.head, room.counters, _moves(room)) for room in rooms]
        nids = [room.nid for room in rooms]
        reads: dict[int, dict[str, ReadRow]] = {}
        marks: dict[int, list[MarkRow]] = {}
        for read in await store.reads_of(self._database, nids, user_id):
            reads.setdefault(read.room, {})[read.thread] = read
        for mark in await store.marks_of(self._database, nids, user_id):
            marks.setdefault(mark.room, []).append(mark)
        for room, head, counters, moves in before:
            if (
                counters is not None
                and room.head is head
                and room.counters is counters
                and _moves(room) == moves
            ):
                counters.readers[user_id] = _Reader(reads.get(room.nid, {}), marks.get(room.nid, ()))

    async def has_read(self, room: Room, user_id: str, thread: str, version: int) -> bool:
        """Whether the user has read an event of a thread that made this version of the timeline."""
        counters = room.counters or await self._counters(room)
        reader = counters.readers.get(user_id) or await self._reader(room, counters, user_id)
        return reader.seen(thread) >= version

    async def counter_at(self, room: Room, thread: str, version: int) -> int:
        """A thread's counter after a version; for the main timeline where all threads are meant."""
        name = MAIN_TIMELINE if thread == ALL_THREADS else thread
        counters: RoomCounters | None = room.counters
        if counters is not None and room.head is not None and version <= room.head.version:
            counter, at = counters.threads.get(name, (0, 0))
            if at <= version:
                return counter
        return await store.counter_at(self._database, room.nid, name, version)

    def heard(self, entries: Sequence[Entry]) -> None:
        """Follow the log: a receipt moves what its user has read, a redaction takes back what counted for all."""
        for entry in entries:
            if entry.kind == Kind.REDACTION and entry.payload is not None:
                redacted: StoredEvent = entry.payload
                room = self._heads.at_hand(redacted.event.room_id)
                if room is not None and room.counters is not None:
                    room.counters.moves += 1
                    room.counters.readers.clear()
            elif entry.kind == Kind.UNREAD:
                room = self._heads.at_hand(entry.ref)
                if room is None or room.counters is None:
                    continue
                room.counters.moves += 1
                if isinstance(entry.payload, ReadRow):
                    room.counters.advance(entry.payload)
                else:
                    room.counters.readers.pop(entry.audience, None)


def _moves(room: Room) -> int:
    return room.counters.moves if room.counters is not None else 0


def _add(counts: Counts, thread: str, notification: int, highlight: int) -> None:
    count = counts.main if thread == MAIN_TIMELINE else counts.threads.setdefault(thread, Count())
    count.notification += notification
    count.highlight += highlight
