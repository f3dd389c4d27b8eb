"""Making rooms, and inviting those on other servers into them."""

import asyncio
import logging
from typing import Final

from ranvier.federation.memberships import FederatedMemberships
from ranvier.protocol.identifiers import server_name_of
from ranvier.protocol.refusal import Refusal
from ranvier.rooms.creation import Creation, RoomRequest
from ranvier.rooms.heads import Room

_AT_ONCE: Final = 10
_log = logging.getLogger("ranvier.federation")


class FederatedCreation:
    """Makes rooms for the client API."""

    def __init__(self, server_name: str, creation: Creation, memberships: FederatedMemberships) -> None:
        self._server_name = server_name
        self._creation = creation
        self._memberships = memberships

    async def create(self, request: RoomRequest) -> Room:
        """Make the room. A server that can't be reached does not undo it: whom it concerns can be invited again."""
        room = await self._creation.create(request)
        afar = [user for user in dict.fromkeys(request.invite) if server_name_of(user) != self._server_name]
        turns = asyncio.Semaphore(_AT_ONCE)
        await asyncio.gather(*(self._invite(request, room, user, turns) for user in afar))
        return room

    async def _invite(self, request: RoomRequest, room: Room, user: str, turns: asyncio.Semaphore) -> None:
        try:
            async with turns:
                await self._memberships.invite(
                    request.creator, room.room_id, user, is_direct=request.is_direct
                )
        except Refusal as refusal:
            about = {"room_id": room.room_id, "user_id": user, "why": refusal.error}
            _log.warning("a user could not be invited into a new room", extra=about)
