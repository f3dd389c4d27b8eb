"""Sending messages: one after the other, and many at a time."""

from bench import disk, requests
from bench.arrivals import Arrivals
from bench.figures import Fact, Result
from bench.load import connections, drive
from bench.measurement import Window
from bench.world import World, event_ids_of, room_messages

WARM_UP = 40


async def measure_sequential(world: World) -> list[Result]:
    """One user, one room of the crowd, one message after the other, beside the disk's own fsync."""
    return [await _measure(world, "send, one after the other", world.sizes.sequential_sends, 1, rooms=1)]


async def measure_concurrent(world: World) -> list[Result]:
    """All users of the crowd in all its rooms, with so many requests in flight."""
    sizes = world.sizes
    work = f"send, {sizes.in_flight} in flight"
    return [await _measure(world, work, sizes.concurrent_sends, sizes.in_flight, rooms=sizes.crowd_rooms)]


async def _measure(world: World, work: str, count: int, in_flight: int, *, rooms: int) -> Result:
    crowd = (await world.crowd())[:rooms]
    users = crowd[0].members[: 1 if in_flight == 1 else None]
    # Every user comes to every room: the room moves on when all users have had their turn in it.
    turns = [(users[n % len(users)], crowd[(n // len(users) + n) % rooms]) for n in range(count)]
    texts = [f"{work} {number}" for number in range(count)]
    sends = [
        requests.send_message(user.token, room.room_id, f"{in_flight}-{number}", texts[number])
        for number, (user, room) in enumerate(turns)
    ]
    warm_up = [
        requests.send_message(
            users[n % len(users)].token, crowd[n % rooms].room_id, f"w{in_flight}-{n}", "warm"
        )
        for n in range(WARM_UP)
    ]
    fsync_before = disk.fsync_median_ms(world.server.folder)
    with connections(world.server.address, in_flight) as lines:
        with world.bars.step(work, count) as step:
            await drive(lines, warm_up, step)
            step.done = 0
            async with Window(world.server) as window:
                bodies = await drive(lines, sends, step, window.latencies)
        fsync = (fsync_before + disk.fsync_median_ms(world.server.folder)) / 2
        arrivals = Arrivals("messages")
        for event_id, text in zip(event_ids_of(bodies), texts, strict=True):
            arrivals.send(event_id, text)
        for room in crowd:
            for event_id, text in await room_messages(lines[0], users[0].token, room.room_id):
                if text.startswith(work):
                    arrivals.arrive(event_id, text)
    facts = (Fact(f"disk's fsync p50 beside “{work}”", fsync, "ms"),)
    return window.result(work, facts=facts, checked=f"{arrivals.check()} by /messages")
