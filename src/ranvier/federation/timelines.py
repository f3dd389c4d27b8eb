"""Catching up by room: for a destination that was away for longer than the log reaches back.

Each room's timeline has what it missed. Rooms come in the order of their numbers.
"""

from collections.abc import Sequence
from typing import Final

from ranvier.federation.audiences import Audiences
from ranvier.federation.destinations import Destination
from ranvier.federation.local_events import LocalEvents
from ranvier.federation.portions import Portion
from ranvier.federation.standing import Standing
from ranvier.rooms.receipts import Receipts
from ranvier.store import sending as store
from ranvier.store.database import Database
from ranvier.store.sending import Lag

_EVENTS: Final = 500
"""Events of a timeline that are looked at in one go."""
_MARGIN_MS: Final = 3_600_000
"""Clocks are set back now and then: so much is sent again rather than left out."""


class TimelinesMissed:
    """Finds what destinations missed in the rooms' timelines."""

    def __init__(
        self, database: Database, audiences: Audiences, local_events: LocalEvents, receipts: Receipts
    ) -> None:
        self._database = database
        self._audiences = audiences
        self._local_events = local_events
        self._receipts = receipts

    async def gather(
        self, destination: Destination, reached: tuple[int, int, int], rooms: Sequence[int]
    ) -> Portion:
        """The next portion; `reached` is `destination.by_room`."""
        room, version, until = reached
        portion = Portion(destination.lag())
        standing = Standing(self._audiences, destination.name)
        since = destination.done_ts - _MARGIN_MS
        for nid in rooms:
            if nid < room:
                continue
            if nid > room:
                await self._take_receipts(nid, since, standing, portion)
                version = await store.version_before(self._database, nid, since)
            version = await self._take_events(nid, version, standing, portion)
            if portion.is_full:
                portion.lag = portion.lag._replace(room=nid, version=version, caught_up_at=until)
                return portion
        portion.lag = Lag(destination.name, until, destination.done_ts)
        return portion

    async def _take_events(self, nid: int, after: int, standing: Standing, portion: Portion) -> int:
        """Take what follows a version of a room's timeline; answers the version reached."""
        while not portion.is_full:
            rows = await self._local_events.of_timeline(nid, after, _EVENTS)
            for version, kept in rows:
                after = version
                if await standing.hears_of(kept) and self._local_events.is_told(kept.event):
                    portion.pdus.append(kept)
                    if portion.is_full:
                        return after
            if len(rows) < _EVENTS:
                break
        return after

    async def _take_receipts(self, nid: int, since: int, standing: Standing, portion: Portion) -> None:
        room_id = await standing.room_id(nid)
        if room_id is None:
            return
        for receipt in (await self._receipts.of_rooms([nid], "")).get(nid, ()):
            if receipt.ts >= since and self._local_events.is_own(receipt.user_id):
                portion.add_receipt(room_id, receipt)
