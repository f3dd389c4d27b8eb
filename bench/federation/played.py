"""Servers that are played: each has a name, a key and rooms, lets others join, and takes what it is sent."""

import asyncio
import os
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import aiohttp
import orjson
from aiohttp import web

from bench.federation.rooms import PlayedRoom
from ranvier.protocol import server_keys, x_matrix
from ranvier.protocol.events import parse
from ranvier.protocol.signing import SigningKey

_DAY_MS = 86_400_000
Heard = Callable[[str, Mapping[str, Any]], None]


class Trust(Protocol):
    """Who is trusted, and by what one is known."""

    def listening(self) -> ssl.SSLContext:
        """What a server speaks TLS with."""

    def asking(self) -> ssl.SSLContext:
        """What one that asks servers trusts."""


class PlayedServer:
    """One of them; it listens from `start` to `stop`.

    `seconds` pass before it answers a transaction; `heard` is told each event that comes. Signatures of requests are
    not checked.
    """

    def __init__(self, authority: Trust, heard: Heard = lambda name, pdu: None) -> None:
        # Taken at once: what is free now may be somebody else's port when it starts.
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.server_name = f"localhost:{self._socket.getsockname()[1]}"
        self.signer = SigningKey(self.server_name, "ed25519:a_bnch", os.urandom(32))
        self.seconds = 0.0
        self.heard = heard
        self.rooms: dict[str, PlayedRoom] = {}
        self._authority = authority
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.AppRunner | None = None

    def user(self, localpart: str) -> str:
        """An id of one of its users."""
        return f"@{localpart}:{self.server_name}"

    def room(self, localpart: str, version: str) -> PlayedRoom:
        """A new room of its own."""
        made = PlayedRoom(f"!{localpart}:{self.server_name}", version, self.user("admin"), self.signer)
        self.rooms[made.room_id] = made
        return made

    async def start(self) -> None:
        """Answer from now on."""
        application = web.Application(client_max_size=2**26)
        application.add_routes([*self.routes(), web.route("*", "/{path:.*}", self._unknown)])
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        await web.SockSite(self._runner, self._socket, ssl_context=self._authority.listening()).start()

    def routes(self) -> list[web.RouteDef]:
        """What it answers; all else is a 404."""
        fed = "/_matrix/federation"
        return [
            web.get("/_matrix/key/v2/server", self._keys),
            web.get(f"{fed}/v1/make_join/{{room_id}}/{{user_id}}", self._make_join),
            web.put(f"{fed}/v2/send_join/{{room_id}}/{{event_id}}", self._send_join),
            web.put(f"{fed}/v1/send/{{txn_id}}", self._send),
            web.get(f"{fed}/v1/user/devices/{{user_id}}", self._devices),
        ]

    async def stop(self) -> None:
        """Be gone."""
        if self._session is not None:
            await self._session.close()
            self._session = None
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def send(self, destination: str, txn_id: str, pdus: list[Mapping[str, Any]]) -> tuple[float, Any]:
        """Send a transaction; answers seconds until its answer was there, and the answer. It must be a 200."""
        body = {"origin": self.server_name, "origin_server_ts": _now(), "pdus": pdus}
        return await self.deliver(destination, self.sealed(destination, txn_id, body))

    def sealed(self, destination: str, txn_id: str, body: Mapping[str, Any]) -> tuple[str, str, bytes]:
        """A transaction's path, its signature, its bytes: made before any clock runs."""
        path = f"/_matrix/federation/v1/send/{txn_id}"
        return path, x_matrix.make(self.signer, destination, "PUT", path, body), orjson.dumps(body)

    async def deliver(self, destination: str, sealed: tuple[str, str, bytes]) -> tuple[float, Any]:
        """Send what is sealed."""
        path, authorization, body = sealed
        headers = {"Authorization": authorization, "Content-Type": "application/json"}
        begin = time.perf_counter()
        async with self._opened().put(f"https://{destination}{path}", data=body, headers=headers) as response:
            answer = await response.read()
            seconds = time.perf_counter() - begin
            if response.status != 200:
                raise ConnectionError(f"{destination} answered {response.status}: {answer[:300]!r}")
            return seconds, orjson.loads(answer)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(ssl=self._authority.asking(), limit=16)
            self._session = aiohttp.ClientSession(connector=connector)
        return self._session

    # What it is asked.

    async def _keys(self, _: web.Request) -> web.Response:
        return _json(server_keys.make([self.signer], (), _now() + _DAY_MS))

    async def _make_join(self, request: web.Request) -> web.Response:
        room = self.rooms.get(request.match_info["room_id"])
        if room is None:
            return await self._unknown(request)
        template = room.template(request.match_info["user_id"])
        return _json({"event": template, "room_version": room.version.identifier})

    async def _send_join(self, request: web.Request) -> web.Response:
        room = self.rooms.get(request.match_info["room_id"])
        if room is None:
            return await self._unknown(request)
        state = list(room.state.values())
        event = parse(orjson.loads(await request.read()), room.version)
        room.take_in(event)
        chain = [one for key, one in room.state.items() if key[0] != "m.room.member" or key[1] == room.admin]
        body = b'{"state":[%b],"auth_chain":[%b],"event":%b,"members_omitted":false,"origin":%b}' % (
            b",".join(one.pdu_json for one in state),
            b",".join(one.pdu_json for one in chain),
            event.pdu_json,
            orjson.dumps(self.server_name),
        )
        return web.Response(body=body, content_type="application/json")

    async def _send(self, request: web.Request) -> web.Response:
        body = orjson.loads(await request.read())
        if self.seconds:
            await asyncio.sleep(self.seconds)
        for pdu in body.get("pdus", ()):
            self.heard(self.server_name, pdu)
        return _json({"pdus": {}})

    async def _devices(self, request: web.Request) -> web.Response:
        return _json({"user_id": request.match_info["user_id"], "stream_id": 1, "devices": []})

    async def _unknown(self, _: web.Request) -> web.Response:
        return _json({"errcode": "M_NOT_FOUND", "error": "Nothing of that is played."}, 404)


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(value), content_type="application/json")


def _now() -> int:
    return int(time.time() * 1000)
