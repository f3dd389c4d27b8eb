"""Which servers are in a room: those that its events go to, and may be asked about it."""

from ranvier.rooms.heads import Room
from ranvier.store.events import StoredEvent


class Servers:
    """Counts joined members by server; in memory with the room's head."""

    async def in_room(self, room: Room) -> frozenset[str]:
        """The servers with joined members, ours included if it has any.

        While the room's state is partial, also those that the peer named through which we joined.
        """
        raise NotImplementedError

    async def at(self, room: Room, kept: StoredEvent) -> frozenset[str]:
        """The servers with joined members before an event of the live timeline: who is to be sent it."""
        raise NotImplementedError
