"""Joining a public room."""

import orjson

from bench import requests
from bench.arrivals import expect_equal
from bench.figures import Result
from bench.load import connections, drive
from bench.measurement import Window
from bench.world import World


async def measure_joins(world: World) -> list[Result]:
    """So many users, one after the other, into one room."""
    count = world.sizes.joins
    creator, *joiners = await world.users(count + 1)
    with connections(world.server.address, 1) as lines:
        creation = await lines[0].expect(requests.create_room(creator.token, preset="public_chat"))
        room_id = str(orjson.loads(creation.body)["room_id"])
        with world.bars.step("joining", count) as step:
            async with Window(world.server) as window:
                await drive(
                    lines, [requests.join(user.token, room_id) for user in joiners], step, window.latencies
                )
        answer = await lines[0].expect(requests.joined_members(creator.token, room_id))
    members = sorted(orjson.loads(answer.body)["joined"])
    expect_equal("joined members", members, sorted(user.user_id for user in (creator, *joiners)))
    return [window.result("join a public room", checked=f"{len(members)} members joined")]
