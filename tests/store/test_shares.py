"""What the owners of queues can rely on when several processes share them."""

import asyncio
from collections.abc import AsyncIterator, Collection
from typing import Any

import pytest
from tests.conftest import PostgresDatabases

from ranvier.store.database import Database, Fenced
from ranvier.store.neighbours import Neighbours
from ranvier.store.postgres import PostgresDatabase
from ranvier.store.shares import TOPIC, Leases, Shares, reserve

KEYS = [f"s{number}.test" for number in range(500)]


class Clock:
    """The clock of a process, which stands still for all others while it is stopped."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return asyncio.get_running_loop().time() + self.ahead


class Played:
    """A worker that notes what it is told; `finish` lets it finish the work in hand."""

    def __init__(self) -> None:
        self.gained: list[int] = []
        self.left: list[int] = []
        self.lost: list[int] = []
        self.called: list[str] = []
        self.finish = asyncio.Event()
        self.finish.set()

    async def gain(self, portions: Collection[int]) -> None:
        self.gained += portions

    async def leave(self, portions: Collection[int]) -> None:
        await self.finish.wait()
        self.left += portions

    async def lose(self, portions: Collection[int]) -> None:
        self.lost += portions

    def call(self, key: str) -> None:
        self.called.append(key)


class Process:
    """What of a process has to do with shares, with a clock and a channel that are played."""

    def __init__(self, place: "Place", database: Database, instance: str, roles: Collection[str]) -> None:
        self.clock = Clock()
        self.database = database
        self.neighbours = Neighbours(database, instance, roles, clock=self.clock)
        self.leases = Leases(self.neighbours, database, place.publish)
        self.shares = self.leases.queue("work", "sending")
        self.worker = Played()

    async def start(self) -> None:
        await self.neighbours.start()
        self.leases.start()
        await self.shares.begin(self.worker)

    async def stop(self) -> None:
        await self.leases.stop()
        await self.neighbours.stop()

    async def die(self) -> None:
        """Be gone, from one moment to the next."""
        for task in (self.neighbours._task, self.leases._task):
            if task is not None:
                task.cancel()

    def keys(self) -> set[str]:
        return {key for key in KEYS if self.shares.holds(key)}


class Place:
    """Processes that share a database."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.processes: list[Process] = []

    def publish(self, topic: str, body: bytes) -> None:
        assert topic == TOPIC
        for process in self.processes:
            process.leases.hear(body)

    async def add(self, instance: str, roles: Collection[str] = ("sending",)) -> Process:
        process = Process(self, self.database, instance, roles)
        self.processes.append(process)
        await process.start()
        return process

    async def until(self, is_so: Any, seconds: float = 10.0) -> float:
        """Wait until something is so; answers after how many seconds it was."""
        began = asyncio.get_running_loop().time()
        async with asyncio.timeout(seconds):
            while not is_so():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return asyncio.get_running_loop().time() - began

    def are_shared(self, *processes: Process) -> bool:
        """Whether each key is held by exactly one of the processes, each of them has some, and none shall move."""
        parts = [process.keys() for process in processes]
        is_still = all(len(process.neighbours.alive()) == len(processes) for process in processes)
        return is_still and all(parts) and sorted(key for part in parts for key in part) == sorted(KEYS)


@pytest.fixture
async def place(postgres_databases: PostgresDatabases) -> AsyncIterator[Place]:
    database = await PostgresDatabase.connect(
        host=postgres_databases.folder, user="postgres", database=await postgres_databases.make()
    )
    made = Place(database)
    yield made
    for process in made.processes:
        await process.stop()
    await database.close()


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_on_sqlite_a_process_has_everything_at_once_and_writes_nothing(database: Database):
    leases = Leases(Neighbours.solitary(database), database)
    shares, worker = leases.queue("work", "sending"), Played()
    leases.start()
    await shares.begin(worker)
    assert all(shares.holds(key) for key in KEYS)
    assert sorted(worker.gained) == list(range(shares.portions))
    shares.call("a")
    assert worker.called == ["a"]
    await database.commit(_writing(shares, "a"))
    await leases.stop()
    assert sorted(worker.left) == list(range(shares.portions))
    assert await database.fetch_value("SELECT COUNT(*) FROM leases") == 0


async def test_who_has_a_role_in_reserve_works_only_while_nobody_else_has_it(place: Place):
    main = await place.add("main", ("sending", reserve("sending")))
    assert main.keys() == set(KEYS)
    sender = await place.add("sender")
    await place.until(lambda: sender.keys() == set(KEYS) and not main.keys())
    await sender.stop()
    await place.until(lambda: main.keys() == set(KEYS))


async def test_a_process_alone_has_everything_when_it_has_started(place: Place):
    one = await place.add("one")
    assert one.keys() == set(KEYS)
    assert sorted(one.worker.gained) == list(range(one.shares.portions))


