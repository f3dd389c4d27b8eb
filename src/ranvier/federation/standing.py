"""Whether one destination was in rooms, from each event of a room's timeline to the next."""

from ranvier.federation.audiences import Audiences
from ranvier.protocol.identifiers import server_name_of
from ranvier.rooms.heads import MEMBER
from ranvier.store.events import StoredEvent


class Standing:
    """Asks once for each stretch of a timeline in which it can't change.

    It must be shown the events in order, those among them that are memberships of the destination's users.
    """

    def __init__(self, audiences: Audiences, destination: str) -> None:
        self._audiences = audiences
        self._destination = destination
        self._there: dict[int, bool] = {}

    async def hears_of(self, kept: StoredEvent) -> bool:
        """Whether the destination is to be told of an event, unless others are to tell it."""
        event = kept.event
        there = self._there.get(kept.room)
        if there is None:
            room = await self._audiences.room(kept.room)
            there = room is not None and await self._audiences.was_in(self._destination, room, kept)
            self._there[kept.room] = there
        if event.type == MEMBER and server_name_of(event.state_key or "") == self._destination:
            # It may be the last of its members who leaves, or the first who joins.
            del self._there[kept.room]
        if server_name_of(event.sender) == self._destination:
            return False
        return there or self._audiences.turned_away(event) == self._destination

    async def room_id(self, nid: int) -> str | None:
        """The id of a room if the destination is in it now."""
        room = await self._audiences.room(nid)
        if room is None or self._destination not in await self._audiences.of_room(room):
            return None
        return room.room_id

    def forget(self, nid: int) -> None:
        """The room's state changed without an event."""
        self._there.pop(nid, None)
