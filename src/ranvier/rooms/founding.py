"""Rooms that we enter through a peer: the first join of one of our users, and the return after all had left.

Source: Server-Server API, "Joining Rooms"; partial state: MSC3706, MSC3902.
"""

from collections.abc import Sequence

from ranvier.protocol.events import Event
from ranvier.protocol.room_versions import RoomVersion
from ranvier.rooms.heads import Room


class Founding:
    """Makes rooms of what `/send_join` answered."""

    async def found(
        self,
        version: RoomVersion,
        room_id: str,
        join: Event,
        state: Sequence[Event],
        auth_chain: Sequence[Event],
        *,
        servers: Sequence[str] = (),
        partial: bool = False,
    ) -> Room:
        """The room as it is with `join` in it, upon the state before it; durable, and told to all who follow.

        The events' forms, hashes and signatures have been checked. With `partial`, `state` lacks members that
        matter to none of our users so far, and `servers` are those that the peer says are in the room.
        Raises `Refusal` if that state does not allow the join, or has no valid create event of this room and version.
        """
        raise NotImplementedError

    async def complete(self, room: Room, state: Sequence[Event], auth_chain: Sequence[Event]) -> None:
        """The whole state before the join that a partial room began with has come: what was judged is judged again.

        Does nothing in a room that is complete already.
        """
        raise NotImplementedError
