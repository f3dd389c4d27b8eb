"""A server whose network is played, with rooms that other servers' users are in."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.federation.network import Network
from tests.server import Server, start_server

from ranvier.main.sending_parts import add_sending
from ranvier.protocol.identifiers import server_name_of
from ranvier.remote.allowed_servers import AllowedServers
from ranvier.remote.back_off import BackOff, BackOffRules
from ranvier.remote.client import ClientRules, FederationClient
from ranvier.rooms.appending import Appending, Draft, Proposal
from ranvier.rooms.heads import MEMBER, Heads, Room
from ranvier.rooms.servers import Servers
from ranvier.store import events, state
from ranvier.store.events import StoredEvent
from ranvier.store.state import Root


class StateServers(Servers):
    """Reads the servers in a room from its state."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def in_room(self, room: Room) -> frozenset[str]:
        head = await self._server.composition.parts.get(Heads).fault_in_all(room)
        return _servers([kept for (kind, _), kept in head.state.items() if kind == MEMBER and kept])

    async def at(self, room: Room, kept: StoredEvent) -> frozenset[str]:
        database = self._server.composition.ground.database
        found = await state.at(database, Root(kept.state_line, kept.state_version))
        members = [nid for (kind, _), nid in found.items() if kind == MEMBER]
        return _servers(list((await events.by_nid(database, members)).values()))


def _servers(members: list[StoredEvent]) -> frozenset[str]:
    return frozenset(
        server_name_of(kept.event.state_key or "")
        for kept in members
        if kept.event.content["membership"] == "join"
    )


class Place:
    """The server and the other ones around it."""

    def __init__(self, server: Server, network: Network) -> None:
        self.server = server
        self.network = network

    async def start(self, **client_rules: Any) -> None:
        """Build and start the sender, as a fresh process does."""
        parts, ground = self.server.composition.parts, self.server.composition.ground
        now = self.now
        signer = ground.signing_keys[0]
        allowed = AllowedServers(ground.server_name, denied=["denied.test"])
        self.back_off = BackOff(BackOffRules(300, 1.5, 2_000), ground.database, ground.writer, now)
        rules = ClientRules(10.0, retries=1, longest_pause_s=0.01)
        for part in (
            allowed,
            self.back_off,
            StateServers(self.server),
            FederationClient(signer, self.network, self.back_off, allowed, rules),
        ):
            parts.by_type[Servers if isinstance(part, Servers) else type(part)] = part
        for kind in [kind for kind in parts.by_type if kind.__module__.startswith("ranvier.federation")]:
            del parts.by_type[kind]
        self.sending = add_sending(ground.server_name, ground.database, ground.writer, parts, now)
        await self.back_off.start()
        await self.sending.start()

    async def stop(self) -> None:
        """Stop the sender."""
        await self.sending.stop()

    def now(self) -> int:
        """Milliseconds since the epoch."""
        import time

        return time.time_ns() // 1_000_000

    async def room(self, room_id: str) -> Room:
        """A room of the server."""
        room = await self.server.composition.parts.get(Heads).get(room_id)
        assert room is not None
        return room

    async def member(self, room_id: str, user_id: str, membership: str = "join", by: str | None = None) -> None:
        """A user, of another server perhaps, comes in or goes out."""
        room = await self.room(room_id)
        draft = Draft(by or user_id, MEMBER, {"membership": membership}, user_id)
        await self.server.composition.parts.get(Appending).append(Proposal(room, [draft]))


@pytest.fixture
async def place(database_settings: dict[str, Any], tmp_path: Path) -> AsyncIterator[Place]:
    """A server with a sender that runs."""
    server = await start_server(tmp_path, database=database_settings)
    made = Place(server, Network())
    await made.start()
    yield made
    await made.stop()
    await server.close()
