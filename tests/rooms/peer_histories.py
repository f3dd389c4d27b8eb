"""Rooms whose events come from other servers: a history by chance is received, and compared with what it should be."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tests.protocol.room_histories import History
from tests.protocol.room_script import ALICE

from ranvier.protocol.events import Event
from ranvier.protocol.state_resolution import StateMap
from ranvier.rooms.backfilling import Backfilling
from ranvier.rooms.events import Events
from ranvier.rooms.founding import Founding
from ranvier.rooms.heads import Heads, Room
from ranvier.rooms.receiving import Missing, Receiving
from ranvier.store import state as state_store
from ranvier.store.events import Judgement, StoredEvent
from ranvier.store.state import Root

if TYPE_CHECKING:
    from tests.server import Server


class PeerHistory(History):
    """A history of a room of its own, by one.example, open to all; with `calm`, nothing happens by itself."""

    def __init__(
        self, version: str = "10", *, seed: object = 0, name: str = "room", wild: float = 0, calm: bool = True
    ) -> None:
        self._name = name
        self._calm = calm
        super().__init__(random.Random(f"{version} {seed} {name}"), version, wild=wild)

    def _begin(self) -> None:
        self._room_id = f"!{self._name}:one.example"
        if not self._calm:
            super()._begin()
            return
        content: dict[str, Any] = {"room_version": self.version.identifier, "n": self._name}
        if self.version.create_names_creator:
            content["creator"] = ALICE
        create = self._build("m.room.create", "", ALICE, content, prev_events=[], auth_events=[], depth=1)
        self._room_id = create.room_id
        self._enter(create, {}, {})
        self.say("m.room.member", ALICE, {"membership": "join"}, ALICE)
        levels = {} if self.version.creators_have_infinite_power else {"users": {ALICE: 100}}
        self.say("m.room.power_levels", ALICE, levels, "")
        self.say("m.room.join_rules", ALICE, {"join_rule": "public"}, "")

    @property
    def room_id(self) -> str:
        """The room's id."""
        return self._room_id

    def say(
        self,
        type: str,
        sender: str,
        content: dict[str, Any],
        state_key: str | None = None,
        *,
        after: Sequence[Event] | None = None,
    ) -> Event:
        """An event that its auth events allow, on the newest or on those given."""
        prev_events = [event.event_id for event in after] if after is not None else None
        event = self.send(type, state_key, sender, content, prev_events=prev_events)
        assert event is not None, f"{type} by {sender} is not allowed"
        return event

    def text(self, sender: str, body: str, *, after: Sequence[Event] | None = None) -> Event:
        """A message."""
        return self.say("m.room.message", sender, {"msgtype": "m.text", "body": body}, after=after)

    def join(self, user_id: str, *, after: Sequence[Event] | None = None) -> Event:
        """Somebody joins."""
        return self.say("m.room.member", user_id, {"membership": "join"}, user_id, after=after)

    def grow_calmly(self, events: int, users: Sequence[str]) -> None:
        """Open the room to all, and let users say and set things on branches; nothing that they do is undone."""
        levels = {} if self.version.creators_have_infinite_power else {"users": {ALICE: 100}}
        self.say("m.room.power_levels", ALICE, {**levels, "state_default": 0}, "")
        for user_id in users:
            self.join(user_id)
        start = self.tip
        for number in range(events):
            known = list(self.events)
            recent = known[max(known.index(start), len(known) - 5) :]
            places = self.chance.sample(recent, min(len(recent), self.chance.choice([1, 1, 2, 3])))
            after = [self.events[event_id] for event_id in places]
            sender = self.chance.choice(users)
            kind = self.chance.choice(["m.room.name", "m.room.topic", "x", "m.room.message", "m.room.member"])
            content: dict[str, Any] = {"n": number}
            key = {"m.room.message": None, "m.room.member": sender}.get(kind, self.chance.choice(["", "t"]))
            if kind == "m.room.member":
                content["membership"] = "join"
            self.say(kind, sender, content, key, after=after)

    def unchecked(
        self,
        type: str,
        sender: str,
        content: dict[str, Any],
        state_key: str | None,
        auth_events: Sequence[str],
        *,
        after: Event | None = None,
    ) -> Event:
        """An event that nobody honest would send, on the newest or the one given; it is no part of the history."""
        previous = after if after is not None else self.events[self.tip]
        return self._build(
            type,
            state_key,
            sender,
            content,
            prev_events=[previous.event_id],
            auth_events=auth_events,
            depth=previous.depth + 1,
        )

    def state_at(self, event: Event) -> list[Event]:
        """The state before an event."""
        return [self.events[event_id] for event_id in self.before(event.prev_events).values()]

    def chain_of(self, events: Sequence[Event]) -> list[Event]:
        """The auth chain of some events."""
        found: dict[str, Event] = {}
        waiting = [event_id for event in events for event_id in event.auth_events]
        while waiting:
            event_id = waiting.pop()
            if event_id not in found:
                found[event_id] = self.events[event_id]
                waiting += found[event_id].auth_events
        return list(found.values())


