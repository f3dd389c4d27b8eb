"""A policy server that is played, with rooms of its own: it signs what is no spam."""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from bench.federation.played import PlayedServer
from bench.federation.rooms import PlayedRoom
from tests.authority import Authority

from ranvier.protocol import unpadded_base64
from ranvier.protocol.events import Event, parse
from ranvier.protocol.redaction import redact
from ranvier.protocol.room_versions import ROOM_VERSIONS
from ranvier.protocol.signing import SigningKey

VERSION = "11"


class _Trusted:
    """The tests' authority, as played servers want it."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority

    def listening(self) -> ssl.SSLContext:
        return self._authority.issue("localhost").context()

    def asking(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self._authority.path))


class PolicyServer(PlayedServer):
    """Its rooms name it. `told` are events that it was sent, `asked` those that it was asked about."""

    def __init__(self, authority: Authority) -> None:
        self.told: list[Mapping[str, Any]] = []
        self.asked: list[str] = []
        super().__init__(_Trusted(authority), lambda _, pdu: self.told.append(pdu))
        self._policy_key = SigningKey(self.server_name, "ed25519:policy_server", os.urandom(32))

    def guarded_room(self, localpart: str) -> PlayedRoom:
        """A room in which it is asked about all that is said."""
        room = self.room(localpart, VERSION)
        key = unpadded_base64.encode(self._policy_key.public)
        room.put("m.room.policy", "", {"via": self.server_name, "public_keys": {"ed25519": key}})
        return room

    def has_signed(self, pdu: Mapping[str, Any]) -> bool:
        """Whether an event bears its signature."""
        return self._policy_key.key_id in pdu["signatures"].get(self.server_name, {})

    async def say(self, destination: str, room: PlayedRoom, text: str) -> Event:
        """Send a message without the policy server's signature."""
        event = room.say(text)
        await self.send(destination, f"said-{text.replace(' ', '-')}", [event.pdu])
        return event

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/_matrix/policy/v1/sign", self._sign), *super().routes()]

    async def _sign(self, request: web.Request) -> web.Response:
        event = parse(json.loads(await request.read()), ROOM_VERSIONS[VERSION])
        body = str(event.content.get("body"))
        self.asked.append(body)
        if "spam" in body:
            return web.json_response(
                {"errcode": "M_FORBIDDEN", "error": "This is spam, I think."}, status=400
            )
        signed = self._policy_key.sign_json(redact(event.pdu, event.room_version))["signatures"]
        key_id = self._policy_key.key_id
        return web.json_response({self.server_name: {key_id: signed[self.server_name][key_id]}})
