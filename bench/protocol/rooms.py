"""The input: rooms of real size, whose events are made without signing where nobody looks at signatures."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from ranvier.protocol import events, unpadded_base64
from ranvier.protocol.auth_rules import auth_types
from ranvier.protocol.events import Event
from ranvier.protocol.room_versions import ROOM_VERSIONS, RoomVersion
from ranvier.protocol.signing import SigningKey, reference_hash

ADMIN = "@admin:one.example"
Key = tuple[str, str]


@dataclass
class Room:
    """A room's state by key, and all of its events by ID in topological order."""

    version: RoomVersion
    state: dict[Key, Event] = field(default_factory=dict)
    events: dict[str, Event] = field(default_factory=dict)

    def copy(self) -> "Room":
        """A branch: the same state, the same book of events."""
        return Room(self.version, dict(self.state), self.events)

    def put(self, type: str, state_key: str, sender: str, content: Mapping[str, Any]) -> Event:
        """A state event that cites what authorises it and takes its key's place."""
        number = len(self.events)
        wanted = auth_types(self.version, type, sender, state_key, content)
        cited = [self.state[key].event_id for key in wanted if key in self.state]
        previous = [next(reversed(self.events))] if self.events else []
        pairs = self.version.references_with_hashes
        pdu: dict[str, Any] = {
            "type": type,
            "state_key": state_key,
            "sender": sender,
            "content": dict(content),
            "depth": number + 1,
            "origin_server_ts": 1_700_000_000_000 + number,
            "prev_events": [[event_id, {}] for event_id in previous] if pairs else previous,
            "auth_events": [[event_id, {}] for event_id in cited] if pairs else cited,
            "hashes": {"sha256": "aHash"},
            "signatures": {},
        }
        first = next(iter(self.events.values()), None)
        if first is not None:
            pdu["room_id"] = first.room_id
        elif not self.version.room_id_is_create_event_id:
            pdu["room_id"] = "!room:one.example"
        if self.version.event_id_is_hash:
            event_id = "$" + unpadded_base64.encode_url_safe(reference_hash(pdu, self.version))
        else:
            event_id = pdu["event_id"] = f"${number}:one.example"
        event = Event(event_id, self.version, pdu)
        self.state[type, state_key] = self.events[event_id] = event
        return event


def member(number: int) -> str:
    """The user of a number; they are of many servers."""
    return f"@user{number}:server{number % 97}.example"


def found(version: str, members: int, *, moderators: int = 20) -> Room:
    """A public room of this many members, some of them moderators."""
    room = Room(ROOM_VERSIONS[version])
    creator = {"creator": ADMIN} if room.version.create_names_creator else {}
    room.put("m.room.create", "", ADMIN, {"room_version": version, **creator})
    room.put("m.room.member", ADMIN, ADMIN, {"membership": "join"})
    users = {member(number): 50 for number in range(moderators)}
    admin = {} if room.version.creators_have_infinite_power else {ADMIN: 100}
    room.put("m.room.power_levels", "", ADMIN, {"users": {**admin, **users}})
    room.put("m.room.join_rules", "", ADMIN, {"join_rule": "public"})
    room.put("m.room.history_visibility", "", ADMIN, {"history_visibility": "shared"})
    for number in range(members):
        room.put("m.room.member", member(number), member(number), {"membership": "join", "displayname": "x"})
    return room


def differ(room: Room, keys: int) -> tuple[Room, Room]:
    """Two branches of a room that differ on this many keys.

    One has new profiles, for half of the keys against kicks in the other, a topic, and power levels that each
    changed; the moderators do the kicking.
    """
    left, right = room.copy(), room.copy()
    left.put("m.room.topic", "", ADMIN, {"topic": "left"})
    levels = room.state["m.room.power_levels", ""].content
    left.put("m.room.power_levels", "", ADMIN, {**levels, "kick": 40})
    right.put("m.room.power_levels", "", ADMIN, {**levels, "invite": 10})
    for number in range(1000, 1000 + keys - 2):
        user = member(number)
        left.put("m.room.member", user, user, {"membership": "join", "displayname": "y"})
        if number % 2:
            right.put("m.room.member", user, member(number % 20), {"membership": "leave"})
    return left, right


def signed_messages(number: int, signers: int = 50) -> tuple[list[dict[str, Any]], dict[str, SigningKey]]:
    """PDUs of ordinary messages of about 1 KB in room version 11, and their servers' keys."""
    version = ROOM_VERSIONS["11"]
    servers = [f"server{place}.example" for place in range(signers)]
    keys = {name: SigningKey(name, "ed25519:a", sha256(name.encode()).digest()) for name in servers}
    pdus = []
    for place in range(number):
        name = servers[place % signers]
        event = events.build(
            version,
            room_id="!room:one.example",
            sender=f"@user{place % 300}:{name}",
            type="m.room.message",
            content={
                "msgtype": "m.text",
                "body": f"What a lovely day it is, said number {place}. " * 5,
                "format": "org.matrix.custom.html",
                "formatted_body": "<p>What a <b>lovely</b> day it is.</p>",
                "m.mentions": {"user_ids": ["@somebody:one.example"]},
            },
            prev_events=["$" + "p" * 43],
            auth_events=["$" + letter * 43 for letter in "abc"],
            depth=place + 10,
            origin_server_ts=1_700_000_000_000 + place,
            signer=keys[name],
        )
        pdus.append(event.pdu)
    return pdus, keys


def ids(state: Mapping[Key, Event]) -> dict[Key, str]:
    """Event IDs instead of events."""
    return {key: event.event_id for key, event in state.items()}


def chain_of(starts: Iterable[str], book: Mapping[str, Event]) -> set[str]:
    """These events and all that they lead to along auth events."""
    seen = set(starts)
    waiting = list(seen)
    while waiting:
        for auth_id in book[waiting.pop()].auth_events:
            if auth_id not in seen:
                seen.add(auth_id)
                waiting.append(auth_id)
    return seen
