"""What local users do at this moment, on its way to other servers: typing and presence.

Destinations that are behind hear nothing of it: by the time they are there again it is no longer true.
Source: server-server API, "Typing Notifications", "Presence".
"""

import asyncio
import logging
from typing import Final

from ranvier.federation.audiences import Audiences
from ranvier.federation.destinations import Destinations
from ranvier.federation.local_events import LocalEvents
from ranvier.rooms.presence import Presences
from ranvier.rooms.typing import Typing

_REFRESH_S: Final = 20.0
"""After so long peers are told again of those who still type: they forget it after thirty seconds."""
_PRESENCE_LINGER_S: Final = 1.0
_WAITING: Final = 10_000
"""Changes that wait to be looked at; more are left out."""

_log = logging.getLogger("ranvier.federation")


class OutgoingEphemera:
    """Hears of changes and queues them for the servers that share a room with the user."""

    def __init__(
        self,
        audiences: Audiences,
        local_events: LocalEvents,
        destinations: Destinations,
        typing: Typing,
        presences: Presences,
    ) -> None:
        self._audiences = audiences
        self._local_events = local_events
        self._destinations = destinations
        self._presences = presences
        self._typing: set[tuple[int, str]] = set()
        self._changes: dict[tuple[int, str], bool] = {}
        self._told = 0
        self._news = asyncio.Event()
        self._presence_news = False
        self._tasks: list[asyncio.Task[None]] = []
        typing.when_changed(self._hear_typing)
        presences.when_changed(self._hear_presence)

    def start(self) -> None:
        """Begin to tell."""
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._run(), name="federation-ephemera"),
            loop.create_task(self._refresh(), name="federation-typing"),
        ]

    async def stop(self) -> None:
        """Tell no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _hear_typing(self, room: int, user_id: str, is_typing: bool) -> None:
        if not self._local_events.is_own(user_id):
            return
        self._typing.discard((room, user_id))
        if len(self._changes) >= _WAITING or len(self._typing) >= _WAITING:
            return
        if is_typing:
            self._typing.add((room, user_id))
        self._changes[room, user_id] = is_typing
        self._news.set()

    def _hear_presence(self) -> None:
        self._presence_news = True
        self._news.set()

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(_REFRESH_S)
            self._changes.update(dict.fromkeys(self._typing, True))
            self._news.set()

    async def _run(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                await self._tell_typing()
                await self._tell_presence()
            except Exception:
                _log.exception("what users do could not be told")

    async def _tell_typing(self) -> None:
        while self._changes:
            (nid, user_id), is_typing = self._changes.popitem()
            room = await self._audiences.room(nid)
            if room is None:
                continue
            for destination in self._destinations.mine(await self._audiences.of_room(room)):
                destination.add_typing(room.room_id, user_id, typing=is_typing)
                self._destinations.wake(destination)

    async def _tell_presence(self) -> None:
        if not self._presence_news:
            return
        self._presence_news = False
        self._told, changes = self._presences.local_changes(self._told)
        for update, audiences in changes:
            said = {"user_id": update.user_id, **update.presence.content(update.last_active_ago)}
            names: set[str] = set()
            for audience in audiences:
                room = await self._audiences.room(int(audience[1:]))
                if room is not None:
                    names |= await self._audiences.of_room(room)
            for destination in self._destinations.mine(names):
                destination.add_presence(update.user_id, said)
                self._destinations.wake(destination, _PRESENCE_LINGER_S)
