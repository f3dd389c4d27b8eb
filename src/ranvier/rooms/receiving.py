"""Receiving events from other servers into the live timeline of a room.

Source: Server-Server API, "Checks performed on receipt of a PDU", "Soft failure", "Rejection".
"""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ranvier.protocol.events import Event
from ranvier.protocol.refusal import Refusal
from ranvier.rooms.appending import MOST_BRANCHES, Appending, Proposal, mentioned
from ranvier.rooms.arrivals import Arrival, auth_keys, follows_all
from ranvier.rooms.events import Events
from ranvier.rooms.heads import MEMBER, Room
from ranvier.rooms.outliers import Outliers
from ranvier.rooms.plans import Plans
from ranvier.rooms.policy import Policies
from ranvier.rooms.resolving import state_after
from ranvier.rooms.writing import Stale
from ranvier.store.events import Judgement, StoredEvent
from ranvier.store.numbers import NumbersExhausted
from ranvier.store.state import Key

_TRIES = 20
_PATIENT_TRIES = 2
"""After so many an event holds the room's turn, so that it can't be overtaken for ever."""
_BEHIND = 20
"""Steps behind events that were rejected or soft-failed until a forward extremity is looked for."""
_NO_EXTREMITIES = (Judgement.REJECTED, Judgement.SOFT_FAILED)


@dataclass(frozen=True, slots=True)
class Missing:
    """What an event builds on and this server does not have: nothing of the event was kept.

    `prev_events` are those whose state is not known (an outlier is such a one), `auth_events` those that are not
    there at all.
    """

    prev_events: tuple[str, ...] = ()
    auth_events: tuple[str, ...] = ()


