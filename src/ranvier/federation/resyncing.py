"""The rest of a room that was joined quickly: the whole state before the join, fetched while the room is in use.

Source: MSC3902.
"""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import Final

from ranvier.federation.fetching import Fetching
from ranvier.remote.failure import RemoteFailure
from ranvier.rooms.founding import Founding
from ranvier.rooms.heads import Heads, Room
from ranvier.rooms.servers import Servers

_FIRST_PAUSE_S: Final = 5.0
_LONGEST_PAUSE_S: Final = 600.0
_AT_ONCE: Final = 3
"""Rooms whose rest is fetched at the same time: each may be large."""

_log = logging.getLogger("ranvier.federation")


class Resyncing:
    """Completes rooms with partial state: those that are begun here, and those that an earlier process left."""

    def __init__(
        self, server_name: str, heads: Heads, servers: Servers, fetching: Fetching, founding: Founding
    ) -> None:
        self._server_name = server_name
        self._heads = heads
        self._servers = servers
        self._fetching = fetching
        self._founding = founding
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def start(self) -> None:
        """Go on with what is not complete."""
        for room_id in await self._founding.partial_rooms():
            room = await self._heads.get(room_id)
            if room is not None:
                self.begin(room)

    async def stop(self) -> None:
        """Leave the rest for the next start."""
        for task in list(self._tasks.values()):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def begin(self, room: Room) -> None:
        """Fetch what the room lacks."""
        if room.nid not in self._tasks:
            task = asyncio.create_task(self._run(room), name=f"rest of {room.room_id}")
            self._tasks[room.nid] = task
            task.add_done_callback(lambda _: self._tasks.pop(room.nid, None))

    async def _run(self, room: Room) -> None:
        pause = _FIRST_PAUSE_S
        while not await self._try_all(room):
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    async def _try_all(self, room: Room) -> bool:
        """Whether one of the room's servers gave the rest."""
        for server in await self._candidates(room):
            try:
                async with self._turns:
                    await self._complete(room, server)
            except RemoteFailure as failure:
                _log.info(
                    "the rest of a room was not given", extra={"room_id": room.room_id, "why": str(failure)}
                )
            except Exception:
                _log.exception(
                    "a room could not be completed; it is tried again", extra={"room_id": room.room_id}
                )
            else:
                return True
        return False

    async def _complete(self, room: Room, server: str) -> None:
        join = await self._founding.join_of(room)
        if join is None:
            return
        state, chain = await self._fetching.state_before(room, join, server)
        await self._founding.complete(room, state, chain)

    async def _candidates(self, room: Room) -> Sequence[str]:
        """The server through which the room was joined first, then others."""
        through = await self._founding.joined_through(room)
        others = sorted(await self._servers.in_room(room) - {self._server_name, through})
        return [server for server in (through, *others) if server]