class Receiver:
    """A server that takes in the events of a history."""

    def __init__(self, server: Server, history: PeerHistory) -> None:
        parts = server.composition.parts
        self.history = history
        self.database = server.composition.ground.database
        self.heads, self.events = parts.get(Heads), parts.get(Events)
        self.founding, self.receiving = parts.get(Founding), parts.get(Receiving)
        self.backfilling = parts.get(Backfilling)
        self.room: Room | None = None
        self.judgements: dict[str, Judgement] = {}

    async def found(self, join: Event, **more: Any) -> Room:
        """Enter the room with a join of its history."""
        state = self.history.state_at(join)
        self.room = await self.founding.found(
            self.history.version, join.room_id, join, state, self.history.chain_of([join, *state]), **more
        )
        return self.room

    async def found_at_its_beginning(self) -> Room:
        """Enter the room at its second event, its creator's join, and know what was before."""
        create, join = list(self.history.events.values())[:2]
        room = await self.found(join)
        self.judgements = await self.backfilling.backfill(room, [create], {})
        return room

    async def receive(self, *events: Event) -> list[Judgement]:
        """Take in events, each after those that it builds on."""
        assert self.room is not None
        judged = []
        for event in events:
            judgement = await self.receiving.receive(self.room, event)
            assert not isinstance(judgement, Missing), judgement
            self.judgements[event.event_id] = judgement
            judged.append(judgement)
        return judged

    async def kept(self, event_id: str) -> StoredEvent:
        """An event as it is stored."""
        found = await self.events.by_id(event_id)
        assert found is not None
        return found

    async def state_before(self, event_id: str) -> StateMap:
        """The state that is stored before an event, by ids."""
        kept = await self.kept(event_id)
        return await self._ids(await state_store.at(self.database, Root(kept.state_line, kept.state_version)))

    async def current_state(self) -> StateMap:
        """The current state by ids, as the store has it."""
        assert self.room is not None
        return await self._ids(await state_store.current(self.database, self.room.nid))

    async def head_state(self) -> StateMap:
        """The current state by ids, as memory has it."""
        assert self.room is not None
        head = await self.heads.fault_in_all(self.room)
        return {key: kept.event.event_id for key, kept in head.state.items() if kept is not None}

    async def root_state(self) -> StateMap:
        """The current state by ids, as history has it."""
        assert self.room is not None
        head = await self.heads.fault_in(self.room, ())
        return await self._ids(await state_store.at(self.database, head.root))

    async def _ids(self, nids: dict[tuple[str, str], int]) -> StateMap:
        events = await self.events.by_nids(list(nids.values()))
        return {key: events[nid].event.event_id for key, nid in nids.items()}

    async def extremities(self, *, anew: bool = False) -> set[str]:
        """The forward extremities' ids; `anew`, as they are in the store."""
        assert self.room is not None
        if anew:
            self.heads.drop(self.room)
        head = await self.heads.fault_in(self.room, ())
        return {kept.event.event_id for kept in head.extremities}


def some_order(history: History, chance: random.Random) -> list[Event]:
    """The events after the first two, in any order in which each comes after those that it builds on."""
    waiting = list(history.events)[2:]
    done = set(list(history.events)[:2])
    order = []
    while waiting:
        ready = [
            event_id
            for event_id in waiting
            if done.issuperset(history.events[event_id].prev_events)
            and done.issuperset(history.events[event_id].auth_events)
        ]
        event_id = chance.choice(ready)
        waiting.remove(event_id)
        done.add(event_id)
        order.append(history.events[event_id])
    return order
