"""Histories of rooms by chance: branches and merges, joins, bans, changes of power; and what no honest server sends.

Each event is built and checked as a server would: it goes into the room if its auth events allow it, and into the state
if the state before it does too. What the state rejects stays in the graph, and there is a second view of the room, that
of a peer who let it pass (`claimed`): so states and auth chains can hold events that we rejected.
"""

import random
from collections.abc import Sequence
from typing import Any

from tests.protocol.resolving import Index, resolve
from tests.protocol.room_script import ALICE, BOB, CAROL, build

from ranvier.protocol import auth_rules
from ranvier.protocol.auth_rules import auth_types
from ranvier.protocol.events import Event
from ranvier.protocol.room_versions import ROOM_VERSIONS, RoomVersion
from ranvier.protocol.state_resolution import StateMap

DAN, ERIN = "@dan:two.example", "@erin:one.example"
USERS = (ALICE, BOB, CAROL, DAN, ERIN)
LEVELS = (0, 25, 49, 50, 51, 75, 100)
CREATE = ("m.room.create", "")


class History:
    """A room's history: events in topological order, the state after each, and what was rejected."""

    def __init__(self, chance: random.Random, version: str, *, wild: float = 0.15) -> None:
        self.chance = chance
        self.version: RoomVersion = ROOM_VERSIONS[version]
        self.wild = wild
        self.events: dict[str, Event] = {}
        self.after: dict[str, StateMap] = {}
        self.claimed: dict[str, StateMap] = {}
        self.rejected: set[str] = set()
        self.index = Index(batches=chance.random() < 0.5)
        self._room_id = "!room:one.example"
        self._before: dict[tuple[frozenset[str], bool], StateMap] = {}
        self._begin()

    def _begin(self) -> None:
        content: dict[str, Any] = {"room_version": self.version.identifier}
        if self.version.create_names_creator:
            content["creator"] = ALICE
        if self.version.creators_have_infinite_power and self.chance.random() < 0.3:
            content["additional_creators"] = [BOB]
        create = self._build("m.room.create", "", ALICE, content, prev_events=[], auth_events=[], depth=1)
        self._room_id = create.room_id
        self._enter(create, {}, {})
        self.send("m.room.member", ALICE, ALICE, {"membership": "join"})
        if self.chance.random() < 0.9:
            self.send("m.room.power_levels", "", ALICE, self._levels({}))
        rule = self.chance.choice(["public", "public", "public", "invite", "knock", "restricted"])
        self.send("m.room.join_rules", "", ALICE, {"join_rule": rule})

    @property
    def tip(self) -> str:
        """The newest event."""
        return next(reversed(self.events))

    def grow(self, events: int) -> None:
        """Add events, each on one to three earlier ones: mostly recent, now and then a branch from long ago."""
        tries = 0
        wanted = len(self.events) + events
        while len(self.events) < wanted and tries < 20 * events:
            tries += 1
            self.send_by_chance(self.some_places())

    def some_places(self) -> list[str]:
        """Where an event by chance is put: what it builds on."""
        known = list(self.events)
        reach = self.chance.choice([1, 2, 4, 8, len(known)])
        recent = known[-reach:]
        return self.chance.sample(recent, min(len(recent), self.chance.choice([1, 1, 1, 2, 3])))

    def before(self, prev_events: Sequence[str], *, claimed: bool = False) -> StateMap:
        """The state before an event that builds on these."""
        after = self.claimed if claimed else self.after
        place = (frozenset(prev_events), claimed)
        if place not in self._before:
            states = [after[event_id] for event_id in prev_events]
            self._before[place] = resolve(self.version, states, self.events, self.index, self.rejected)
        return self._before[place]

    def send_by_chance(self, prev_events: Sequence[str]) -> Event | None:
        """An event by chance; None if its auth events don't allow it, so that no server would have it."""
        sender = self.chance.choice(USERS)
        state = self.before(prev_events)
        kind = self.chance.randrange(12)
        if kind < 6:
            type, state_key, content = self._membership(sender)
        elif kind < 9:
            type, state_key = "m.room.power_levels", ""
            current = state.get(("m.room.power_levels", ""))
            content = self._levels(self.events[current].content if current else {})
        elif kind < 10:
            type, state_key = "m.room.join_rules", ""
            rule = self.chance.choice(["public", "invite", "knock", "restricted", "knock_restricted"])
            content = {"join_rule": rule}
        else:
            type = self.chance.choice(["m.room.name", "m.room.topic", "m.room.third_party_invite", "x"])
            state_key, content = self.chance.choice(["", "", "t"]), {"n": self.chance.randrange(100)}
        return self.send(type, state_key, sender, content, prev_events=prev_events)

    def send(
        self,
        type: str,
        state_key: str | None,
        sender: str,
        content: dict[str, Any],
        *,
        prev_events: Sequence[str] | None = None,
    ) -> Event | None:
        """An event that builds on these, or on the newest; its auth events may come from elsewhere (`wild`)."""
        prev_events = [self.tip] if prev_events is None else prev_events
        state, claimed = self.before(prev_events), self.before(prev_events, claimed=True)
        source = state
        if self.chance.random() < self.wild:
            source = self.chance.choice([claimed, *self.after.values(), *self.claimed.values()])
        wanted = auth_types(self.version, type, sender, state_key, content)
        auth_events = [source[key] for key in wanted if key in source]
        depth = 1 + max(self.events[id_].depth for id_ in prev_events)
        event = self._build(
            type, state_key, sender, content, prev_events=prev_events, auth_events=auth_events, depth=depth
        )
        if event.event_id in self.events or not self.allowed(event, auth_events):
            return None
        self._enter(event, state, claimed)
        return event

    def allowed(self, event: Event, state: Sequence[str]) -> bool:
        """Whether this state allows the event."""
        create = next(iter(self.events.values()))
        view = auth_rules.as_state([create, *(self.events[id_] for id_ in state)])
        return auth_rules.check(event, view) is None

    def _enter(self, event: Event, state: StateMap, claimed: StateMap) -> None:
        if self.events and not self.allowed(event, list(state.values())):
            self.rejected.add(event.event_id)
        self.events[event.event_id] = event
        self.index.add(event)
        own = {(event.type, event.state_key): event.event_id} if event.state_key is not None else {}
        self.after[event.event_id] = state if event.event_id in self.rejected else {**state, **own}
        self.claimed[event.event_id] = {**claimed, **own}

    def _build(self, type: str, state_key: str | None, sender: str, content: Any, **more: Any) -> Event:
        return build(
            self.version,
            room_id=self._room_id,
            type=type,
            state_key=state_key,
            sender=sender,
            content=content,
            # Few different times, so that the order is often for the IDs to decide.
            origin_server_ts=1_000_000 + self.chance.randrange(12),
            **more,
        )

    def _membership(self, sender: str) -> tuple[str, str, dict[str, Any]]:
        membership = self.chance.choice(["join", "join", "join", "leave", "invite", "ban", "knock"])
        content: dict[str, Any] = {"membership": membership, "n": self.chance.randrange(100)}
        alone = membership in ("join", "knock") or (membership == "leave" and self.chance.random() < 0.3)
        if membership == "join" and self.chance.random() < 0.2:
            content["join_authorised_via_users_server"] = self.chance.choice(USERS)
        return "m.room.member", sender if alone else self.chance.choice(USERS), content

    def _levels(self, old: dict[str, Any]) -> dict[str, Any]:
        users = dict(old.get("users", {}))
        if not old and not self.version.creators_have_infinite_power:
            users[ALICE] = 100
        for user in self.chance.sample(USERS, 2):
            users[user] = self.chance.choice(LEVELS)
        if self.version.creators_have_infinite_power:
            creators = {ALICE, *self._create_content().get("additional_creators", [])}
            users = {user: level for user, level in users.items() if user not in creators}
        content = {**old, "users": users}
        if self.chance.random() < 0.3:
            content[self.chance.choice(["ban", "kick", "state_default", "users_default", "invite"])] = (
                self.chance.choice(LEVELS)
            )
        return content

    def _create_content(self) -> dict[str, Any]:
        return next(iter(self.events.values())).content

    def reject_some(self) -> None:
        """Let more events count as rejected: what other servers made of them is not ours to know."""
        _create, *others = self.events
        self.rejected.update(event_id for event_id in others if self.chance.random() < 0.1)

    def some_states(self, number: int) -> list[StateMap]:
        """States to be resolved: after events of the history, in our view or the peer's; now and then any mixture."""
        pool = [*self.after.values(), *self.claimed.values()]
        states: list[StateMap] = []
        while len(states) < number:
            state = self.chance.choice(pool)
            if self.chance.random() < 0.2:
                state = self._mixture()
            states.append(state)
        return states

    def _mixture(self) -> StateMap:
        """For each key any of its events, or none: what only a faulty or malicious server would come to."""
        state: dict[tuple[str, str], str] = {}
        for event in self.chance.sample(list(self.events.values()), len(self.events)):
            if event.state_key is not None and self.chance.random() < 0.5:
                state[event.type, event.state_key] = event.event_id
        create = next(iter(self.events.values()))
        state[CREATE] = create.event_id
        return state
