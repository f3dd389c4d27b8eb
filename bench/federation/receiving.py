"""Events that come in from one peer, in many rooms at once: messages, and branches with states to resolve."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from bench import requests
from bench.arrivals import expect_equal
from bench.federation.pair import Lag, Pair, join, keep_on
from bench.federation.played import PlayedServer
from bench.federation.rooms import PlayedRoom
from bench.figures import Fact, Result
from bench.load import connections
from bench.measurement import Window
from bench.world import User

ROOMS = 50
MEMBERS = 20
ROOM_VERSION = "11"
PER_TRANSACTION = 50
BRANCHES_EVERY = 10
"""Among so many rounds one is of two branches: a topic and a name each, met by the next message."""
_PATIENCE_S = 300.0


async def measure_receiving(pair: Pair, rate: int, seconds: int) -> list[Result]:
    """An operation is a PDU: `rate` of them a second for some seconds, in transactions of 50, one after the other.

    The latencies are of transactions. The server has one core to itself.
    """
    played = PlayedServer(pair.authority)
    await played.start()
    try:
        (bob,) = await pair.away.world.users(1)
        rooms = [played.room(f"busy{number}", ROOM_VERSION) for number in range(ROOMS)]
        with connections(pair.away.server.address, 1) as (line,), pair.bars.step("joining", ROOMS) as step:
            for room in rooms:
                for number in range(MEMBERS):
                    room.join(played.user(f"member{number}"), played.signer)
                await join(line, bob.token, room.room_id, played.server_name)
                step.advance()
        with pair.bars.step("signing", rate * seconds) as step:
            transactions = []
            for number in range(rate * seconds // PER_TRANSACTION):
                body = {
                    "origin": played.server_name,
                    "origin_server_ts": int(time.time() * 1000),
                    "pdus": _round(rooms, number),
                }
                transactions.append(played.sealed(pair.away.name, f"r{number}", body))
                step.advance(PER_TRANSACTION)
                await asyncio.sleep(0)
        return [await _send(pair, bob, played, rooms, transactions, rate)]
    finally:
        await played.stop()


def _round(rooms: list[PlayedRoom], number: int) -> list[Mapping[str, Any]]:
    """Fifty events: in most rounds one for each room, in the others two branches and what joins them for each fifth."""
    phase = number % BRANCHES_EVERY
    if phase != BRANCHES_EVERY - 1:
        return [room.say(f"round {number}").pdu for room in rooms]
    fifth = (number // BRANCHES_EVERY) % 5
    found = []
    for room in rooms[fifth::5]:
        left = room.make("m.room.topic", {"topic": f"left {number}"}, state_key="")
        right = room.make("m.room.topic", {"topic": f"right {number}"}, state_key="")
        name = room.make("m.room.name", {"name": f"right {number}"}, state_key="", upon=[right])
        meeting = room.say(f"round {number}", upon=[left, name])
        found += [left, right, name, meeting, room.say(f"round {number}, again")]
    return [event.pdu for event in found]


async def _send(
    pair: Pair,
    bob: User,
    played: PlayedServer,
    rooms: list[PlayedRoom],
    transactions: list[tuple[str, str, bytes]],
    rate: int,
) -> Result:
    server = pair.away.server
    keep_on(0, server.pids)
    lag = Lag(server)
    await played.deliver(pair.away.name, played.sealed(pair.away.name, "first", {"pdus": []}))
    await lag.begin()
    pause = PER_TRANSACTION / rate
    behind = 0
    with pair.bars.step("transactions", len(transactions)) as step:
        async with Window(server) as window:
            begin = time.perf_counter()
            for number, transaction in enumerate(transactions):
                due = begin + number * pause
                wait = due - time.perf_counter()
                behind += wait < -pause
                await asyncio.sleep(max(0.0, wait))
                taken, answer = await played.deliver(pair.away.name, transaction)
                window.latencies.append(taken)
                expect_equal("PDUs refused", [v for v in answer["pdus"].values() if v], [])
                step.advance()
            answered = time.perf_counter() - begin
            await _arrived(pair, bob, rooms)
            seconds = time.perf_counter() - begin
    late, latest = await lag.percentiles_ms(0.99, 1.0)
    operations = len(transactions) * PER_TRANSACTION
    return window.result(
        f"PDUs in {ROOMS} rooms from one peer",
        operations=operations,
        seconds=seconds,
        facts=(
            Fact("asked for, PDUs in", rate, "/s"),
            Fact("answered, PDUs in", operations / answered, "/s"),
            Fact("transactions that began late", behind, ""),
            Fact("loop lag p99, PDUs in", late, "ms"),
            Fact("loop lag at most, PDUs in", latest, "ms"),
        ),
        checked=f"the last event of each of {ROOMS} rooms found",
    )


async def _arrived(pair: Pair, bob: User, rooms: list[PlayedRoom]) -> None:
    """Wait until the last event of each room can be read."""
    end = time.perf_counter() + _PATIENCE_S
    with connections(pair.away.server.address, 1) as (line,):
        for room in rooms:
            (last,) = room.newest
            path = f"{requests.room_path(room.room_id)}/event/{last.event_id}"
            while (await line.ask(requests.build("GET", path, token=bob.token))).status != 200:
                if time.perf_counter() > end:
                    raise RuntimeError(f"{last.event_id} has not arrived in {room.room_id}")
                await asyncio.sleep(0.02)
