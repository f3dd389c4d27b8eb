"""Mixed use: many users who each follow their rooms by long-polls and meanwhile do what clients do."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator
from typing import Any

import orjson

from bench import requests
from bench.arrivals import Arrivals, WrongCount, expect_equal
from bench.connection import Connection
from bench.figures import Fact, Result, bucket_percentile, histogram
from bench.following import FILTER, Follower
from bench.load import connections
from bench.measurement import Window
from bench.progress import Step
from bench.world import Room, User, World

SEED = 20_261_122
MIX = {"send": 35, "receipt": 25, "typing": 15, "messages": 10, "state": 15}
ROOMS_OF_A_USER = 4
PAGE = 20
LOOP_LAG = "ranvier_event_loop_lag_seconds"
ARRIVAL_SECONDS = 30.0


class _Actor:
    """One user who does seeded things in seeded rooms, one by one, and remembers what was answered."""

    def __init__(self, number: int, follower: Follower, line: Connection, rooms: list[Room]) -> None:
        self.user: User = follower.user
        self.sent: list[tuple[str, str, str]] = []
        self.receipts: dict[str, str] = {}
        self.counts = dict.fromkeys(MIX, 0)
        self._number = number
        self._follower = follower
        self._line = line
        self._rooms = rooms
        self._choice = random.Random(SEED + number)
        self._typing = False

    async def act(self, operations: int, window: Window, step: Step) -> None:
        kinds = self._choice.choices(list(MIX), weights=list(MIX.values()), k=operations)
        for number, kind in enumerate(kinds):
            room_id = self._choice.choice(self._rooms).room_id
            answer = await self._line.expect(self._request(kind, room_id, number))
            window.latencies.append(answer.seconds)
            self.counts[kind] += 1
            self._remember(kind, room_id, number, answer.body)
            step.advance()

    def _text(self, number: int) -> str:
        return f"mixed {self._number}/{number}"

    def _request(self, kind: str, room_id: str, number: int) -> bytes:
        token = self.user.token
        match kind:
            case "send":
                return requests.send_message(token, room_id, f"m{number}", self._text(number))
            case "receipt":
                self._receipt = self._follower.newest[room_id]
                return requests.receipt(token, room_id, self._receipt)
            case "typing":
                self._typing = not self._typing
                return requests.typing(token, room_id, self.user.user_id, active=self._typing)
            case "messages":
                return requests.messages(token, room_id, limit=PAGE)
            case _:
                return requests.state_event(token, room_id, "m.room.name")

    def _remember(self, kind: str, room_id: str, number: int, body: bytes) -> None:
        match kind:
            case "send":
                self.sent.append((room_id, orjson.loads(body)["event_id"], self._text(number)))
            case "receipt":
                self.receipts[room_id] = self._receipt
            case "messages":
                if not orjson.loads(body)["chunk"]:
                    raise WrongCount(f"/messages of {room_id} was empty")
            case "state":
                name = orjson.loads(body)["name"]
                if not name.startswith("mixed "):
                    raise WrongCount(f"{room_id} has the name {name!r}")


async def measure_mixture(world: World) -> list[Result]:
    """A fixed amount of seeded work; an operation is one of `MIX`, the syncs that follow it are its cost."""
    sizes = world.sizes
    users = await world.users(sizes.mixed_users)
    memberships = _memberships(users, sizes.mixed_rooms)
    rooms = await world.public_rooms("mixed", memberships)
    with connections(world.server.address, 2 * len(users)) as lines:
        followers = [Follower(lines[2 * n], user, _hear) for n, user in enumerate(users)]
        actors = [
            _Actor(n, follower, lines[2 * n + 1], [room for room in rooms if follower.user in room.members])
            for n, follower in enumerate(followers)
        ]
        with world.bars.step("first syncs", len(followers)) as step:
            for follower in followers:
                await follower.begin()
                step.advance()
        async with _following(followers):
            result = await _act(world, actors, followers)
            await _check_typing(lines[1], rooms, followers)
        await _check_receipts(lines[1], rooms, actors)
    return [result]


async def _act(world: World, actors: list[_Actor], followers: list[Follower]) -> Result:
    operations = world.sizes.mixed_operations
    lag_before = histogram(await _metrics(world), LOOP_LAG)
    with world.bars.step("mixed use", operations * len(actors)) as step:
        async with Window(world.server) as window:
            begin = time.perf_counter()
            async with asyncio.TaskGroup() as group:
                for actor in actors:
                    group.create_task(actor.act(operations, window, step))
            seconds = time.perf_counter() - begin
            await _all_arrived(actors, followers)
    lag_after = histogram(await _metrics(world), LOOP_LAG)
    lag = bucket_percentile({bound: n - lag_before.get(bound, 0) for bound, n in lag_after.items()}, 0.99)
    syncs = sum(follower.answers for follower in followers)
    kinds = {kind: sum(actor.counts[kind] for actor in actors) for kind in MIX}
    facts = (
        Fact("event loop lag p99, mixed use", lag * 1e3, "ms"),
        Fact("syncs answered beside it, mixed use", syncs, ""),
        Fact("syncs with a gap, mixed use", sum(follower.limited for follower in followers), ""),
    )
    checked = f"{_check_messages(actors, followers)} by every member's sync; " + ", ".join(
        f"{count} {kind}" for kind, count in kinds.items()
    )
    return window.result(f"mixed use by {len(actors)} users", seconds=seconds, facts=facts, checked=checked)


def _hear(_follower: Follower, _messages: int) -> None:
    """Nothing waits for a single answer here."""


def _memberships(users: list[User], rooms: int) -> list[list[User]]:
    """Every user is in four neighbouring rooms."""
    return [
        [user for number, user in enumerate(users) if (room - number) % rooms < ROOMS_OF_A_USER]
        for room in range(rooms)
    ]


@contextlib.asynccontextmanager
async def _following(followers: list[Follower]) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(follower.follow()) for follower in followers]
        yield
        for task in tasks:
            task.cancel()


async def _metrics(world: World) -> str:
    with connections(world.server.address, 1) as (line,):
        answer = await line.ask(requests.build("GET", "/_synapse/metrics"))
    return answer.body.decode() if answer.status == 200 else ""


def _expected(actors: list[_Actor], follower: Follower) -> list[tuple[str, str]]:
    """What was sent to the rooms of this follower."""
    return [
        (event_id, text)
        for actor in actors
        for room_id, event_id, text in actor.sent
        if room_id in follower.newest
    ]


async def _all_arrived(actors: list[_Actor], followers: list[Follower]) -> None:
    """Wait until every follower has got as many messages as were sent to its rooms, or time is up."""
    wanted = [len(_expected(actors, follower)) for follower in followers]
    deadline = time.perf_counter() + ARRIVAL_SECONDS
    while time.perf_counter() < deadline:
        if all(len(f.messages) >= count for f, count in zip(followers, wanted, strict=True)):
            return
        await asyncio.sleep(0.01)


def _check_messages(actors: list[_Actor], followers: list[Follower]) -> str:
    """Every member's sync held every message once; after a gap some may miss, but none comes twice."""
    total = Arrivals("messages")
    for actor in actors:
        for _room_id, event_id, text in actor.sent:
            total.send(event_id, text)
    for follower in followers:
        arrivals = Arrivals("messages")
        seen = {event_id for _room_id, event_id, _text in follower.messages}
        for event_id, text in _expected(actors, follower):
            if event_id in seen or not follower.limited:
                arrivals.send(event_id, text)
        for _room_id, event_id, text in follower.messages:
            arrivals.arrive(event_id, text)
        arrivals.check()
    first_seen = {event_id: text for f in followers for _room_id, event_id, text in f.messages}
    for event_id, text in first_seen.items():
        total.arrive(event_id, text)
    return total.check()


