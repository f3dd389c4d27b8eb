"""Following the log: what is new there is queued for the destinations that have to hear of it.

A destination that fell behind gets nothing queued; it finds everything in the log when its turn comes.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from ranvier.federation.audiences import Audiences
from ranvier.federation.destinations import Destination, Destinations, DeviceNews
from ranvier.federation.local_events import LocalEvents
from ranvier.rooms.heads import MEMBER, Room, TimelineItem
from ranvier.rooms.receipts import READ, Receipts
from ranvier.store import log
from ranvier.store.database import Database, Entry
from ranvier.store.device_keys import DeviceListChange
from ranvier.store.events import StoredEvent
from ranvier.store.log import Kind, Tail

_ENTRIES: Final = 500
"""Entries that are looked at in one go."""
_FAN_OUT: Final = 250
"""Destinations that something is queued for before others get their turn."""
_TOLD: Final = 1_000
"""Users of whom it is remembered which servers were told the newest of their devices; others may hear it twice."""
_RECEIPTS_PER_SECOND: Final = 50
_LONGEST_LINGER_S: Final = 5.0
"""A receipt in a room of many servers waits for company: so many transactions are begun for it in a second, about."""


class Feed:
    """The log, from memory where that reaches back, otherwise from the table."""

    def __init__(self, database: Database, tail: Tail) -> None:
        self._database = database
        self._tail = tail

    @property
    def tip(self) -> int:
        """The newest position."""
        return self._tail.tip

    async def check(self) -> None:
        """Raises if the table can't be read."""
        await log.read_tip(self._database)

    async def after(self, position: int) -> tuple[Sequence[Entry], int]:
        """Entries after a position, and the position up to which these are all."""
        until = min(self._tail.tip, position + _ENTRIES)
        if self._tail.reaches(position):
            return self._tail.between(position, until), until
        return await log.read_all(self._database, position, until), until


@dataclass(slots=True)
class _Stretch:
    """A part of the log that some portions did not hear of: after `position`, up to `until`."""

    position: int
    until: int
    portions: set[int]


