"""Where an event stands that does not simply follow the head: the state before it, and what it makes of the room."""

from collections.abc import Iterable, Mapping, Sequence

from ranvier.protocol.events import Event
from ranvier.protocol.receipt_checks import judge
from ranvier.rooms.arrivals import Arrival, Plan, auth_keys, extremities_after
from ranvier.rooms.events import Events
from ranvier.rooms.heads import MEMBER, Head, Room
from ranvier.rooms.resolving import Resolving, StateAt, Values, state_after
from ranvier.store import gaps as gaps_store
from ranvier.store.database import Database
from ranvier.store.events import StoredEvent
from ranvier.store.state import Key, Root


class Plans:
    """Makes plans for events where branches of a room part or meet."""

    def __init__(self, database: Database, events: Events, resolving: Resolving) -> None:
        self._database = database
        self._events = events
        self._resolving = resolving

    async def is_built_on(self, room: Room, event_id: str) -> bool:
        """Whether an event that is not here yet was referred to by one that is."""
        return bool(await gaps_store.children(self._database, room.nid, event_id))

    async def make(
        self,
        room: Room,
        head: Head,
        arrival: Arrival,
        before: Sequence[StateAt],
        told: Mapping[Key, int] | None,
    ) -> Plan:
        """A plan for this head; `before` are the states that the event builds on, unless it is `told` as a whole."""
        event = arrival.event
        before_it = await self._before(room, head, before, told)
        state_before = await self.state_for(room, event, before_it)
        moved: dict[Key, StoredEvent | None] = {}
        plain = False
        if head.partial or self._is_allowed(arrival, state_before):
            differs = await self._resolving.moved(room, head.root, [before_it])
            plain = not differs and not event.is_state
            if not plain:
                moved = await self._moved(room, head, arrival, before_it)
        return Plan(
            before_it.root,
            before_it.changes,
            state_before,
            head.extremities,
            head.root,
            moved,
            plain,
        )

    async def _before(
        self, room: Room, head: Head, before: Sequence[StateAt], told: Mapping[Key, int] | None
    ) -> StateAt:
        if told is not None:
            return await self.told(head.root, told)
        if not before:
            # Nobody could have sent an event that builds on nothing; no state allows it.
            return await self.told(head.root, {})
        return await self._resolving.resolve(room, before)

    async def resolve(self, room: Room, states: Sequence[StateAt]) -> StateAt:
        """The state that several resolve to."""
        return await self._resolving.resolve(room, states)

    async def told(self, near: Root, told: Mapping[Key, int]) -> StateAt:
        """A whole state, as changes of one that it is much like."""
        return StateAt(near, await self._resolving.difference(near, told))

    async def assume(self, room: Room, head: Head, auth_events: Iterable[StoredEvent]) -> dict[Key, Event]:
        """Members in a room with partial state, where an event's auth events say otherwise than that state.

        Either may be wrong as long as members are to come; so both states are resolved (MSC3902).
        """
        named = {(kept.event.type, kept.event.state_key or ""): kept for kept in auth_events}
        differing = {
            key: kept.nid
            for key, kept in named.items()
            if key[0] == MEMBER and (standing := head.state.get(key)) is not None and standing.nid != kept.nid
        }
        if not differing:
            return {}
        resolved = await self.resolve(room, [StateAt(head.root, {}), StateAt(head.root, differing)])
        found = await self._resolving.events_at(resolved, list(differing))
        return {key: kept.event for key, kept in found.items()}

    async def near(self, room: Room, head: Head, event_id: str) -> Root:
        """A state that is much like the one before an absent event: that before an event which builds on it."""
        children = await gaps_store.children(self._database, room.nid, event_id)
        for kept in (await self._events.by_nids(children)).values():
            if kept.state_line:
                return Root(kept.state_line, kept.state_version)
        return head.root

    async def state_for(self, room: Room, event: Event, before: StateAt) -> dict[Key, Event]:
        """What of the state before an event it depends on whether it is allowed."""
        found = await self._resolving.events_at(before, auth_keys(room.version, event))
        return {key: kept.event for key, kept in found.items()}

    def _is_allowed(self, arrival: Arrival, state_before: Mapping[Key, Event]) -> bool:
        failure = judge(
            arrival.event,
            auth_events=arrival.auth_events,
            rejected=arrival.rejected,
            state_before=state_before,
            current_state=None,
        )
        return failure is None

    async def _moved(
        self, room: Room, head: Head, arrival: Arrival, before: StateAt
    ) -> dict[Key, StoredEvent | None]:
        """How the current state changes if the event comes in."""
        event = arrival.event
        kept = StoredEvent(arrival.nid, room.nid, event, state_line=0, state_version=0, received_ts=0)
        after_it = before
        if event.state_key is not None:
            after_it = StateAt(before.root, {**before.changes, (event.type, event.state_key): arrival.nid})
        states = [
            after_it if one is kept else state_after(one) for one in extremities_after(head, arrival, kept)
        ]
        moved: Values = await self._resolving.moved(room, head.root, states, unwritten=kept)
        events = await self._events.by_nids(
            [nid for nid in moved.values() if nid is not None and nid != kept.nid]
        )
        events[kept.nid] = kept
        return {key: events[nid] if nid is not None else None for key, nid in moved.items()}
