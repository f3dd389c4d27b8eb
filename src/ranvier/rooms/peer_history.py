"""What other servers may read of a room's past.

Source: Server-Server API, "Backfilling and retrieving missing events", "Retrieving events"; Client-Server API, "Room
History Visibility", for what a server may see for the sake of its users.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ranvier.protocol.events import Event
from ranvier.rooms.heads import Room


@dataclass(frozen=True, slots=True)
class StateIds:
    """The state before an event and its whole auth chain, by ids."""

    state: tuple[str, ...]
    auth_chain: tuple[str, ...]


class PeerHistory:
    """Reads the past of rooms on peers' behalf. That the peer is in the room is for the caller to check."""

    async def state_ids(self, room: Room, event_id: str) -> StateIds | None:
        """The resolved state before an event; None if the event is not in this room or its state is not known."""
        raise NotImplementedError

    async def auth_chain(self, room: Room, event_ids: Sequence[str]) -> list[str]:
        """The ids of the whole auth chain of events of the room, themselves left out."""
        raise NotImplementedError

    async def events(self, room: Room, event_ids: Sequence[str], origin: str) -> list[Event]:
        """Events of the room by ids, for a peer: what it may not see is redacted; unknown ones are left out."""
        raise NotImplementedError

    async def backfill(
        self, room: Room, from_event_ids: Sequence[str], limit: int, origin: str
    ) -> list[Event]:
        """The events given and those before them, up to `limit`, newest first; what `origin` may not see redacted."""
        raise NotImplementedError

    async def missing_events(
        self,
        room: Room,
        earliest: Sequence[str],
        latest: Sequence[str],
        limit: int,
        min_depth: int,
        origin: str,
    ) -> list[Event]:
        """The events between two sets of events, walked back from `latest`, oldest first, up to `limit`."""
        raise NotImplementedError
