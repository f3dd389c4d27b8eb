"""Paging through a room's past."""

import orjson

from bench import requests
from bench.arrivals import Arrivals, expect_equal
from bench.figures import Result
from bench.load import connections
from bench.measurement import Window
from bench.world import World

LIMIT = 100


async def measure_messages(world: World) -> list[Result]:
    """Full pages of 100, from the newest backwards, several times over."""
    sizes = world.sizes
    (filled,) = await world.filled_rooms("history", 1, sizes.history_events)
    token, room_id = filled.room.members[0].token, filled.room.room_id
    pages = sizes.history_events // LIMIT
    passes: list[list[bytes]] = []
    with (
        connections(world.server.address, 1) as (line,),
        world.bars.step("messages", pages * sizes.history_passes) as step,
    ):
        async with Window(world.server) as window:
            for _ in range(sizes.history_passes):
                start, bodies = None, []
                for _page in range(pages):
                    answer = await line.expect(requests.messages(token, room_id, limit=LIMIT, start=start))
                    window.latencies.append(answer.seconds)
                    bodies.append(answer.body)
                    step.advance()
                    start = orjson.loads(answer.body).get("end")
                    if start is None:  # too early: the check below says what is missing
                        break
                passes.append(bodies)
    for bodies in passes:
        arrivals = Arrivals("messages")
        for event_id, text in filled.sent:
            arrivals.send(event_id, text)
        for body in bodies:
            chunk = orjson.loads(body)["chunk"]
            expect_equal("events on a page", len(chunk), LIMIT)
            for event in chunk:
                arrivals.arrive(event["event_id"], event["content"].get("body", event["type"]))
        checked = arrivals.check()
    return [window.result(f"/messages, {LIMIT} events", checked=f"{checked} in each of {len(passes)} passes")]
