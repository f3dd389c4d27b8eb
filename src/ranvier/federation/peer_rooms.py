"""Whether a server may ask about a room at all.

Source: Server-Server API, "Server Access Control Lists (ACLs)", "Retrieving events".
"""

from ranvier.protocol.refusal import forbidden, not_found
from ranvier.protocol.server_acl import may_take_part
from ranvier.rooms.heads import MEMBER, Head, Heads, Room
from ranvier.rooms.servers import Servers


class PeerRooms:
    """Opens rooms to other servers."""

    def __init__(self, server_name: str, heads: Heads, servers: Servers) -> None:
        self.server_name = server_name
        self._heads = heads
        self._servers = servers

    async def known_room(self, origin: str, room_id: str) -> Room:
        """The room, for a server that need not be in it. Raises `Refusal`."""
        room = await self.own_room(room_id)
        if room is None:
            raise not_found(f"This server is not in the room {room_id[:255]}.")
        if not self.lets_in(origin, room):
            raise forbidden("The room's server ACL keeps your server out.")
        return room

    @staticmethod
    def lets_in(origin: str, room: Room) -> bool:
        """Whether the room's server ACL lets a server take part."""
        acl = room.head.get("m.room.server_acl") if room.head is not None else None
        return may_take_part(origin, acl.event if acl is not None else None)

    async def own_room(self, room_id: str) -> Room | None:
        """The room, if any user of this server is in it."""
        room = await self._heads.get(room_id) if room_id.startswith("!") else None
        if room is None or self.server_name not in await self._servers.in_room(room):
            return None
        return room

    async def head_of(self, room: Room) -> Head:
        """The room as it is now."""
        return await self._heads.fault_in(room, ())

    async def is_unknown_in(self, room: Room, user_id: str) -> bool:
        """Whether the user's membership is among what is still to come of a room that we joined quickly."""
        head = await self._heads.fault_in(room, [user_id])
        return head.partial and head.state.get((MEMBER, user_id)) is None

    async def others_in(self, room: Room) -> list[str]:
        """The other servers in a room, in a settled order."""
        return sorted(await self._servers.in_room(room) - {self.server_name})

    async def shared_room(self, origin: str, room_id: str) -> Room:
        """The room, for a server that is in it. Raises `Refusal`."""
        room = await self.known_room(origin, room_id)
        if origin not in await self._servers.in_room(room):
            raise forbidden("Your server is not in that room.")
        return room
