"""What other servers may read of the rooms that they share with this one.

Source: Server-Server API, "Retrieving events", "Backfilling and retrieving missing events".
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from ranvier.federation.peer_rooms import PeerRooms
from ranvier.protocol.events import Event
from ranvier.protocol.refusal import forbidden, not_found
from ranvier.rooms.events import Events
from ranvier.rooms.peer_history import PeerHistory
from ranvier.rooms.times import Times

BACKFILLED: Final = 100
"""Events in one answer to `/backfill`."""
WALKED: Final = 100
"""Events in one answer to `/get_missing_events`."""
NAMED: Final = 100
"""Event ids that one request may name."""

Pdu = dict[str, Any]


class Serving:
    """Reads rooms on peers' behalf; refuses those who have no part in them."""

    def __init__(
        self,
        server_name: str,
        peers: PeerRooms,
        events: Events,
        history: PeerHistory,
        times: Times,
        now: Callable[[], int],
    ) -> None:
        self._server_name = server_name
        self._now = now
        self._peers = peers
        self._events = events
        self._history = history
        self._times = times

    def as_transaction(self, pdus: Sequence[Pdu]) -> dict[str, Any]:
        """The form in which events are answered: as if this server sent them."""
        return {"origin": self._server_name, "origin_server_ts": self._now(), "pdus": list(pdus)}

    async def event(self, origin: str, event_id: str) -> Pdu:
        """One event, for a server that is in its room."""
        kept = await self._events.by_id(event_id)
        if kept is not None:
            room = await self._peers.shared_room(origin, kept.event.room_id)
            found = await self._history.events(room, [event_id], origin)
            if found:
                return found[0].pdu
        raise not_found(f"There is no event {event_id[:255]} here.")

    async def nearest(self, origin: str, room_id: str, at: int, *, backwards: bool) -> Event:
        """The event that the server may see nearest to a time (ms since the epoch), not before it, or not after it."""
        room = await self._peers.shared_room(origin, room_id)
        head = await self._peers.head_of(room)
        seen = partial(self._history.seen, origin=origin)
        return await self._times.nearest_among(room, head, at, seen, backwards=backwards)

    async def state_ids(
        self, origin: str, room_id: str, event_id: str
    ) -> tuple[Sequence[str], Sequence[str]]:
        """The ids of the state before an event, and of its auth chain."""
        room = await self._peers.shared_room(origin, room_id)
        if room.head is not None and room.head.partial:
            raise forbidden(
                "This server has joined the room a moment ago and does not know its whole state yet."
            )
        found = await self._history.state_ids(room, event_id)
        if found is None:
            raise not_found(f"The state before {event_id[:255]} is not known here.")
        return found.state, found.auth_chain

    async def state(self, origin: str, room_id: str, event_id: str) -> tuple[list[Pdu], list[Pdu]]:
        """The state before an event, and its auth chain."""
        state, chain = await self.state_ids(origin, room_id, event_id)
        return await self._whole(state), await self._whole(chain)

    async def auth_chain(self, origin: str, room_id: str, event_id: str) -> list[Pdu]:
        """The whole auth chain of an event."""
        room = await self._peers.shared_room(origin, room_id)
        kept = await self._events.by_id(event_id)
        if kept is None or kept.room != room.nid:
            raise not_found(f"There is no event {event_id[:255]} in this room.")
        return await self._whole(await self._history.auth_chain(room, [event_id]))

    async def _whole(self, event_ids: Sequence[str]) -> list[Pdu]:
        found = await self._events.by_ids(event_ids)
        return [found[event_id].event.pdu for event_id in event_ids if event_id in found]

    async def backfill(self, origin: str, room_id: str, event_ids: Sequence[str], limit: int) -> list[Pdu]:
        """Events and those before them."""
        room = await self._peers.shared_room(origin, room_id)
        return _pdus(await self._history.backfill(room, event_ids[:NAMED], min(limit, BACKFILLED), origin))

    async def missing_events(
        self,
        origin: str,
        room_id: str,
        earliest: Sequence[str],
        latest: Sequence[str],
        limit: int,
        min_depth: int,
    ) -> list[Pdu]:
        """The events between some that the peer has and some that it was sent."""
        room = await self._peers.shared_room(origin, room_id)
        return _pdus(
            await self._history.missing_events(
                room, earliest[:NAMED], latest[:NAMED], min(limit, WALKED), min_depth, origin
            )
        )


def _pdus(events: Sequence[Event]) -> list[Pdu]:
    return [event.pdu for event in events]
