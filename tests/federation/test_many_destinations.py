"""Many destinations at once, with a clock of their own: minutes in seconds, the same at each run of a seed."""

import asyncio
import random
from pathlib import Path

import pytest
from tests.federation.conftest import Place
from tests.federation.network import Network, Peer
from tests.scenes.virtual_time import run
from tests.server import configuration

from ranvier.main.compose import compose
from ranvier.rooms.appending import Appending, Draft, Proposal
from ranvier.rooms.creation import Creation, RoomRequest

ALICE = "@alice:ranvier.test"
MESSAGES = 60
EVERY_S = 0.25


async def delays_to_each(
    folder: Path, seed: int, troubled: dict[int, dict[str, float | bool]]
) -> dict[str, list[float]]:
    """For each of 100 servers, the seconds until it had each message; some are troubled, by number."""
    chance = random.Random(seed)
    loop = asyncio.get_running_loop()

    def now() -> int:
        return 1_700_000_000_000 + int(loop.time() * 1000)

    network = Network()
    composition = await compose(configuration(folder), now=now, around_network=lambda below: network)
    place = Place(composition, network, now)
    place.take_over()
    await composition.start()
    peers: list[Peer] = []
    room = await composition.parts.get(Creation).create(RoomRequest(ALICE, preset="public_chat"))
    for number in range(100):
        how = {"seconds": chance.uniform(0.02, 0.08)} | troubled.get(number, {})
        peers.append(place.network.peer(f"s{number}.test", **how))
        await place.member(room.room_id, f"@u:s{number}.test")
    await asyncio.sleep(120)
    sent = []
    for number in range(MESSAGES):
        draft = Draft(ALICE, "m.room.message", {"msgtype": "m.text", "body": str(number)})
        await composition.parts.get(Appending).append(Proposal(room, [draft]))
        sent.append(loop.time())
        await asyncio.sleep(EVERY_S)
    await asyncio.sleep(5)
    largest = max(len(one.pdus) for one in place.destinations)
    assert largest <= 200
    found = {}
    for peer in peers:
        arrived = [
            at
            for (_, body), at in zip(peer.transactions, peer.times, strict=True)
            for pdu in body["pdus"]
            if pdu["type"] == "m.room.message"
        ]
        found[peer.name] = [at - since for at, since in zip(arrived, sent, strict=False)]
    await composition.stop()
    return found


@pytest.mark.parametrize("seed", [1])
def test_one_dead_and_one_slow_destination_leave_the_latency_of_98_others_unchanged(
    tmp_path: Path, seed: int
):
    calm = run(delays_to_each(tmp_path / "calm", seed, {}))
    troubled = run(delays_to_each(tmp_path / "troubled", seed, {7: {"away": True}, 8: {"seconds": 45.0}}))
    assert troubled["s7.test"] == []
    others = [name for name in calm if name not in ("s7.test", "s8.test")]
    assert len(others) == 98
    for name in others:
        assert len(calm[name]) == MESSAGES
        assert troubled[name] == pytest.approx(calm[name], abs=0.001), f"seed {seed}"
        assert max(troubled[name]) < 0.1
