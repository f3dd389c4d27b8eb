"""Creating rooms."""

import orjson

from bench import requests
from bench.arrivals import expect_equal
from bench.figures import Result
from bench.load import connections, drive
from bench.measurement import Window
from bench.world import World, room_ids_of


async def measure_creation(world: World) -> list[Result]:
    """One after the other by one user: a private room with a name."""
    count = world.sizes.created_rooms
    (creator,) = await world.newcomers(1)
    names = [f"created {number}" for number in range(count)]
    creations = [requests.create_room(creator.token, preset="private_chat", name=name) for name in names]
    with connections(world.server.address, 1) as lines:
        with world.bars.step("creating rooms", count) as step:
            async with Window(world.server) as window:
                room_ids = room_ids_of(await drive(lines, creations, step, window.latencies))
        answer = await lines[0].expect(requests.joined_rooms(creator.token))
        expect_equal("joined rooms", sorted(orjson.loads(answer.body)["joined_rooms"]), sorted(room_ids))
        for room_id, name in zip(room_ids, names, strict=True):
            state = await lines[0].expect(requests.state_event(creator.token, room_id, "m.room.name"))
            expect_equal("room name", orjson.loads(state.body)["name"], name)
    return [window.result("create a room", checked=f"{count} rooms joined and named")]
