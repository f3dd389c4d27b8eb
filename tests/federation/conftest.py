"""A server whose network is played, with rooms that other servers' users are in."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.federation.network import Network
from tests.server import Server, start_server

from ranvier.federation.destinations import Destinations
from ranvier.federation.handing_over import HandingOver
from ranvier.federation.outgoing_ephemera import OutgoingEphemera
from ranvier.main.compose import Composition, milliseconds_now
from ranvier.main.sending_parts import add_sending
from ranvier.protocol.identifiers import server_name_of
from ranvier.remote.allowed_servers import AllowedServers
from ranvier.remote.back_off import BackOff, BackOffRules
from ranvier.remote.client import ClientRules, FederationClient
from ranvier.rooms.appending import Appending, Draft, Proposal
from ranvier.rooms.heads import MEMBER, Heads, Room
from ranvier.rooms.servers import Servers
from ranvier.store import events, log, state, trimming
from ranvier.store.events import StoredEvent
from ranvier.store.state import Root


class StateServers(Servers):
    """Reads the servers in a room from its state."""

    def __init__(self, composition: Composition) -> None:
        self._composition = composition

    async def in_room(self, room: Room) -> frozenset[str]:
        head = await self._composition.parts.get(Heads).fault_in_all(room)
        return _servers([kept for (kind, _), kept in head.state.items() if kind == MEMBER and kept])

    async def at(self, room: Room, kept: StoredEvent) -> frozenset[str]:
        database = self._composition.ground.database
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
    """A server and the other ones around it. `now` is its time in milliseconds since the epoch."""

    def __init__(
        self, composition: Composition, network: Network, now: Callable[[], int] = milliseconds_now
    ) -> None:
        self.composition = composition
        self.network = network
        self.now = now

    async def start(self, is_mine: Callable[[int], bool] = lambda share: True) -> None:
        """Build and start the sender, as a fresh process does."""
        parts, ground, now = self.composition.parts, self.composition.ground, self.now
        signer = ground.signing_keys[0]
        allowed = AllowedServers(ground.server_name, denied=["denied.test"])
        self.back_off = BackOff(BackOffRules(300, 1.5, 2_000), ground.database, ground.writer, now)
        rules = ClientRules(10.0, patient_retries=1, longest_patient_pause_s=0.01)
        for part in (
            allowed,
            self.back_off,
            StateServers(self.composition),
            FederationClient(signer, self.network, self.back_off, allowed, rules),
        ):
            parts.by_type[Servers if isinstance(part, Servers) else type(part)] = part
        for kind in [kind for kind in parts.by_type if kind.__module__.startswith("ranvier.federation")]:
            del parts.by_type[kind]
        self.sending = add_sending(
            ground.server_name, ground.database, ground.writer, parts, now, is_mine=is_mine
        )
        self.ephemera = parts.get(OutgoingEphemera)
        self.destinations = parts.get(Destinations)
        await self.back_off.start()
        await self.sending.start()
        self.ephemera.start()

    async def stop(self) -> None:
        """Stop the sender."""
        await self.ephemera.stop()
        await self.sending.stop()

    async def rest(self) -> None:
        """Wait until everybody has everything."""
        async with asyncio.timeout(20):
            while any(one.has_work or one.sending for one in self.destinations):  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def trim_log(self) -> None:
        """Take everything out of the log, as after a long time."""
        ground = self.composition.ground
        tip = await log.read_tip(ground.database)
        while await ground.writer.run(lambda written: trimming.trim_log(written, tip - 1)) < tip - 1:
            pass

    def impatient(self) -> None:
        """Let pauses after a refusal be over at once."""
        parts = self.composition.parts
        parts.get(HandingOver)._chance = lambda: -1.99  # type: ignore[method-assign]

    async def room(self, room_id: str) -> Room:
        """A room of the server."""
        room = await self.composition.parts.get(Heads).get(room_id)
        assert room is not None
        return room

    async def member(
        self, room_id: str, user_id: str, membership: str = "join", by: str | None = None
    ) -> None:
        """A user, of another server perhaps, comes in or goes out."""
        room = await self.room(room_id)
        draft = Draft(by or user_id, MEMBER, {"membership": membership}, user_id)
        await self.composition.parts.get(Appending).append(Proposal(room, [draft]))


class ServedPlace(Place):
    """A server that has clients."""

    def __init__(self, server: Server, network: Network) -> None:
        super().__init__(server.composition, network)
        self.server = server


@pytest.fixture
async def place(database_settings: dict[str, Any], tmp_path: Path) -> AsyncIterator[ServedPlace]:
    """A server with a sender that runs."""
    server = await start_server(tmp_path, database=database_settings)
    made = ServedPlace(server, Network())
    await made.start()
    yield made
    await made.stop()
    await server.close()
