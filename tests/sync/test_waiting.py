"""Who waits for news is woken by it, whatever became of their session meanwhile."""

import asyncio

from ranvier.sync import waiting as waiting_module
from ranvier.sync.waiting import Waiting

ROOMS = frozenset({"r1"})


async def test_news_that_came_before_the_wait_ends_it_at_once():
    waiting = Waiting()
    session = waiting.session("@a:b", ["@a:b"], ROOMS)
    wakes = session.wakes
    waiting.wake("r1")
    assert await waiting.wait(session, wakes, 10)


async def test_a_session_that_was_dropped_before_the_wait_is_looked_for_again(monkeypatch):
    monkeypatch.setattr(waiting_module, "_SESSIONS", 10)
    waiting = Waiting()
    session = waiting.session("@a:b", ["@a:b"], ROOMS)
    wakes = session.wakes
    for number in range(20):
        waiting.session(f"@u{number}:b", [f"@u{number}:b"], ROOMS)
    # Nothing would wake it any more.
    assert await asyncio.wait_for(waiting.wait(session, wakes, 10), 1)


async def test_devices_that_come_and_go_leave_nothing_behind():
    waiting = Waiting()
    first = waiting.session("@a:b", ["@a:b", "@a:b/FIRST"], ROOMS)
    waits = asyncio.create_task(waiting.wait(first, first.wakes, 10))
    await asyncio.sleep(0)
    for number in range(1000):
        waiting.session("@a:b", ["@a:b", f"@a:b/D{number}"], ROOMS)
    assert len(first.audiences) < 200
    assert await waits
    again = waiting.session("@a:b", ["@a:b", "@a:b/FIRST"], ROOMS)
    wakes = again.wakes
    waiting.wake("@a:b/FIRST")
    assert again.wakes == wakes + 1


def test_what_follows_an_answer_at_once_gathers_for_a_moment_and_no_longer():
    session = Waiting().session("@a:b", ["@a:b"], ROOMS)
    assert session.early("PHONE", 100.0) <= 0
    session.answer("PHONE", 100.0)
    assert 0 < session.early("PHONE", 100.01) <= waiting_module.SPACING
    assert session.early("LAPTOP", 100.01) <= 0
    assert session.early("PHONE", 100.0 + waiting_module.SPACING) <= 0