class Routing:
    """The reader of the log: everything up to `position` was looked at. `now` is ms since the epoch."""

    def __init__(
        self,
        feed: Feed,
        audiences: Audiences,
        local_events: LocalEvents,
        receipts: Receipts,
        destinations: Destinations,
        now: Callable[[], int],
    ) -> None:
        self._feed = feed
        self._audiences = audiences
        self._local_events = local_events
        self._receipts = receipts
        self._destinations = destinations
        self._now = now
        self._looked_at: Callable[[int], None] = lambda received_ts: None
        self._told: OrderedDict[str, frozenset[str]] = OrderedDict()
        self._again: deque[_Stretch] = deque()
        self._portions: Collection[int] | None = None
        self.position = 0

    def when_looked_at(self, call: Callable[[int], None]) -> None:
        """Call this with the time (ms since the epoch) at which each event that was routed had come."""
        self._looked_at = call

    @property
    def at(self) -> int:
        """The position before the entry that is looked at, or comes next."""
        return self._again[0].position if self._again else self.position

    def begin_at_tip(self) -> None:
        """Follow what comes from now on; what lies before is to be looked at again for portions that lack it."""
        self.position = self._feed.tip

    def look_again(self, lacking: Mapping[int, int]) -> None:
        """Let what lies before `position` be looked at for portions that know it up to positions of their own."""
        begins = sorted({position for position in lacking.values() if position < self.position})
        for begin, end in zip(begins, [*begins[1:], self.position], strict=False):
            portions = {portion for portion, position in lacking.items() if position <= begin}
            self._again.append(_Stretch(begin, end, portions))

    def forget(self, portions: Collection[int]) -> None:
        """Another process looks at the log for these portions."""
        for stretch in self._again:
            stretch.portions.difference_update(portions)

    async def follow(self) -> None:
        """Look at everything up to the log's tip."""
        while self.position < self._feed.tip:
            entries, until = await self._feed.after(self.position)
            for entry in entries:
                await self._look_at(entry)
                self.position = entry.position
            self.position = until

    async def follow_again(self) -> None:
        """Look at all that is to be looked at again."""
        try:
            while self._again:
                stretch = self._again[0]
                self._portions = stretch.portions
                while stretch.portions and stretch.position < stretch.until:
                    entries, until = await self._feed.after(stretch.position)
                    for entry in entries:
                        if entry.position <= stretch.until:
                            await self._look_at(entry)
                            stretch.position = entry.position
                    stretch.position = min(until, stretch.until)
                self._again.popleft()
        finally:
            self._portions = None

    async def skip(self) -> None:
        """Leave out an entry that can't be looked at; raises, and leaves it, if the log itself can't be read now."""
        await self._feed.check()
        if self._again:
            self._again[0].position += 1
        else:
            self.position += 1

    async def _look_at(self, entry: Entry) -> None:
        if entry.kind == Kind.EVENT:
            await self._event(entry)
        elif entry.kind == Kind.STATE and entry.payload is None:
            await self._completed(entry)
        elif entry.kind == Kind.RECEIPT:
            await self._receipt(entry)
        elif entry.kind == Kind.DEVICE_LIST and entry.audience == entry.ref:
            # The entries that rooms have of the same change are for those who catch up.
            await self._devices(entry)
        elif entry.kind == Kind.OUTGOING_TO_DEVICE:
            for destination in self._destinations.mine([entry.audience[1:]], self._portions):
                destination.to_device = True
                self._destinations.wake(destination)

    async def _event(self, entry: Entry) -> None:
        nid = int(entry.audience[1:])
        item: TimelineItem | None = entry.payload
        if item is not None:
            kept: StoredEvent | None = item.kept
        else:
            place = (nid, int(entry.ref))
            kept = (await self._local_events.at([place])).get(place)
        if kept is None or not self._local_events.is_told(kept.event):
            return
        room = await self._audiences.room(nid)
        if room is None:
            return
        # Of a join with its help, be it that which brought this server into the room, a peer tells.
        is_helped = item is not None and item.by_peer
        if not (is_helped and self._local_events.is_own(kept.event.sender)):
            now = self._now()
            async for destination in self._each(await self._audiences.of_event(room, kept)):
                destination.add_pdu(entry.position, kept, now)
                self._destinations.wake(destination)
        self._looked_at(kept.received_ts)
        if kept.event.type == MEMBER and await self._local_events.enters(kept, item):
            await self._newcomer(entry.position, kept.event.state_key or "", room)

    async def _newcomer(self, position: int, user_id: str, room: Room) -> None:
        """Servers that had no reason to know the devices of a user now have."""
        news = DeviceNews(position, None, cross_signing=True)
        await self._tell_devices(await self._audiences.new_to(user_id, room), user_id, news)

    async def _completed(self, entry: Entry) -> None:
        """Members whom a peer had left out have come: their servers may have missed news of devices (MSC3902)."""
        nid = int(entry.audience[1:])
        users = await self._local_events.devices_changed_while_partial(nid, int(entry.ref))
        room = await self._audiences.room(nid) if users else None
        if room is None:
            return
        names = await self._audiences.while_partial(room)
        for user_id in users:
            missed = names - self._told.get(user_id, frozenset())
            await self._tell_devices(missed, user_id, DeviceNews(entry.position, None, cross_signing=True))

    async def _devices(self, entry: Entry) -> None:
        user_id, change = entry.ref, entry.payload
        if not self._local_events.is_own(user_id):
            return
        if isinstance(change, DeviceListChange):
            news = DeviceNews(entry.position, change.stream_id, change.cross_signing)
        else:
            news = DeviceNews(entry.position, None, cross_signing=True)
        names = await self._audiences.of_user(user_id)
        self._told[user_id] = frozenset(names)
        self._told.move_to_end(user_id)
        if len(self._told) > _TOLD:
            self._told.popitem(last=False)
        await self._tell_devices(names, user_id, news)

    async def _tell_devices(self, names: Collection[str], user_id: str, news: DeviceNews) -> None:
        now = self._now()
        async for destination in self._each(names):
            destination.add_devices(news, user_id, now)
            self._destinations.wake(destination)

    async def _receipt(self, entry: Entry) -> None:
        user_id, kind, _ = orjson.loads(entry.ref)
        if kind != READ or not self._local_events.is_own(user_id):
            return
        nid = int(entry.audience[1:])
        room = await self._audiences.room(nid)
        names = await self._audiences.of_room(room) if room is not None else ()
        if room is None or not names:
            return
        now, linger = self._now(), min(len(names) / _RECEIPTS_PER_SECOND, _LONGEST_LINGER_S)
        for receipt in await self._receipts.of_entries(nid, [entry]):
            async for destination in self._each(names):
                destination.add_receipt(entry.position, room.room_id, receipt, now)
                self._destinations.wake(destination, linger)

    async def _each(self, names: Collection[str]) -> AsyncIterator[Destination]:
        """The destinations of this process among these; others get their turn between many."""
        for number, destination in enumerate(self._destinations.mine(names, self._portions), 1):
            yield destination
            if number % _FAN_OUT == 0:
                await asyncio.sleep(0)
