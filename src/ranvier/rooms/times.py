"""Finding events by the time at which they say that they were sent.

History is ordered by depth, and senders' clocks follow that order but for small differences: so the place is found by
halving, and the nearest event among its neighbours.

Source: Client-Server API, GET /timestamp_to_event.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from ranvier.protocol.events import Event
from ranvier.protocol.refusal import not_found
from ranvier.rooms.access import Accesses
from ranvier.rooms.events import Events
from ranvier.rooms.heads import Head, Room
from ranvier.rooms.visibility import Visibility
from ranvier.store import events as store
from ranvier.store.database import Database
from ranvier.store.events import StoredEvent

_NEIGHBOURS: Final = 100
_STEPS: Final = 10
"""Groups of neighbours that are looked through for an event that the user may see."""

Seen = Callable[[Sequence[StoredEvent]], Awaitable[list[Event]]]


class Times:
    """Finds events by time."""

    def __init__(
        self, database: Database, events: Events, visibility: Visibility, accesses: Accesses
    ) -> None:
        self._database = database
        self._events = events
        self._visibility = visibility
        self._accesses = accesses

    async def nearest(self, user_id: str, room_id: str, at: int, *, backwards: bool) -> Event:
        """The event that the user may see nearest to a time (ms since the epoch): not before it, or not after it.

        Refused with M_NOT_FOUND if there is none.
        """
        access = await self._accesses.of(user_id, room_id)

        async def seen(kept: Sequence[StoredEvent]) -> list[Event]:
            return [one.kept.event for one in await self._visibility.filter(access.room, user_id, kept)]

        return await self.nearest_among(access.room, access.head, at, seen, backwards=backwards)

    async def nearest_among(self, room: Room, head: Head, at: int, seen: Seen, *, backwards: bool) -> Event:
        """The same for anybody: `seen` gives those of some events that they may see."""
        depth = await self._depth_at(room, head, at)
        for step in range(_STEPS):
            low, high = self._window(depth, step, backwards)
            times = await seen(await self._between(room, low, high))
            fitting = [
                e for e in times if (e.origin_server_ts <= at if backwards else e.origin_server_ts >= at)
            ]
            if fitting:
                return min(fitting, key=lambda event: abs(event.origin_server_ts - at))
            if (high > head.depth and not backwards) or (low <= 0 and backwards):
                break
        raise not_found("There is no event at that side of that time, or none that you may see.")

    def _window(self, depth: int, step: int, backwards: bool) -> tuple[int, int]:
        """The depths, from the first up to before the second, that a step looks at; the first looks at both sides."""
        far = _NEIGHBOURS * (step + 1)
        near = _NEIGHBOURS * step if step else -_NEIGHBOURS
        return (depth - far, depth - near) if backwards else (depth + near, depth + far)

    async def _depth_at(self, room: Room, head: Head, at: int) -> int:
        """The least depth whose event was sent at that time or later, if clocks follow the order."""
        low, high = 0, head.depth
        while low < high:
            middle = (low + high) // 2
            found = await self._between(room, middle, high, limit=1)
            if not found or found[0].event.origin_server_ts >= at:
                high = middle
            else:
                low = max(middle, found[0].event.depth) + 1
        return low

    async def _between(
        self, room: Room, low: int, high: int, limit: int = 2 * _NEIGHBOURS
    ) -> list[StoredEvent]:
        nids = await store.history(
            self._database,
            room.nid,
            before=(max(high, 0), 0),
            after=(max(low, 0), 0),
            backwards=False,
            limit=limit,
        )
        events = await self._events.by_nids(nids)
        return [events[nid] for nid in nids]
