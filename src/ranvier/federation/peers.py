"""Whether a server may ask about a room at all.

Source: Server-Server API, "Server Access Control Lists (ACLs)", "Retrieving events".
"""

from ranvier.protocol.refusal import forbidden, not_found
from ranvier.protocol.server_acl import may_take_part
from ranvier.rooms.heads import Heads, Room
from ranvier.rooms.servers import Servers


class Peers:
    """Opens rooms to other servers."""

    def __init__(self, heads: Heads, servers: Servers) -> None:
        self._heads = heads
        self._servers = servers

    async def known_room(self, origin: str, room_id: str) -> Room:
        """The room, for a server that need not be in it. Raises `Refusal`."""
        room = await self._heads.get(room_id) if room_id.startswith("!") else None
        if room is None or room.head is None:
            raise not_found(f"This server knows no room {room_id[:255]}.")
        acl = room.head.get("m.room.server_acl")
        if not may_take_part(origin, acl.event if acl is not None else None):
            raise forbidden("The room's server ACL keeps your server out.")
        return room

    async def shared_room(self, origin: str, room_id: str) -> Room:
        """The room, for a server that is in it. Raises `Refusal`."""
        room = await self.known_room(origin, room_id)
        if origin not in await self._servers.in_room(room):
            raise forbidden("Your server is not in that room.")
        return room
