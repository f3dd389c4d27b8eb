"""Answers of /sync: all rooms for a new device, nothing new, one new event."""

from collections.abc import Sequence

import orjson

from bench import requests
from bench.arrivals import Arrivals, expect_equal
from bench.connection import Connection
from bench.figures import Fact, Result
from bench.load import connections
from bench.measurement import Window, result_of
from bench.world import PASSWORD, FilledRoom, World, users_of


async def measure_first_sync(world: World) -> list[Result]:
    """Each by a new device, so that no answer is a stored one; then the same, each after a restart."""
    sizes = world.sizes
    library = await _library(world)
    with connections(world.server.address, 1) as (line,):
        warm, size = await _first_syncs(world, line, library, sizes.first_syncs, restart=False)
        cold, _ = await _first_syncs(world, line, library, sizes.cold_syncs, restart=True)
    work = f"first sync, {sizes.synced_rooms} rooms"
    checked = f"{sizes.synced_messages} messages in each of {sizes.synced_rooms} rooms, exactly once"
    facts = (Fact("first sync's answer", size / 1e6, "MB"),)
    return [
        result_of(warm, f"{work}, warm", facts=facts, checked=checked),
        result_of(cold, f"{work}, after a restart", checked=checked),
    ]


async def measure_quiet_sync(world: World) -> list[Result]:
    """`timeout=0` with nothing new, by the member of all these rooms."""
    library = await _library(world)
    token = library[0].room.members[0].token
    count = world.sizes.quiet_syncs
    with connections(world.server.address, 1) as (line,), world.bars.step("quiet syncs", count) as step:
        since = await _next_batch(line, requests.sync(token))
        since = await _next_batch(line, requests.sync(token, since=since))
        request, rooms_seen = requests.sync(token, since=since), 0
        async with Window(world.server) as window:
            for _ in range(count):
                answer = await line.expect(request)
                window.latencies.append(answer.seconds)
                rooms_seen += len(orjson.loads(answer.body).get("rooms", {}).get("join", {}))
                step.advance()
    expect_equal("rooms in quiet syncs", rooms_seen, 0)
    return [window.result("sync, nothing new", checked="no answer held a room")]


async def measure_one_event_sync(world: World) -> list[Result]:
    """The same with one message since the last sync; its sending is not part of the cost."""
    library = await _library(world)
    token, count = library[0].room.members[0].token, world.sizes.one_event_syncs
    sent, arrivals = [], Arrivals("messages")
    with (
        connections(world.server.address, 2) as (sender, line),
        world.bars.step("syncs of one event", count) as step,
    ):
        since = await _next_batch(line, requests.sync(token))
        bodies = []
        async with Window(world.server) as window:
            for number in range(count):
                room_id = library[number % len(library)].room.room_id
                async with window.pause():
                    text = f"news {number}"
                    send = await sender.expect(requests.send_message(token, room_id, f"n{number}", text))
                    sent.append((orjson.loads(send.body)["event_id"], text))
                answer = await line.expect(requests.sync(token, since=since))
                window.latencies.append(answer.seconds)
                bodies.append(answer.body)
                since = orjson.loads(answer.body)["next_batch"]
                step.advance()
    for event_id, text in sent:
        arrivals.send(event_id, text)
    for body in bodies:
        found = [event for timeline in _timelines(body).values() for event in timeline]
        expect_equal("events in one sync", len(found), 1)
        arrivals.arrive(*found[0])
    return [window.result("sync, one new event", checked=arrivals.check())]


async def _library(world: World) -> list[FilledRoom]:
    return await world.filled_rooms("library", world.sizes.synced_rooms, world.sizes.synced_messages)


async def _first_syncs(
    world: World, line: Connection, library: Sequence[FilledRoom], count: int, *, restart: bool
) -> tuple[list[Window], int]:
    user, windows, size = library[0].room.members[0], [], 0
    with world.bars.step("first syncs" + (" after restarts" if restart else ""), count) as step:
        logins = [(await line.expect(requests.login(user.localpart, PASSWORD))).body for _ in range(count)]
        devices = users_of(logins)
        if not restart:  # heads warm: somebody has just synced these rooms
            await line.expect(requests.sync(user.token))
        for device in devices:
            if restart:
                await world.server.stop()
                await world.server.start()
            async with Window(world.server) as window:
                answer = await line.expect(requests.sync(device.token))
                window.latencies.append(answer.seconds)
            _check_library(answer.body, library)
            size = len(answer.body)
            windows.append(window)
            step.advance()
    return windows, size


def _check_library(body: bytes, library: Sequence[FilledRoom]) -> None:
    """The newest events of each room's timeline are those messages that were sent to it before this work."""
    timelines = _timelines(body)
    expect_equal("rooms in the first sync", len(timelines), len(library))
    for filled in library:
        found = [(i, text) for i, text in timelines[filled.room.room_id] if not text.startswith("news ")]
        newer = len(timelines[filled.room.room_id]) - len(found)
        expected = list(filled.sent)[newer:]
        expect_equal(f"messages of {filled.room.room_id}", found, expected)


def _timelines(body: bytes) -> dict[str, list[tuple[str, str]]]:
    joined = orjson.loads(body).get("rooms", {}).get("join", {})
    return {
        room_id: [(e["event_id"], e["content"].get("body", e["type"])) for e in room["timeline"]["events"]]
        for room_id, room in joined.items()
        if room["timeline"]["events"]
    }


async def _next_batch(line: Connection, request: bytes) -> str:
    return str(orjson.loads((await line.expect(request)).body)["next_batch"])
