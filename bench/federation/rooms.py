"""Rooms that played servers own: signed events that any server can check."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from ranvier.protocol import events
from ranvier.protocol.auth_rules import auth_types
from ranvier.protocol.events import Event
from ranvier.protocol.room_versions import ROOM_VERSIONS
from ranvier.protocol.signing import SigningKey

Key = tuple[str, str]


class PlayedRoom:
    """A public room: its state, and the event that the next one builds on."""

    def __init__(self, room_id: str, version: str, admin: str, signer: SigningKey) -> None:
        self.room_id = room_id
        self.version = ROOM_VERSIONS[version]
        self.state: dict[Key, Event] = {}
        self.newest: Sequence[Event] = ()
        self.admin = admin
        self._signer = signer
        creator = {"creator": admin} if self.version.create_names_creator else {}
        self.put("m.room.create", "", {"room_version": version, **creator})
        self.put("m.room.member", admin, {"membership": "join"})
        powers = {} if self.version.creators_have_infinite_power else {admin: 100}
        self.put("m.room.power_levels", "", {"users": powers})
        self.put("m.room.join_rules", "", {"join_rule": "public"})
        self.put("m.room.history_visibility", "", {"history_visibility": "shared"})

    def put(
        self,
        kind: str,
        state_key: str,
        content: dict[str, Any],
        sender: str = "",
        signer: SigningKey | None = None,
    ) -> Event:
        """A state event; the admin's, unless somebody else is its sender."""
        event = self.make(kind, content, state_key=state_key, sender=sender, signer=signer)
        self.newest = (event,)
        self.state[kind, state_key] = event
        return event

    def join(self, user_id: str, signer: SigningKey) -> Event:
        """A member more, of the server that signs."""
        content = {"membership": "join", "displayname": user_id[1:9]}
        return self.put("m.room.member", user_id, content, user_id, signer)

    def say(self, text: str, upon: Sequence[Event] | None = None) -> Event:
        """A message of the admin's, upon the newest event or upon others."""
        content = {"msgtype": "m.text", "body": text}
        event = self.make("m.room.message", content, upon=upon)
        self.newest = (event,)
        return event

    def make(
        self,
        kind: str,
        content: dict[str, Any],
        *,
        state_key: str | None = None,
        sender: str = "",
        signer: SigningKey | None = None,
        upon: Sequence[Event] | None = None,
    ) -> Event:
        """An event that moves nothing here yet."""
        previous = self.newest if upon is None else upon
        sender = sender or self.admin
        return events.build(
            self.version,
            room_id=self.room_id,
            sender=sender,
            type=kind,
            content=content,
            state_key=state_key,
            prev_events=[event.event_id for event in previous],
            auth_events=self._cited(kind, state_key, sender, content),
            depth=1 + max((event.depth for event in previous), default=0),
            origin_server_ts=int(time.time() * 1000),
            signer=signer or self._signer,
        )

    def template(self, user_id: str) -> dict[str, Any]:
        """A join for somebody of another server to complete."""
        content = {"membership": "join"}
        return {
            "type": "m.room.member",
            "room_id": self.room_id,
            "sender": user_id,
            "state_key": user_id,
            "content": content,
            "prev_events": [event.event_id for event in self.newest],
            "auth_events": self._cited("m.room.member", user_id, user_id, content),
            "depth": 1 + max(event.depth for event in self.newest),
            "origin": self._signer.server_name,
            "origin_server_ts": int(time.time() * 1000),
        }

    def take_in(self, event: Event) -> None:
        """A join that another server completed."""
        self.newest = (event,)
        self.state[event.type, event.state_key or ""] = event

    def _cited(self, kind: str, state_key: str | None, sender: str, content: Mapping[str, Any]) -> list[str]:
        wanted = auth_types(self.version, kind, sender, state_key, content)
        return [self.state[key].event_id for key in wanted if key in self.state]