class Receiving:
    """Takes in events of others whose form, hash and signatures have been checked, in rooms that we are in."""

    def __init__(
        self,
        events: Events,
        appending: Appending,
        plans: Plans,
        outliers: Outliers,
        policies: Policies,
    ) -> None:
        self._events = events
        self._appending = appending
        self._plans = plans
        self._outliers = outliers
        self._policies = policies
        self._in_flight: dict[str, asyncio.Lock] = {}

    async def receive(self, room: Room, event: Event) -> Judgement | Missing:
        """Judge a new event, and let it move the room if it is accepted; answers once that is durable.

        A known event answers what was judged of it; one that was an outlier until now is brought in. Events of one
        room may come at the same time, but an event whose `prev_events` are still on their way is `Missing` them.
        """
        return await self._receive(room, event, None)

    async def receive_with_state(
        self, room: Room, event: Event, state: Sequence[Event], auth_chain: Sequence[Event]
    ) -> Judgement | Missing:
        """Receive an event beyond a gap: the state before it is what a peer says (`/state` or `/state_ids`).

        `state` may leave out nothing; `auth_chain` holds what else that state's authority rests on. Those of its
        `prev_events` that are absent are noted as a gap.
        """
        told = await self._outliers.keep(room.version, room.room_id, [*auth_chain, *state])
        numbers: dict[Key, int] = {}
        known = await self._events.by_ids(one.event_id for one in state)
        for one in state:
            kept = known.get(one.event_id)
            if (
                kept is not None
                and one.state_key is not None
                and told.get(one.event_id) is not Judgement.REJECTED
            ):
                numbers[one.type, one.state_key] = kept.nid
        return await self._receive(room, event, numbers)

    async def append_signed(self, room: Room, event: Event) -> None:
        """Take in an event that a peer made of our template (`send_join`, `send_leave`, `send_knock`, an invite).

        Its auth events, the state before it and the state that is now must all allow it; otherwise it is not kept.
        Raises `Refusal`. One that is known and accepted already is no error.
        """
        judgement = await self._receive(room, event, None, must_stand=True)
        if isinstance(judgement, Missing):
            raise Refusal(
                "M_BAD_STATE", "The event builds on events that this server does not have.", status=400
            )
        if judgement is not Judgement.ACCEPTED:
            raise Refusal("M_FORBIDDEN", "The room does not allow this event.")

    async def append_recommended(self, proposal: Proposal) -> list[str] | None:
        """Append events of our own, each once the room's policy server has signed it; None where none is in use.

        They are made before they are committed, so they may come in beside others. Raises `Refusal`.
        """
        room = proposal.room
        head = await self._appending.gather(room, ())
        policy_server = await self._policies.in_use(room, head)
        if policy_server is None:
            return None
        event_ids = []
        last = len(proposal.drafts) - 1
        for place, draft in enumerate(proposal.drafts):
            standing = await self._appending.standing_for(room, draft)
            if standing is not None:
                event_ids.append(standing)
                continue
            event = await self._policies.recommended(
                await self._appending.propose(room, draft), policy_server
            )
            carrier = Proposal(
                room,
                transaction=proposal.transaction if place == last else None,
                also=proposal.also if place == last else None,
            )
            judgement = await self._receive(room, event, None, must_stand=True, carrier=carrier)
            if judgement is not Judgement.ACCEPTED:
                raise Refusal("M_FORBIDDEN", "The room does not allow this event.")
            event_ids.append(event.event_id)
        return event_ids

    async def _receive(
        self,
        room: Room,
        event: Event,
        told: dict[Key, int] | None,
        *,
        must_stand: bool = False,
        carrier: Proposal | None = None,
    ) -> Judgement | Missing:
        # Two at once would both find it new.
        lock = self._in_flight.setdefault(event.event_id, asyncio.Lock())
        try:
            async with lock:
                return await self._receive_once(room, event, told, must_stand=must_stand, carrier=carrier)
        finally:
            if not lock.locked():
                self._in_flight.pop(event.event_id, None)

    async def _receive_once(
        self,
        room: Room,
        event: Event,
        told: dict[Key, int] | None,
        *,
        must_stand: bool,
        carrier: Proposal | None,
    ) -> Judgement | Missing:
        """`carrier` is the proposal of one of our own that the arrival goes in with."""
        holds_turn = False
        try:
            for attempt in range(_TRIES):
                if attempt == _PATIENT_TRIES:
                    await room.turn.acquire()
                    holds_turn = True
                elif room.turn.locked() and not holds_turn:
                    async with room.turn:
                        pass
                arrival = await self._gather(room, event, told, asks=attempt == 0)
                if not isinstance(arrival, Arrival):
                    return arrival
                # With the policy server's signature, if it gave one.
                event = arrival.event
                arrival.must_stand = must_stand
                try:
                    proposal = Proposal(room) if carrier is None else carrier
                    proposal.arrival = arrival
                    if carrier is not None and carrier.transaction is not None:
                        arrival.transaction = carrier.transaction
                    await self._appending.submit(proposal)
                except (Stale, NumbersExhausted):
                    continue
                await self._after(room)
                return _told(arrival.judgement)
        finally:
            if holds_turn:
                room.turn.release()
        raise Refusal("M_UNKNOWN", "The room is too busy; please try again.", status=503)

    async def _after(self, room: Room) -> None:
        head = room.head
        if head is not None and len(head.extremities) > MOST_BRANCHES and not room.turn.locked():
            await self._appending.join_branches(room)

    # Gathering

    async def _gather(
        self, room: Room, event: Event, told: dict[Key, int] | None, *, asks: bool
    ) -> Arrival | Judgement | Missing:
        """All that judging the event needs, or what answers at once. If it `asks`, the policy server, too."""
        if event.room_id != room.room_id:
            raise Refusal("M_INVALID_PARAM", "The event is of another room.")
        known = await self._events.by_id(event.event_id)
        if known is not None and known.room != room.nid:
            # In old room versions ids can be chosen, and this one is taken.
            return Judgement.REJECTED
        if known is not None and known.state_line:
            return _told(known.judgement)
        previous = await self._events.by_ids(event.prev_events)
        absent = tuple(
            event_id
            for event_id in event.prev_events
            if event_id not in previous
            or not previous[event_id].state_line
            or previous[event_id].room != room.nid
        )
        auth_events = await self._events.by_ids(event.auth_events)
        unknown = tuple(event_id for event_id in event.auth_events if event_id not in auth_events)
        if unknown or (absent and told is None):
            return Missing(absent if told is None else (), unknown)
        arrival = Arrival(
            event,
            known.nid if known is not None else self._appending.take_number(),
            {event_id: kept.event for event_id, kept in auth_events.items()},
            _rejected(auth_events.values()),
            known=known is not None,
            gaps=absent,
        )
        if known is not None and known.judgement is Judgement.REJECTED:
            # Its own auth events forbid it, whatever the state before it is.
            arrival.rejected |= set(event.auth_events)
        if "m.relates_to" in event.content:
            arrival.thread = await self._events.thread_of(event.content)
        await self._gather_redactions(room, arrival)
        head = await self._appending.gather(room, _users(room, event))
        policy_server = arrival.policy_server = await self._policies.in_use(room, head)
        if policy_server is not None and asks:
            # Its server may not have asked, or the policy server's key may be a new one.
            with contextlib.suppress(Refusal):
                arrival.event = await self._policies.recommended(event, policy_server)
        arrival.built_on = await self._built_on(event, previous)
        if head.partial:
            arrival.assumed = await self._plans.assume(room, head, auth_events.values())
        if room.has_gaps:
            arrival.is_built_on = await self._plans.is_built_on(room, event.event_id)
        if told is not None or not follows_all(event, head):
            before = [state_after(kept) for kept in previous.values()]
            arrival.plan = await self._plans.make(room, head, arrival, before, told)
        return arrival

    async def _built_on(self, event: Event, previous: Mapping[str, StoredEvent]) -> frozenset[str]:
        """The events that it builds on, those included that lie behind what is no forward extremity itself."""
        found = set(event.prev_events)
        behind = [kept for kept in previous.values() if kept.judgement in _NO_EXTREMITIES]
        for _ in range(_BEHIND):
            named = {event_id for kept in behind for event_id in kept.event.prev_events} - found
            if not named:
                break
            found |= named
            known = await self._events.by_ids(sorted(named))
            behind = [kept for kept in known.values() if kept.judgement in _NO_EXTREMITIES]
        return frozenset(found)

    async def _gather_redactions(self, room: Room, arrival: Arrival) -> None:
        event = arrival.event
        if event.redacts is not None:
            target = await self._events.by_id(event.redacts)
            if target is None:
                arrival.awaits = event.redacts
            elif target.room == room.nid:
                arrival.target = target
        if event.type != "m.room.redaction":
            waiting = await self._events.redactions_awaiting(event.event_id)
            arrival.redactions = [kept for kept in waiting if kept.room == room.nid]


def _told(judgement: Judgement) -> Judgement:
    """What callers are to know: whether clients see it is none of their concern."""
    return Judgement.ACCEPTED if judgement is Judgement.WITHHELD else judgement


def _rejected(kept: Iterable[StoredEvent]) -> frozenset[str]:
    return frozenset(one.event.event_id for one in kept if one.judgement is Judgement.REJECTED)


def _users(room: Room, event: Event) -> set[str]:
    """Users whose memberships the event's judgement and what it means depend on."""
    users = {state_key for kind, state_key in auth_keys(room.version, event) if kind == MEMBER}
    if event.type == MEMBER and event.state_key is not None:
        users.add(event.state_key)
    users.update(mentioned(event.content))
    return users
