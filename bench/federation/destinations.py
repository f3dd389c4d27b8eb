"""A message to a hundred servers, of which one is gone and one is slow."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from bench import requests
from bench.federation.pair import Pair, join
from bench.federation.played import PlayedServer
from bench.figures import Fact, Result
from bench.load import connections
from bench.measurement import Window
from bench.world import User

SERVERS = 100
ROOM_VERSION = "11"
SLOW_S = 30.0
_PAUSE_S = 0.2


class _Arrivals:
    """When each server was told each message."""

    def __init__(self) -> None:
        self.sent: dict[str, float] = {}
        self.latencies: list[float] = []
        self.told: dict[str, set[str]] = {}

    def heard(self, name: str, pdu: Mapping[str, Any]) -> None:
        text = pdu.get("content", {}).get("body")
        if pdu.get("type") == "m.room.message" and text in self.sent and name not in self.told[text]:
            self.told[text].add(name)
            self.latencies.append(time.perf_counter() - self.sent[text])


async def measure_destinations(pair: Pair, messages: int) -> list[Result]:
    """An operation is a message at one of the servers that are well. First all are; then one is gone and one slow."""
    arrivals = _Arrivals()
    served = [PlayedServer(pair.authority, arrivals.heard) for _ in range(SERVERS)]
    with pair.bars.step("starting servers", SERVERS) as step:
        for one in served:
            await one.start()
            step.advance()
    try:
        (alice,) = await pair.home.world.users(1)
        room = served[2].room("many", ROOM_VERSION)
        for one in served:
            room.join(one.user("member"), one.signer)
        with connections(pair.home.server.address, 1) as (line,):
            await join(line, alice.token, room.room_id, served[2].server_name)
        calm = await _send(pair, alice, room.room_id, arrivals, "calm", messages, SERVERS)
        await served[0].stop()
        served[1].seconds = SLOW_S
        troubled = await _send(pair, alice, room.room_id, arrivals, "troubled", messages, SERVERS - 2)
        return [calm, troubled]
    finally:
        for one in served:
            await one.stop()


async def _send(
    pair: Pair, alice: User, room_id: str, arrivals: _Arrivals, name: str, messages: int, well: int
) -> Result:
    texts = [f"{name} {number}" for number in range(messages + 3)]
    with connections(pair.home.server.address, 1) as (line,), pair.bars.step(name, messages) as step:

        async def tell(text: str) -> None:
            arrivals.told[text] = set()
            arrivals.sent[text] = time.perf_counter()
            await line.expect(requests.send_message(alice.token, room_id, text.replace(" ", ""), text))
            await asyncio.sleep(_PAUSE_S)

        for text in texts[:3]:  # connections are made
            await tell(text)
            await asyncio.sleep(2)
        arrivals.latencies.clear()
        async with Window(pair.home.server) as window:
            for text in texts[3:]:
                await tell(text)
                step.advance()
            await _told(arrivals, texts[3:], well)
            window.latencies.extend(arrivals.latencies)
    return window.result(
        f"message to {well} servers, {name}",
        facts=(Fact(f"longest, {name}", max(window.latencies) * 1e3, "ms"),),
        checked=f"{messages} messages at {well} servers",
    )


async def _told(arrivals: _Arrivals, texts: list[str], well: int) -> None:
    end = time.perf_counter() + 60
    while any(len(arrivals.told[text]) < well for text in texts):
        if time.perf_counter() > end:
            lacking = sum(well - len(arrivals.told[text]) for text in texts)
            raise RuntimeError(f"{lacking} messages have not arrived")
        await asyncio.sleep(0.02)