async def test_a_process_that_comes_gets_its_part_once_the_work_in_hand_is_done(place: Place):
    one = await place.add("one")
    one.worker.finish.clear()
    two = await place.add("two")
    await place.until(lambda: bool(one.shares.leaving))
    leaving = {key for key in KEYS if one.shares.portion_of(key) in one.shares.leaving}
    assert not leaving & (one.keys() | two.keys())
    # What is being finished may still be written.
    await place.database.commit(_writing(one.shares, leaving.pop()))
    one.worker.finish.set()
    await place.until(lambda: place.are_shared(one, two))
    assert sorted(one.worker.left) == sorted(two.worker.gained)
    assert one.worker.lost == []


async def test_what_an_instance_had_it_gets_again_and_nothing_else_moves(place: Place):
    one, two, three = [await place.add(name) for name in ("one", "two", "three")]
    await place.until(lambda: place.are_shared(one, two, three))
    before = {process: process.keys() for process in (one, two, three)}
    await three.neighbours.withdraw()
    await three.stop()
    await place.until(lambda: place.are_shared(one, two))
    assert before[one] <= one.keys()
    assert before[two] <= two.keys()
    three = await place.add("three")
    await place.until(lambda: place.are_shared(one, two, three))
    assert (before[one], before[two]) == (one.keys(), two.keys())


async def test_a_process_that_stops_in_order_hands_over_at_once(place: Place):
    one, two = await place.add("one"), await place.add("two")
    await place.until(lambda: place.are_shared(one, two))
    await one.neighbours.withdraw()
    two.neighbours.look()
    assert await place.until(lambda: two.keys() == set(KEYS)) < 1.0
    assert one.keys() == set()


async def test_a_process_that_died_is_succeeded_within_five_seconds(place: Place):
    one, two = await place.add("one"), await place.add("two")
    await place.until(lambda: place.are_shared(one, two))
    await one.die()
    assert await place.until(lambda: two.keys() == set(KEYS)) < 5.5


async def test_a_process_that_was_stopped_holds_nothing_and_what_it_then_writes_fails(place: Place):
    one, two = await place.add("one"), await place.add("two")
    await place.until(lambda: place.are_shared(one, two))
    key = one.keys().pop()
    fence = one.shares.fence(key)
    assert fence is not None
    await one.die()
    one.clock.ahead = 10.0
    await place.until(lambda: two.keys() == set(KEYS))
    # It wakes: by its own clock it knows, and whatever it had begun does not get through.
    assert one.keys() == set()
    with pytest.raises(Fenced):
        await place.database.commit(_fencing(fence))
    assert await place.database.fetch_value("SELECT COUNT(*) FROM followers") == 0
    await place.database.commit(_writing(two.shares, key))


async def test_a_process_that_nobody_took_for_dead_goes_on_and_only_what_it_had_begun_fails(place: Place):
    one, two = await place.add("one"), await place.add("two")
    await place.until(lambda: place.are_shared(one, two))
    held, fence = one.keys(), one.shares.fence_of(next(iter(one.shares.fences)))
    assert fence is not None
    one.clock.ahead = 10.0
    assert one.keys() == set()
    await place.until(lambda: place.are_shared(one, two))
    assert (one.keys(), one.worker.lost) == (held, [])
    with pytest.raises(Fenced):
        await place.database.commit(_fencing(fence))


async def test_a_process_that_wakes_after_another_took_its_place_drops_its_work_and_gets_its_part_again(
    place: Place,
):
    one, two = await place.add("one"), await place.add("two")
    await place.until(lambda: place.are_shared(one, two))
    held = one.keys()
    await one.die()
    await place.until(lambda: two.keys() == set(KEYS))
    one.clock.ahead = 10.0
    await one.neighbours.start()
    one.leases.start()
    await place.until(lambda: place.are_shared(one, two))
    assert one.keys() == held
    assert sorted(one.worker.lost) == sorted(one.shares.fences)


async def test_processes_without_the_role_hold_nothing_and_call_those_who_do(place: Place):
    one = await place.add("one", ["clients"])
    assert one.keys() == set()
    two = await place.add("two", ["sending", "clients"])
    await place.until(lambda: two.keys() == set(KEYS))
    one.shares.call("a key")
    assert (one.worker.called, two.worker.called) == ([], ["a key"])


def _writing(shares: Shares, key: str) -> Any:
    fence = shares.fence_of(shares.portion_of(key))
    assert fence is not None
    return _fencing(fence)


def _fencing(fence: Any) -> Any:
    async def write(transaction: Any) -> None:
        transaction.fence(fence)
        await transaction.insert("followers", "name, position", [(str(fence), 1)])

    return write
