"""History beyond what this server has: gaps are filled from peers when somebody reads there.

Source: Server-Server API, "Backfilling and retrieving missing events", GET /timestamp_to_event.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final, Literal

from ranvier.federation.fetching import Fetching
from ranvier.protocol.events import Event
from ranvier.protocol.filters import EVERYTHING, EventFilter
from ranvier.protocol.refusal import Refusal
from ranvier.remote.failure import RemoteFailure
from ranvier.rooms.backfilling import Backfilling
from ranvier.rooms.heads import Heads, Room
from ranvier.rooms.history import History, Page
from ranvier.rooms.outliers import Outliers
from ranvier.rooms.pagination import END, Place
from ranvier.rooms.servers import Servers
from ranvier.rooms.times import Times
from ranvier.store import gaps as store
from ranvier.store.database import Database
from ranvier.store.gaps import Gap

FETCHED: Final = 100
"""Events that are asked for at once."""
_ROUNDS: Final = 3
"""Times that one request of a client may lead to questions to peers."""
_AT_ONCE: Final = 10
"""Gaps that one question is about, and states that are asked for to place what was answered."""
_PEERS: Final = 4

_log = logging.getLogger("ranvier.federation")


class Gaps:
    """Fills gaps of rooms' histories."""

    def __init__(
        self,
        server_name: str,
        database: Database,
        servers: Servers,
        fetching: Fetching,
        outliers: Outliers,
        backfilling: Backfilling,
    ) -> None:
        self._server_name = server_name
        self._database = database
        self._servers = servers
        self._fetching = fetching
        self._outliers = outliers
        self._backfilling = backfilling
        self._under_way: dict[int, asyncio.Task[bool]] = {}

    async def newest(self, room: Room, below: int) -> Gap | None:
        """The gap nearest to the present whose later side is at this depth or before."""
        if not room.has_gaps:
            return None
        found = await store.newest(self._database, room.nid, below, 1)
        return found[0] if found else None

    async def fill(self, room: Room, below: int) -> bool:
        """Ask the room's servers for what lies before some gaps; whether anything was put into the history."""
        task = self._under_way.get(room.nid)
        if task is None:
            task = asyncio.create_task(self._fill(room, below))
            self._under_way[room.nid] = task
            task.add_done_callback(lambda _: self._under_way.pop(room.nid, None))
        return await asyncio.shield(task)

    async def _fill(self, room: Room, below: int) -> bool:
        wanted = list(
            dict.fromkeys(
                gap.event_id for gap in await store.newest(self._database, room.nid, below, _AT_ONCE)
            )
        )
        for peer in await self.peers(room) if wanted else ():
            try:
                events = await self._fetching.backfill(room, wanted, FETCHED, peer)
                if await self.place(room, events, peer):
                    return True
            except RemoteFailure as failure:
                _log.info("no history was given", extra={"room_id": room.room_id, "why": str(failure)})
        return False

    async def peers(self, room: Room) -> Sequence[str]:
        """Some servers that may know more of the room."""
        return sorted(await self._servers.in_room(room) - {self._server_name})[:_PEERS]

    async def place(self, room: Room, events: Sequence[Event], peer: str) -> bool:
        """Put events that a peer gave into the history; whether any of them is new there. Raises RemoteFailure."""
        known = await self._fetching.known(room, {event.event_id for event in events})
        states = {}
        for event_id in (await self._backfilling.needs_state(room, events))[:_AT_ONCE]:
            states[event_id], chain = await self._fetching.state_before(room, event_id, peer)
            await self._outliers.keep(room.version, room.room_id, chain)
        judged = await self._backfilling.backfill(room, events, states)
        return any(event_id not in known for event_id in judged)


class EarlierHistory:
    """Clients' views of the past, with what peers have of it."""

    def __init__(self, heads: Heads, history: History, times: Times, gaps: Gaps, fetching: Fetching) -> None:
        self._heads = heads
        self._history = history
        self._times = times
        self._gaps = gaps
        self._fetching = fetching

    async def page(
        self,
        user_id: str,
        room_id: str,
        *,
        start: Place | None,
        to: Place | None,
        backwards: bool,
        limit: int,
        wanted: EventFilter = EVERYTHING,
    ) -> Page:
        """As `History.page`; gaps within a page towards the past are filled first, as far as peers answer."""
        gap: Gap | None = None
        for _ in range(_ROUNDS):
            page = await self._history.page(
                user_id, room_id, start=start, to=to, backwards=backwards, limit=limit, wanted=wanted
            )
            gap = await self._gap_within(page, to) if backwards and limit else None
            if gap is None or not await self._gaps.fill(page.access.room, gap.child_depth):
                break
        if gap is not None and page.end is None:
            # Another time somebody may answer: this is not where the room begins.
            page.end = Place(gap.child_depth, gap.child)
        return page

    async def _gap_within(self, page: Page, to: Place | None) -> Gap | None:
        """The newest gap between the page's start and its end."""
        gap = await self._gaps.newest(page.access.room, min(page.start.depth, END.depth))
        if gap is None or (to is not None and gap.child_depth < to.depth):
            return None
        return gap if page.end is None or Place(gap.child_depth, gap.child) >= page.end else None

    async def nearest(self, user_id: str, room_id: str, at: int, *, backwards: bool) -> Event:
        """As `Times.nearest`; where there are gaps, peers are asked whether they know of a nearer event."""
        try:
            own: Event | None = await self._times.nearest(user_id, room_id, at, backwards=backwards)
            refusal = None
        except Refusal as error:
            if error.errcode != "M_NOT_FOUND":
                raise
            own, refusal = None, error
        room = await self._heads.get(room_id)
        if room is not None and await self._has_nearer(room, own, at, "b" if backwards else "f"):
            return await self._times.nearest(user_id, room_id, at, backwards=backwards)
        if own is None:
            assert refusal is not None
            raise refusal
        return own

    async def _has_nearer(self, room: Room, own: Event | None, at: int, direction: Literal["f", "b"]) -> bool:
        """Whether a peer gave an event that is nearer to the time than ours, and it is in the history now."""
        if await self._gaps.newest(room, END.depth) is None:
            return False
        for peer in await self._gaps.peers(room):
            try:
                name, ts = await self._fetching.nearest(room, at, direction, peer)
                if own is not None and abs(ts - at) >= abs(own.origin_server_ts - at):
                    continue
                event = await self._fetching.event(room, name, peer)
                return await self._gaps.place(room, [event], peer)
            except RemoteFailure as failure:
                _log.info("no event was given", extra={"room_id": room.room_id, "why": str(failure)})
        return False
