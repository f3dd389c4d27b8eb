"""The rest of a room that was joined quickly: the whole state before the join, fetched while the room is in use.

Source: MSC3902.
"""

import asyncio
import logging
from typing import Final

from ranvier.federation.fetching import Fetching
from ranvier.remote.failure import RemoteFailure
from ranvier.rooms.completing import Completing
from ranvier.rooms.events import Events
from ranvier.rooms.heads import Heads, Room
from ranvier.rooms.servers import Servers
from ranvier.store.database import Fence
from ranvier.store.errands import Errands
from ranvier.store.shares import Shares

_FIRST_PAUSE_S: Final = 5.0
_LONGEST_PAUSE_S: Final = 600.0
_AT_ONCE: Final = 3
"""Rooms whose rest is fetched at the same time: each may be large."""

_log = logging.getLogger("ranvier.federation")


class Resyncing:
    """Completes rooms with partial state: those that are begun here, and those that an earlier process left."""

    def __init__(
        self,
        server_name: str,
        heads: Heads,
        events: Events,
        servers: Servers,
        fetching: Fetching,
        completing: Completing,
        shares: Shares,
    ) -> None:
        self._server_name = server_name
        self._heads = heads
        self._events = events
        self._servers = servers
        self._fetching = fetching
        self._completing = completing
        self._errands = Errands(shares, completing.incomplete, self._run)
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def start(self) -> None:
        """Go on with what is not complete."""
        await self._errands.start()

    async def stop(self) -> None:
        """Leave the rest to others, or for the next start."""
        await self._errands.stop()

    def begin(self, room: Room) -> None:
        """Fetch what the room lacks, in this process or in another."""
        self._errands.note(room.room_id)

    async def _run(self, room_id: str, fence: Fence) -> None:
        room = await self._heads.get(room_id)
        pause = _FIRST_PAUSE_S
        while room is not None and not await self._try_all(room, fence):
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    async def _try_all(self, room: Room, fence: Fence) -> bool:
        """Whether nothing is lacking any more, as one of the room's servers gave the rest."""
        partial = await self._completing.standing(room)
        if partial is None:
            return True
        join = (await self._events.by_nids([partial.join]))[partial.join].event
        others = sorted(await self._servers.in_room(room) - {self._server_name})
        for server in dict.fromkeys([*partial.servers[:1], *others]):
            try:
                async with self._turns:
                    state, chain = await self._fetching.state_before_join(room, join, server)
                    await self._completing.complete(room, state, chain, fence)
            except RemoteFailure as failure:
                about = {"room_id": room.room_id, "why": str(failure)}
                _log.info("the rest of a room was not given", extra=about)
            except Exception:
                _log.exception(
                    "a room could not be completed; it is tried again", extra={"room_id": room.room_id}
                )
            else:
                return True
        return False
