"""Which other servers have to hear of something."""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final

from ranvier.protocol.events import Event
from ranvier.protocol.identifiers import server_name_of
from ranvier.rooms.heads import MEMBER, Heads, Room
from ranvier.rooms.servers import Servers
from ranvier.store import device_lists as device_lists_store
from ranvier.store import rooms as rooms_store
from ranvier.store import sending as sending_store
from ranvier.store.database import Database
from ranvier.store.events import StoredEvent
from ranvier.store.log import room_audience

_NAMED: Final = 50_000
"""Rooms whose id is remembered by their number."""
_LEAVING: Final = ("leave", "ban")


class Audiences:
    """Other servers by room, event and user; `allows` says with which of them this server speaks at all."""

    def __init__(
        self,
        server_name: str,
        database: Database,
        heads: Heads,
        servers: Servers,
        allows: Callable[[str], bool],
    ) -> None:
        self._server_name = server_name
        self._database = database
        self._heads = heads
        self._servers = servers
        self._allows = allows
        self._ids: OrderedDict[int, str] = OrderedDict()

    async def room(self, nid: int) -> Room | None:
        """The room of that number."""
        at_hand = self._heads.in_use(room_audience(nid))
        if at_hand is not None:
            # It is in use here, too: it follows what other processes append.
            return self._heads.at_hand(at_hand.room_id) or at_hand
        room_id = self._ids.get(nid)
        if room_id is None:
            row = await rooms_store.by_nid(self._database, nid)
            if row is None:
                return None
            room_id = self._ids[nid] = row.room_id
            if len(self._ids) > _NAMED:
                self._ids.popitem(last=False)
        return await self._heads.get(room_id)

    async def of_event(self, room: Room, kept: StoredEvent) -> set[str]:
        """The servers that an event of the live timeline is sent to: those in the room before it.

        Who was invited or asked to come in, and is turned away, hears of that too.
        """
        found = set(await self._servers.at(room, kept))
        turned_away = self.turned_away(kept.event)
        if turned_away is not None:
            found.add(turned_away)
        # Whoever made it has it.
        found.discard(server_name_of(kept.event.sender))
        return self._others(found)

    def turned_away(self, event: Event) -> str | None:
        """The server of the user whose membership the event ends."""
        if event.type != MEMBER or event.content.get("membership") not in _LEAVING:
            return None
        return server_name_of(event.state_key or "")

    async def was_in(self, destination: str, room: Room, kept: StoredEvent) -> bool:
        """Whether a server was in the room before an event."""
        return destination in await self._servers.at(room, kept)

    async def of_room(self, room: Room) -> set[str]:
        """The servers that are in a room now."""
        return self._others(await self._servers.in_room(room))

    async def while_partial(self, room: Room) -> set[str]:
        """The servers in a room whose members have all come now, and those that were until somebody left meanwhile."""
        moved = await sending_store.read_moved_while_partial(self._database, room.nid)
        return self._others({*await self._servers.in_room(room), *map(server_name_of, moved)})

    async def of_user(self, user_id: str) -> set[str]:
        """The servers that share a room with a user of this server."""
        found: set[str] = set()
        for nid in await device_lists_store.read_own_rooms(self._database, user_id):
            room = await self.room(nid)
            if room is not None:
                found |= await self._servers.in_room(room)
        return self._others(found)

    async def new_to(self, user_id: str, room: Room) -> set[str]:
        """The servers in a room that share no other one with a user who just joined it."""
        found = await self.of_room(room)
        if not found:
            return found
        for nid in await device_lists_store.read_own_rooms(self._database, user_id):
            if not found:
                break
            other = await self.room(nid) if nid != room.nid else None
            if other is not None:
                found -= await self._servers.in_room(other)
        return found

    def _others(self, names: Iterable[str]) -> set[str]:
        return {name for name in names if name != self._server_name and self._allows(name)}
