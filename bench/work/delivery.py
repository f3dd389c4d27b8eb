"""One message to many clients that wait in /sync."""

import asyncio
import time

import orjson

from bench import requests
from bench.arrivals import Arrivals
from bench.connection import Connection
from bench.figures import Fact, Result
from bench.following import Follower
from bench.load import connections
from bench.measurement import Window
from bench.world import Room, World

WARM_UP = 2


class _Audience:
    """Counts who has got the message that is under way."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.empty_answers = 0
        self.latencies: list[float] = []
        self._sent_at = 0.0
        self._complete: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def expect(self) -> asyncio.Future[None]:
        """A message goes out now; the future is done when all have got it."""
        self.latencies = []
        self._complete = asyncio.get_running_loop().create_future()
        self._sent_at = time.perf_counter()
        return self._complete

    def heard(self, follower: Follower, messages: int) -> None:
        """A follower's poll was answered."""
        if not messages:
            self.empty_answers += 1
            return
        self.latencies.append(follower.line.answered - self._sent_at)
        if len(self.latencies) == self.size and not self._complete.done():
            self._complete.set_result(None)


async def measure_delivery(world: World) -> list[Result]:
    """An operation is one waiting client answered and its next poll taken in; the send is part of the cost.

    The next message goes out when the server is quiet, so that all clients really wait.
    """
    sizes = world.sizes
    members = await world.users(sizes.waiting_clients + 1)
    (room,) = await world.public_rooms("delivery", [members])
    audience = _Audience(sizes.waiting_clients)
    with connections(world.server.address, sizes.waiting_clients + 1) as (sender, *lines):
        followers = [
            Follower(line, user, audience.heard) for line, user in zip(lines, members[1:], strict=True)
        ]
        with world.bars.step("first syncs", len(followers)) as step:
            for follower in followers:
                await follower.begin()
                step.advance()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(follower.follow()) for follower in followers]
            result = await _send_rounds(world, room, audience, followers, sender)
            for task in tasks:
                task.cancel()
    return [result]


async def _send_rounds(
    world: World, room: Room, audience: _Audience, followers: list[Follower], sender: Connection
) -> Result:
    rounds = world.sizes.delivered_messages
    texts = [f"delivery {number}" for number in range(WARM_UP + rounds)]
    sends = [
        requests.send_message(room.members[0].token, room.room_id, f"d{number}", text)
        for number, text in enumerate(texts)
    ]
    event_ids: list[str] = []

    async def tell_all(number: int) -> None:
        complete = audience.expect()
        answer = await sender.expect(sends[number])
        event_ids.append(orjson.loads(answer.body)["event_id"])
        async with asyncio.timeout(60):
            await complete

    for number in range(WARM_UP):
        await tell_all(number)
    audience.empty_answers = 0
    with world.bars.step("delivering", rounds) as step:
        async with Window(world.server) as window:
            for number in range(WARM_UP, len(sends)):
                await tell_all(number)
                window.latencies.extend(audience.latencies)
                async with window.pause():
                    step.advance()
    for follower in followers:
        arrivals = Arrivals("messages")
        for event_id, text in zip(event_ids, texts, strict=True):
            arrivals.send(event_id, text)
        for _room_id, event_id, text in follower.messages:
            arrivals.arrive(event_id, text)
        checked = arrivals.check()
    return window.result(
        f"deliver to {audience.size} waiting clients",
        facts=(Fact("polls answered without a message, deliver", audience.empty_answers, ""),),
        checked=f"{checked} by each of {audience.size} clients",
    )
