"""Numbers for rooms, events and state lines: each is used once, by whichever process."""

import asyncio
from itertools import count

from ranvier.store.database import Database
from ranvier.store.numbers import Counters

NAMES = ("room", "event", "line")


async def test_processes_that_start_at_once_never_take_the_same_number(database: Database) -> None:
    processes = [Counters(database, names) for names in (NAMES, NAMES[::-1])]
    await asyncio.gather(*(counters.start() for counters in processes))
    for name in NAMES:
        taken = [counters.by_name[name].take() for counters in processes for _ in range(100)]
        assert len(set(taken)) == 200
        assert min(taken) == 1


async def test_a_later_start_goes_on_behind_what_was_reserved(database: Database) -> None:
    first, second = Counters(database, NAMES), Counters(database, NAMES)
    await first.start()
    before = first.by_name["event"].take()
    await second.start()
    assert second.by_name["event"].take() > before


async def test_a_counter_refills_itself_before_it_is_exhausted(database: Database) -> None:
    counters = Counters(database, NAMES)
    await counters.start()
    events = counters.by_name["event"]
    taken = []
    for step in count():
        taken.append(events.take())
        if step % 1000 == 0:
            await asyncio.sleep(0)
            await counters.stop()
        if step == 25_000:
            break
    assert taken == list(range(1, 25_002))
