"""What an event builds on and this server does not have, got from those who do.

The walk: ask for the events between ours and the new one; take them in, oldest first. Where that does not reach what
we have, take in the oldest missing event with the state before it as a peer tells it: the gap beyond is noted, and
filled when somebody reads there.

Source: Server-Server API, "Backfilling and retrieving missing events", "Retrieving event authorisation information".
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, TypeVar

from ranvier.federation.fetching import Fetching
from ranvier.protocol.events import Event
from ranvier.remote.failure import RemoteFailure
from ranvier.rooms.heads import Room
from ranvier.rooms.outliers import Outliers
from ranvier.rooms.receiving import Missing, Receiving
from ranvier.rooms.servers import Servers
from ranvier.store.events import Judgement

WALKED: Final = 50
"""Missing events that are asked for in one request."""
_ROUNDS: Final = 4
"""So often what came back is walked on from, before the state is asked for."""
_FULL: Final = 10
"""An answer of fewer events was not cut off by the peer's limit: it gave what it would."""
_PEERS: Final = 5
"""Servers that are asked for one thing, one after the other."""
_BRIDGES: Final = 5
"""Missing events that are taken in with the state before them, for one event that comes after them."""

Outcome = Judgement | Missing
Found = TypeVar("Found")
_log = logging.getLogger("ranvier.federation")


class MissingEvents:
    """Receives events together with what they need."""

    def __init__(
        self,
        server_name: str,
        receiving: Receiving,
        outliers: Outliers,
        servers: Servers,
        fetching: Fetching,
    ) -> None:
        self._server_name = server_name
        self._receiving = receiving
        self._outliers = outliers
        self._servers = servers
        self._fetching = fetching

    async def receive(self, room: Room, event: Event, origin: str, *, insist: bool = True) -> Outcome:
        """Take an event of `origin` into the room, and before it what it builds on.

        Still `Missing` if nobody gives that. Unless we `insist`, nobody else is asked for what the origin left out
        when it was asked for what lies before its event. Raises RemoteFailure if all who were asked failed.
        """
        outcome = await self._receive(room, event, origin)
        if isinstance(outcome, Missing) and outcome.prev_events:
            answered = await self._walk_back(room, event, origin)
            outcome = await self._receive(room, event, origin)
            if answered and not insist:
                return outcome
        if isinstance(outcome, Missing) and outcome.prev_events:
            outcome = await self._bridge(room, event, outcome.prev_events, origin)
        return outcome

    async def _receive(self, room: Room, event: Event, origin: str) -> Outcome:
        """Receive one event, and get its auth events if these are what it lacks."""
        outcome = await self._receiving.receive(room, event)
        if isinstance(outcome, Missing) and outcome.auth_events and not outcome.prev_events:
            await self._get_auth_events(room, event, origin)
            outcome = await self._receiving.receive(room, event)
        return outcome

    async def _get_auth_events(self, room: Room, event: Event, origin: str) -> None:
        chain = await self._from_peers(
            room, origin, lambda peer: self._fetching.auth_chain(room, event, peer)
        )
        await self._outliers.keep(room.version, room.room_id, chain)

    async def _walk_back(self, room: Room, event: Event, origin: str) -> bool:
        """Take in the events between ours and this one, as far as the origin gives them; whether it answered."""
        found: dict[str, Event] = {}
        answered = False
        latest = [event]
        for _ in range(_ROUNDS):
            try:
                events = await self._fetching.missing_events(room, latest, WALKED, origin)
            except RemoteFailure as failure:
                _log.info("missing events were not given", extra={"origin": origin, "why": failure.reason})
                break
            answered = True
            new = [one for one in events if one.event_id not in found and one.event_id != event.event_id]
            found.update((one.event_id, one) for one in new)
            latest = await self._lacking(room, new)
            if not latest or len(new) < _FULL:
                break
        bridges = 0
        for one in sorted(found.values(), key=lambda one: one.depth):
            outcome = await self._receive(room, one, origin)
            if isinstance(outcome, Missing) and outcome.prev_events and bridges < _BRIDGES:
                # Beyond the oldest that it gave there is a gap.
                bridges += 1
                await self._bridge(room, one, outcome.prev_events, origin)
        return answered

    async def _lacking(self, room: Room, events: Sequence[Event]) -> list[Event]:
        """Those of the events that build on one which is neither known nor among them."""
        names = {event.event_id for event in events}
        wanted = {name for event in events for name in event.prev_events} - names
        unknown = wanted - await self._fetching.known(room, wanted)
        return [event for event in events if not unknown.isdisjoint(event.prev_events)]

    async def _bridge(self, room: Room, event: Event, missing: Sequence[str], origin: str) -> Outcome:
        """Take in the missing events themselves with the state before each, then the event.

        The state is asked for at what is missing and not at the event: so what we know of other branches counts.
        """
        for event_id in missing:
            await self._from_peers(room, origin, partial(self._bring, room, event_id))
        return await self._receive(room, event, origin)

    async def _bring(self, room: Room, event_id: str, peer: str) -> None:
        event = await self._fetching.event(room, event_id, peer)
        state, chain = await self._fetching.state_before(room, event_id, peer)
        await self._receiving.receive_with_state(room, event, state, chain)

    async def _from_peers(self, room: Room, origin: str, ask: Callable[[str], Awaitable[Found]]) -> Found:
        """What the first of the room's servers answers that can; the origin is asked first."""
        others = sorted(await self._servers.in_room(room) - {origin, self._server_name})
        failure: RemoteFailure | None = None
        for peer in [origin, *others][:_PEERS]:
            try:
                return await ask(peer)
            except RemoteFailure as error:
                failure = failure or error
        assert failure is not None
        raise failure


__all__ = ["Missing", "MissingEvents"]
