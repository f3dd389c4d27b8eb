"""Joining a large room through a server of the same kind."""

import asyncio
import time

import orjson

from bench import requests
from bench.accounting import process_seconds, settle
from bench.connection import Connection
from bench.federation.pair import Lag, Pair, Side, forget_peak, join, keep_on, peak_mib
from bench.federation.played import PlayedServer
from bench.figures import Fact, Result
from bench.load import connections
from bench.world import User

ROOM_VERSION = "11"
_FILTER = '{"room":{"state":{"lazy_load_members":true},"timeline":{"limit":20}}}'
_PATIENCE_S = 600.0


async def measure_joining(pair: Pair, members: int) -> list[Result]:
    """Somebody away joins a room of `members` through home; the server away has one core to itself.

    Home has it from a played server, whose users most of the members are.
    """
    played = PlayedServer(pair.authority)
    await played.start()
    try:
        room = played.room("large", ROOM_VERSION)
        with pair.bars.step("signing joins", members) as step:
            for number in range(members - 2):
                room.join(played.user(f"member{number:06}"), played.signer)
                step.advance()
                if not number % 200:
                    await asyncio.sleep(0)
        (alice,), (bob,) = await pair.home.world.users(1), await pair.away.world.users(1)
        with connections(pair.home.server.address, 1) as (line,):
            await join(line, alice.token, room.room_id, played.server_name)
            await _whole(line, alice, room.room_id, members)
        await settle(pair.pids, at_most=30)
        return [await _join(pair, bob, room.room_id, members + 1)]
    finally:
        await played.stop()


async def _join(pair: Pair, bob: User, room_id: str, members: int) -> Result:
    pid = pair.away.server.pids[0]
    keep_on(0, [pid])
    forget_peak(pid)
    lags = {"home": Lag(pair.home.server), "away": Lag(pair.away.server)}
    with connections(pair.away.server.address, 1) as (line,):
        await line.expect(requests.sync(bob.token, filter_json=_FILTER))
        for lag in lags.values():
            await lag.begin()
        held, used, other = peak_mib(pid), process_seconds(pid), _seconds(pair.home)
        begin = time.perf_counter()
        await join(line, bob.token, room_id, pair.home.name)
        entered = time.perf_counter() - begin
        await _seen(line, bob, room_id)
        seen, used_until_seen = time.perf_counter() - begin, process_seconds(pid) - used
        await _whole(line, bob, room_id, members)
        complete = time.perf_counter() - begin
    await settle(pair.pids, at_most=30)
    late = {name: await lag.percentiles_ms(0.99, 1.0) for name, lag in lags.items()}
    return Result(
        work=f"join of a room of {members - 1:,}",
        facts=(
            Fact("join answered", entered, "s", compared=True),
            Fact("room in the first sync", seen, "s", compared=True),
            Fact("CPU until then", used_until_seen, "s", compared=True),
            Fact("all members known", complete, "s", compared=True),
            Fact("CPU of the one who joins", process_seconds(pid) - used, "s", compared=True),
            Fact("CPU of the other", _seconds(pair.home) - other, "s", compared=True),
            Fact("memory before", held, "MiB", compared=True),
            Fact("most memory", peak_mib(pid), "MiB", compared=True),
            Fact("loop lag p99, who joins", late["away"][0], "ms"),
            Fact("loop lag at most, who joins", late["away"][1], "ms"),
            Fact("loop lag at most, the other", late["home"][1], "ms"),
        ),
        checked=f"{members:,} members found",
    )


def _seconds(side: Side) -> float:
    return sum(map(process_seconds, side.server.pids))


async def _seen(line: Connection, user: User, room_id: str) -> None:
    """Wait until a first sync shows the room."""
    end = time.perf_counter() + _PATIENCE_S
    while time.perf_counter() < end:
        answer = await line.expect(requests.sync(user.token, filter_json=_FILTER))
        if room_id in orjson.loads(answer.body).get("rooms", {}).get("join", {}):
            return
        await asyncio.sleep(0.02)
    raise RuntimeError("no first sync shows the room that was joined")


async def _whole(line: Connection, user: User, room_id: str, members: int) -> None:
    """Wait until the server tells all members."""
    end = time.perf_counter() + _PATIENCE_S
    request = requests.joined_members(user.token, room_id)
    while True:
        answer = await line.ask(request)
        found = len(orjson.loads(answer.body).get("joined", ())) if answer.status == 200 else 0
        if found == members:
            return
        if time.perf_counter() > end:
            raise RuntimeError(f"{found} members instead of {members}; answered {answer.status}")
        await asyncio.sleep(0.1)
