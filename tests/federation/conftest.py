"""A server whose network is played, with rooms that other servers' users are in."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.federation.network import Network
from tests.server import Server, configuration

from ranvier.federation.destinations import Destinations
from ranvier.federation.handing_over import HandingOver
from ranvier.federation.outgoing_ephemera import OutgoingEphemera
from ranvier.federation.sending import Sending
from ranvier.main.compose import Composition, milliseconds_now
from ranvier.main.process import Process
from ranvier.main.sending_figures import SendingFigures
from ranvier.main.sending_parts import add_sending
from ranvier.rooms.appending import Appending, Draft, Proposal
from ranvier.rooms.heads import MEMBER, Heads, Room
from ranvier.store import log, trimming


class Place:
    """A server and the other ones around it. `now` is its time in milliseconds since the epoch."""

    def __init__(
        self, composition: Composition, network: Network, now: Callable[[], int] = milliseconds_now
    ) -> None:
        self.composition = composition
        self.network = network
        self.now = now

    async def start(self) -> None:
        """Build and start the sender, as a fresh process does."""
        parts, ground = self.composition.parts, self.composition.ground
        for kind in (Destinations, HandingOver, OutgoingEphemera, Sending, SendingFigures):
            parts.by_type.pop(kind, None)
        self.sending = add_sending(ground.server_name, ground.database, ground.writer, parts, self.now)
        self.ephemera = parts.get(OutgoingEphemera)
        self.destinations = parts.get(Destinations)
        await self.sending.start()
        self.ephemera.start()

    def take_over(self) -> None:
        """Use the sender that was composed."""
        parts = self.composition.parts
        self.sending, self.ephemera = parts.get(Sending), parts.get(OutgoingEphemera)
        self.destinations = parts.get(Destinations)

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


RULES = {
    "max_short_retries": 0,
    "max_long_retries": 1,
    "max_long_retry_delay": 10,
    "destination_min_retry_interval": 300,
    "destination_retry_multiplier": 1,
}


@pytest.fixture
async def place(database_settings: dict[str, Any], tmp_path: Path) -> AsyncIterator[ServedPlace]:
    """A server with a sender that runs."""
    network = Network()
    config = configuration(
        tmp_path, database=database_settings, federation=RULES, federation_domain_blacklist=["denied.test"]
    )
    server = Server(await Process.start(config, around_network=lambda below: network), config)
    made = ServedPlace(server, network)
    made.take_over()
    yield made
    await made.stop()
    await server.close()
