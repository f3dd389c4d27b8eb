"""Several whole servers in one process, with a clock and a network that are played.

    def test_people_meet(tmp_path):
        async def scene(world):
            alpha, beta = await world.server("alpha.test"), await world.server("beta.test")
            alice, bob = await alpha.person("alice"), await beta.person("bob")
            ...
        play(scene, tmp_path, seed=1)

Time only passes when nothing is left to do, so that hours take seconds. What the network does to a request (delay, loss
of it or of its answer, delivery twice) is drawn from the seed; a scene that fails prints it.
"""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.scenes.virtual_time import run
from tests.server import configuration

from ranvier.http.application import Application
from ranvier.http.incoming import Incoming
from ranvier.http.request import Request
from ranvier.http.response import Response
from ranvier.main.compose import Composition, compose
from ranvier.remote.failure import RemoteFailure
from ranvier.remote.transport import Call, Opened, Transport

_BEGINNING_MS = 1_700_000_000_000
_ALL = frozenset({"client", "federation", "media", "keys"})
_RULES = {
    "client_timeout": "10s",
    "max_short_retries": 1,
    "max_long_retries": 2,
    "max_long_retry_delay": "2s",
    "destination_min_retry_interval": "30s",
    "destination_max_retry_interval": "10m",
}
_PEER_LIMIT = {"sleep_limit": 1_000_000, "concurrent": 1_000, "reject_limit": 1_000_000}


@dataclass
class Faults:
    """What happens to requests between servers: shares of 1, and seconds."""

    delay: tuple[float, float] = (0.005, 0.02)
    lost: float = 0.0
    answer_lost: float = 0.0
    twice: float = 0.0


@dataclass
class Answer:
    """What a server answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    def ok(self) -> Any:
        """The JSON of a 200."""
        assert self.status == 200, (self.status, self.body)
        return json.loads(self.body)


class World:
    """All servers of a scene, and the network between them."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.seed = seed
        self.chance = random.Random(seed)
        self.folder = folder
        self.servers: dict[str, SceneServer] = {}
        self.faults = Faults()
        self._apart: list[tuple[frozenset[str], frozenset[str]]] = []
        self._loop = asyncio.get_running_loop()

    def now(self) -> int:
        """Milliseconds since the epoch."""
        return _BEGINNING_MS + int(self._loop.time() * 1000)

    async def server(self, name: str) -> "SceneServer":
        """A new server, running."""
        made = self.servers[name] = SceneServer(self, name)
        await made.start()
        return made

    def part(self, *names: str) -> None:
        """Cut these servers off from all others."""
        here = frozenset(names)
        self._apart.append((here, frozenset(self.servers) - here))

    def heal(self) -> None:
        """All reach each other again, without faults."""
        self._apart.clear()
        self.faults = Faults()

    def are_apart(self, one: str, other: str) -> bool:
        """Whether nothing gets from one to the other."""
        return any(
            (one in here and other in there) or (one in there and other in here)
            for here, there in self._apart
        )

    async def carry(self, origin: str, call: Call, timeout_s: float) -> Answer:
        """Bring a request to its server and the answer back, or not. Raises RemoteFailure."""
        faults, chance = self.faults, self.chance
        fate = [chance.random() for _ in range(3)]
        delays = [chance.uniform(*faults.delay) for _ in range(2)]
        server = self.servers.get(call.destination)
        await asyncio.sleep(delays[0])
        if server is None or server.application is None:
            raise RemoteFailure(call.destination, "Nothing listens there.")
        if self.are_apart(origin, call.destination) or fate[0] < faults.lost:
            await asyncio.sleep(timeout_s)
            raise RemoteFailure(call.destination, "It did not answer in time.")
        answer = await server.take(call)
        if fate[1] < faults.twice:
            answer = await server.take(call)
        if fate[2] < faults.answer_lost or self.are_apart(origin, call.destination):
            await asyncio.sleep(timeout_s)
            raise RemoteFailure(call.destination, "It did not answer in time.")
        await asyncio.sleep(delays[1])
        return answer

    async def until(self, is_so: Callable[[], Awaitable[object]], hours: float = 24.0) -> None:
        """Let time pass until something is so."""
        loop = asyncio.get_running_loop()
        end = loop.time() + hours * 3600
        while not await is_so():
            assert loop.time() < end, f"it did not come about within {hours} hours (seed {self.seed})"
            await asyncio.sleep(2)

    async def close(self) -> None:
        """Stop all servers."""
        for server in self.servers.values():
            await server.stop()


