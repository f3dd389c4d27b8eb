"""A message from a client of one server to a waiting client of the other."""

import asyncio

import orjson

from bench import requests
from bench.arrivals import Arrivals
from bench.connection import Connection
from bench.federation.pair import Pair, join
from bench.figures import Fact, Result
from bench.following import Follower
from bench.load import connections
from bench.measurement import Window
from bench.world import Room

WARM_UP = 5


class _Waiting:
    """Tells when the follower got something."""

    def __init__(self) -> None:
        self.heard = asyncio.Event()

    def __call__(self, _: Follower, messages: int) -> None:
        if messages:
            self.heard.set()


async def measure_delivery(pair: Pair, messages: int) -> list[Result]:
    """An operation is a message sent at home, on its way, and got by the one who waits away.

    The next one goes out when both servers are quiet, so that the client really waits.
    """
    (alice,), (bob,) = await pair.home.world.users(1), await pair.away.world.users(1)
    (room,) = await pair.home.world.public_rooms("delivery", [[alice]])
    waiting = _Waiting()
    with (
        connections(pair.home.server.address, 1) as (sender,),
        connections(pair.away.server.address, 1) as (line,),
    ):
        await join(line, bob.token, room.room_id, pair.home.name)
        follower = Follower(line, bob, waiting)
        await follower.begin()
        following = asyncio.create_task(follower.follow())
        try:
            return [await _send(pair, room, follower, waiting, sender, messages)]
        finally:
            following.cancel()


async def _send(
    pair: Pair, room: Room, follower: Follower, waiting: _Waiting, sender: Connection, messages: int
) -> Result:
    arrivals = Arrivals("messages")

    async def tell(number: int) -> float:
        text = f"between servers {number}"
        request = requests.send_message(room.members[0].token, room.room_id, f"b{number}", text)
        waiting.heard.clear()
        begin = asyncio.get_running_loop().time()
        answer = await sender.expect(request)
        async with asyncio.timeout(60):
            await waiting.heard.wait()
        arrivals.send(orjson.loads(answer.body)["event_id"], text)
        return asyncio.get_running_loop().time() - begin

    for number in range(WARM_UP):
        await tell(number)
    with pair.bars.step("messages", messages) as step:
        async with Window(pair) as window:
            for number in range(WARM_UP, WARM_UP + messages):
                window.latencies.append(await tell(number))
                async with window.pause():
                    step.advance()
    for _, event_id, text in follower.messages:
        arrivals.arrive(event_id, text)
    return window.result(
        "message to a client of the other server",
        facts=(Fact("gaps in what the client saw", follower.limited, ""),),
        checked=arrivals.check(),
    )
