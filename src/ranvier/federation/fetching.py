"""Events of a room from a peer: asked for, checked, and of the room that they were asked of."""

from collections.abc import Collection, Sequence
from typing import Any, Final, Literal

from ranvier.protocol.events import Event
from ranvier.remote import backfill, event_auth, events
from ranvier.remote.client import FederationClient
from ranvier.remote.failure import RemoteFailure
from ranvier.remote.verifying import Verifying
from ranvier.rooms.events import Events
from ranvier.rooms.heads import Heads, Room
from ranvier.store import events as store
from ranvier.store.database import Database

_SINGLY: Final = 50
"""Events of a state that we lack are got one by one up to this number; more come as a whole state."""


class Fetching:
    """Asks peers. What they answer that is not signed, or of another room, is left out."""

    def __init__(
        self,
        database: Database,
        heads: Heads,
        kept: Events,
        client: FederationClient,
        verifying: Verifying,
    ) -> None:
        self._database = database
        self._heads = heads
        self._kept = kept
        self._client = client
        self._verifying = verifying

    async def known(self, room: Room, event_ids: Collection[str]) -> frozenset[str]:
        """Those of the events that are kept here, whatever was judged of them."""
        return frozenset(await store.nids_of(self._database, sorted(event_ids)))

    async def missing_events(self, room: Room, latest: Sequence[Event], limit: int, peer: str) -> list[Event]:
        """Events between the room's forward extremities here and the given ones. Raises RemoteFailure."""
        head = await self._heads.fault_in(room, ())
        pdus = await backfill.get_missing_previous_events(
            self._client,
            peer,
            room.room_id,
            earliest_events=[kept.event.event_id for kept in head.extremities],
            latest_events=[event.event_id for event in latest],
            limit=limit,
        )
        return await self.checked(room, pdus)

    async def backfill(self, room: Room, event_ids: Sequence[str], limit: int, peer: str) -> list[Event]:
        """The given events and those before them. Raises RemoteFailure."""
        pdus = await backfill.backfill_room(self._client, peer, room.room_id, event_ids, limit)
        return await self.checked(room, pdus)

    async def nearest(self, room: Room, at: int, direction: Literal["f", "b"], peer: str) -> tuple[str, int]:
        """The event nearest to a time (ms since the epoch) that the peer has, and its time. Raises RemoteFailure."""
        found = await events.get_event_by_timestamp(self._client, peer, room.room_id, at, direction)
        return found.event_id, found.origin_server_ts

    async def auth_chain(self, room: Room, event: Event, peer: str) -> list[Event]:
        """The whole auth chain of an event. Raises RemoteFailure."""
        return await self.checked(
            room, await event_auth.get_event_auth(self._client, peer, room.room_id, event.event_id)
        )

    async def event(self, room: Room, event_id: str, peer: str) -> Event:
        """One event, which may be kept here already. Raises RemoteFailure."""
        kept = await self._kept.by_id(event_id)
        if kept is not None and kept.room == room.nid and kept.redacted_by is None:
            return kept.event
        found = await self.checked(room, [await events.get_event(self._client, peer, event_id)])
        if not found or found[0].event_id != event_id:
            raise RemoteFailure(peer, "It answered with another event, or with one that can't be trusted.")
        return found[0]

    async def state_before(self, room: Room, event_id: str, peer: str) -> tuple[list[Event], list[Event]]:
        """The state before an event as the peer tells it, and what its authority rests on. Raises RemoteFailure."""
        ids = await events.get_room_state_ids(self._client, peer, room.room_id, event_id)
        wanted = dict.fromkeys([*ids.pdu_ids, *ids.auth_chain_ids])
        kept = await self._kept.by_ids(list(wanted))
        have = {name: one.event for name, one in kept.items() if one.room == room.nid}
        lacking = [name for name in wanted if name not in have]
        if len(lacking) > _SINGLY:
            whole = await events.get_room_state(self._client, peer, room.room_id, event_id)
            told = await self.checked(room, [*whole.pdus, *whole.auth_chain])
            have.update((event.event_id, event) for event in told if event.event_id in wanted)
        else:
            for name in lacking:
                have[name] = await self.event(room, name, peer)
        if any(name not in have for name in ids.pdu_ids):
            # Half a state would let in what the other half forbids.
            raise RemoteFailure(
                peer, "Its state of the room has events that can't be had or can't be trusted."
            )
        state = [have[name] for name in dict.fromkeys(ids.pdu_ids)]
        return state, [have[name] for name in dict.fromkeys(ids.auth_chain_ids) if name in have]

    async def state_before_join(self, room: Room, join: Event, peer: str) -> tuple[list[Event], list[Event]]:
        """The state before a join of ours, as `state_before`. Raises RemoteFailure.

        It is asked for at what the join builds on, which the peer has had for longer than the join (MSC3902).
        """
        if len(join.prev_events) != 1:
            # How its branches come together is for the peer to say.
            return await self.state_before(room, join.event_id, peer)
        state, chain = await self.state_before(room, join.prev_events[0], peer)
        previous = await self.event(room, join.prev_events[0], peer)
        if previous.is_state:
            key = (previous.type, previous.state_key)
            state = [*(one for one in state if (one.type, one.state_key) != key), previous]
        return state, chain

    async def checked(self, room: Room, pdus: Sequence[dict[str, Any]]) -> list[Event]:
        """The events among the PDUs that are signed and of the room; the others are left out."""
        outcomes = await self._verifying.check(pdus, room.version)
        return [one for one in outcomes if isinstance(one, Event) and one.room_id == room.room_id]