class SceneServer:
    """One server of a scene; its data outlives its stops."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.application: Application | None = None
        self.composition: Composition | None = None

    async def start(self) -> None:
        """Start, again perhaps, on its data."""
        folder = self.world.folder / self.name
        folder.mkdir(parents=True, exist_ok=True)
        config = configuration(folder, server_name=self.name, federation=_RULES, rc_federation=_PEER_LIMIT)
        wire: Transport = _Wire(self.world, self.name)
        self.composition = await compose(config, now=self.world.now, around_network=lambda below: wire)
        await self.composition.start()
        self.application = self.composition.application(_ALL, forwarded=False)

    async def stop(self) -> None:
        """Stop; nobody reaches it until it starts again."""
        composition, self.composition, self.application = self.composition, None, None
        if composition is not None:
            composition.ground.bell.close()
            await composition.stop()

    async def take(self, call: Call) -> Answer:
        """Answer another server's request."""
        return await self.request(call.method, call.target, call.body or b"", call.headers)

    async def request(
        self, method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Answer a request; `target` is path and query, percent-encoded."""
        application = self.application
        if application is None:
            raise RemoteFailure(self.name, "Nothing listens there.")
        path, _, query = target.partition("?")
        incoming = Incoming(_Nowhere())
        if body:
            incoming.feed(body)
        incoming.finish()
        sent = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
        request = Request(method, path.encode(), query.encode(), sent, "127.0.0.1", incoming)
        found: list[Answer] = []

        async def send(response: Response) -> int:
            pieces = response.body
            if response.stream is not None:
                pieces = b"".join([piece async for piece in response.stream])
            heads = {name.decode(): value.decode() for name, value in response.headers}
            found.append(Answer(response.status, heads, pieces))
            return len(pieces)

        await application(request, send)
        return found[0]

    async def person(self, localpart: str) -> "Person":
        """A new user, logged in."""
        body = {
            "username": localpart,
            "password": "a long passphrase for scenes",
            "auth": {"type": "m.login.dummy"},
        }
        answer = await self.request("POST", "/_matrix/client/v3/register", json.dumps(body).encode())
        made = answer.ok()
        return Person(self, made["user_id"], made["access_token"])


@dataclass
class Person:
    """Somebody with a client. `sent` are the ids of the events that their server answered for."""

    server: SceneServer
    user_id: str
    token: str
    sent: list[str] = field(default_factory=list)
    _number: int = 0

    async def ask(self, method: str, *path: str, body: Any = None, query: str = "") -> Answer:
        """One request; the path's parts are percent-encoded."""
        target = "/_matrix/client/v3/" + "/".join(quote(part, safe="") for part in path)
        data = json.dumps(body if body is not None else {}).encode() if method != "GET" else b""
        headers = {"authorization": f"Bearer {self.token}"}
        return await self.server.request(method, target + (f"?{query}" if query else ""), data, headers)

    async def create_room(self, **body: Any) -> str:
        """The id of a new room."""
        room_id: str = (await self.ask("POST", "createRoom", body=body)).ok()["room_id"]
        return room_id

    async def join(self, room_id: str, via: SceneServer) -> None:
        """Join a room through a server, as often as it takes."""
        query = f"via={via.name}&server_name={via.name}"

        async def is_in() -> bool:
            return (await self.ask("POST", "join", room_id, query=query)).status == 200

        await self.server.world.until(is_in, 1)

    async def say(self, room_id: str, text: str) -> None:
        """Send a message."""
        self._number += 1
        body = {"msgtype": "m.text", "body": text}
        answer = await self.ask(
            "PUT", "rooms", room_id, "send", "m.room.message", f"{self.user_id}{self._number}", body=body
        )
        self.sent.append(answer.ok()["event_id"])

    async def set_state(self, room_id: str, kind: str, content: Any, state_key: str = "") -> Answer:
        """Send a state event; the room may forbid it."""
        answer = await self.ask("PUT", "rooms", room_id, "state", kind, state_key, body=content)
        if answer.status == 200:
            self.sent.append(answer.ok()["event_id"])
        return answer

    async def state(self, room_id: str) -> dict[tuple[str, str], str]:
        """The room's state as their server sees it, by event id."""
        events = (await self.ask("GET", "rooms", room_id, "state")).ok()
        return {(event["type"], event["state_key"]): event["event_id"] for event in events}

    async def has(self, room_id: str, event_id: str) -> bool:
        """Whether they can see an event."""
        return (await self.ask("GET", "rooms", room_id, "event", event_id)).status == 200


class _Wire:
    """One server's way to all others."""

    def __init__(self, world: World, origin: str) -> None:
        self._world = world
        self._origin = origin

    @asynccontextmanager
    async def open(self, call: Call, timeout_s: float) -> AsyncIterator[Opened]:
        answer = await self._world.carry(self._origin, call, timeout_s)
        yield Opened(answer.status, answer.headers, _pieces(answer.body))


class _Nowhere:
    """Where the rest of a body comes from that is complete."""

    def pause(self) -> None:
        pass

    def resume(self) -> None:
        pass

    def invite(self) -> None:
        pass


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    yield body


def play(scene: Callable[[World], Awaitable[None]], folder: Path, seed: int) -> None:
    """Run a scene; what it raises says the seed."""

    async def whole() -> None:
        world = World(seed, folder)
        try:
            await scene(world)
        except BaseException as error:
            error.add_note(f"the seed was {seed}")
            raise
        finally:
            await world.close()

    run(whole())