async def _check_typing(line: Connection, rooms: list[Room], followers: list[Follower]) -> None:
    """In every room one more member types, and all others must hear of it."""
    for room in rooms:
        typist = room.members[0]
        await line.expect(requests.typing(typist.token, room.room_id, typist.user_id, active=True))
    deadline = time.perf_counter() + ARRIVAL_SECONDS
    deaf: list[str] = []
    while time.perf_counter() < deadline:
        deaf = [
            follower.user.user_id
            for room in rooms
            for follower in followers
            if follower.user in room.members[1:]
            and room.members[0].user_id not in follower.typing.get(room.room_id, ())
        ]
        if not deaf:
            return
        await asyncio.sleep(0.05)
    raise WrongCount(f"{len(deaf)} members never heard who types, {deaf[0]} among them")


async def _check_receipts(line: Connection, rooms: list[Room], actors: list[_Actor]) -> None:
    """A first sync shows each user's last receipt in each room."""
    for room in rooms:
        answer = await line.expect(
            requests.sync(room.members[0].token, filter_json=FILTER.replace("100", "1"))
        )
        found = _receipts(orjson.loads(answer.body)["rooms"]["join"][room.room_id])
        expected = {a.user.user_id: a.receipts[room.room_id] for a in actors if room.room_id in a.receipts}
        expect_equal(f"receipts in {room.room_id}", {user: found.get(user) for user in expected}, expected)


def _receipts(room: dict[str, Any]) -> dict[str, str]:
    return {
        user_id: event_id
        for event in room.get("ephemeral", {}).get("events", ())
        if event["type"] == "m.receipt"
        for event_id, kinds in event["content"].items()
        for user_id in kinds.get("m.read", {})
    }
