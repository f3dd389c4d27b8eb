"""Bringing a destination that fell behind up to date, from the log, or where that was trimmed from the timelines.

It gets everything that it missed, in the order in which it happened, not only each room's newest event. First it hears
whose devices changed, so that it knows the keys of those whose messages follow.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import orjson

from ranvier.federation.audiences import Audiences
from ranvier.federation.destinations import Destination, DeviceNews
from ranvier.federation.local_events import LocalEvents
from ranvier.federation.portions import Portion
from ranvier.federation.standing import Standing
from ranvier.federation.timelines import TimelinesMissed
from ranvier.rooms.receipts import READ, Receipts
from ranvier.store import device_changes, log
from ranvier.store import sending as store
from ranvier.store.database import Database, Entry
from ranvier.store.events import StoredEvent
from ranvier.store.log import Kind
from ranvier.store.sending import Lag

_ENTRIES: Final = 1_000
"""Entries of the log that are looked at in one go."""
_FIRST_SPAN: Final = 2_000
_WIDEST_SPAN: Final = 500_000
"""Positions of the log that are searched at once: more where nothing was found."""
_STEPS: Final = 20


class CatchingUp:
    """Finds what a destination missed."""

    def __init__(
        self,
        database: Database,
        audiences: Audiences,
        local_events: LocalEvents,
        receipts: Receipts,
        timelines: TimelinesMissed,
    ) -> None:
        self._database = database
        self._audiences = audiences
        self._local_events = local_events
        self._receipts = receipts
        self._timelines = timelines

    async def read_devices(self, destination: Destination, until: int) -> None:
        """Note whose devices changed since the destination fell behind, up to a position of the log."""
        if destination.devices_read_until >= until:
            return
        after = destination.devices_read_until or destination.done
        rooms = await store.rooms_of_server(self._database, destination.name)
        if await log.read_horizon(self._database) > after:
            users = await device_changes.owners(self._database, rooms, self._local_events.server_name)
        else:
            users = await store.read_device_lists(self._database, rooms, after, until)
        for user in filter(self._local_events.is_own, users):
            destination.devices[user] = DeviceNews(until, None, cross_signing=True)
        destination.devices_read_until = until

    async def gather(self, destination: Destination, until: int) -> Portion:
        """The next portion of what the destination missed, up to a position of the log."""
        rooms = await store.rooms_of_server(self._database, destination.name)
        reached = destination.by_room
        if reached is None and await log.read_horizon(self._database) > destination.done:
            reached = (0, 0, until)
        if reached is not None:
            return await self._timelines.gather(destination, reached, rooms)
        return await self._from_log(destination, rooms, until)

    async def _from_log(self, destination: Destination, rooms: Sequence[int], until: int) -> Portion:
        portion = Portion(destination.lag())
        standing = Standing(self._audiences, destination.name)
        position, at, span = destination.done, destination.done_ts, _FIRST_SPAN
        for _ in range(_STEPS):
            if position >= until or portion.is_full:
                break
            end = min(until, position + span)
            entries = await store.read_news(self._database, rooms, position, end, _ENTRIES)
            span = _FIRST_SPAN if entries else min(span * 4, _WIDEST_SPAN)
            if len(entries) == _ENTRIES:
                end = entries[-1].position
            events = await self._local_events.at([_place(e) for e in entries if e.kind == Kind.EVENT])
            for place in {_place(e) for e in entries if e.kind == Kind.STATE} & events.keys():
                # Of the join that brought this server into a room, with the whole state, a peer tells.
                if self._local_events.is_own(events[place].event.sender):
                    del events[place]
            for entry in entries:
                kept = await self._take(entry, events, portion, standing)
                at = kept.received_ts if kept is not None else at
                if portion.is_full:
                    end = entry.position
                    break
            position = end
        portion.lag = Lag(destination.name, position, at)
        return portion

    async def _take(
        self,
        entry: Entry,
        events: Mapping[tuple[int, int], StoredEvent],
        portion: Portion,
        standing: Standing,
    ) -> StoredEvent | None:
        """Take what an entry tells into the portion; answers the event that it was about."""
        nid = int(entry.audience[1:])
        if entry.kind == Kind.STATE:
            standing.forget(nid)
        elif entry.kind == Kind.RECEIPT and self._is_own_receipt(entry):
            room_id = await standing.room_id(nid)
            for receipt in await self._receipts.of_entries(nid, [entry]) if room_id is not None else ():
                portion.add_receipt(room_id or "", receipt)
        elif entry.kind == Kind.EVENT:
            kept = events.get(_place(entry))
            if kept is not None and await standing.hears_of(kept) and self._local_events.is_told(kept.event):
                portion.pdus.append(kept)
            return kept
        return None

    def _is_own_receipt(self, entry: Entry) -> bool:
        user_id, kind, _ = orjson.loads(entry.ref)
        return kind == READ and self._local_events.is_own(user_id)


def _place(entry: Entry) -> tuple[int, int]:
    return int(entry.audience[1:]), int(entry.ref)
