"""Aliases of this server, for other servers.

Source: Server-Server API, GET /query/directory.
"""

from ranvier.federation.peer_rooms import PeerRooms
from ranvier.protocol.refusal import not_found
from ranvier.rooms.aliases import Aliases, check_local

_MAX_SERVERS = 100


class AliasesForPeers:
    """Tells rooms by their aliases."""

    def __init__(self, aliases: Aliases, peer_rooms: PeerRooms) -> None:
        self._aliases = aliases
        self._peer_rooms = peer_rooms

    async def get(self, alias: str) -> tuple[str, list[str]]:
        """The id of the room that an alias of this server points to, and servers that are in it. Raises `Refusal`."""
        check_local(alias, self._peer_rooms.server_name)
        room_id = (await self._aliases.get(alias)).room_id
        servers = await self.servers_in(room_id)
        if not servers:
            raise not_found(f"The room of {alias} is not here any more.")
        return room_id, servers

    async def servers_in(self, room_id: str) -> list[str]:
        """Some servers that are in a room, this one first; none if this one is not in it."""
        room = await self._peer_rooms.own_room(room_id)
        if room is None:
            return []
        others = await self._peer_rooms.others_in(room)
        return [self._peer_rooms.server_name, *others[: _MAX_SERVERS - 1]]
