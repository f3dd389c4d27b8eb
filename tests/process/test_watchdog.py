"""An event loop that hangs says where."""

import logging
import time

import pytest
from tests.process.test_supervisor import until

from ranvier.main.figures import EventLoopLag
from ranvier.main.watchdog import STUCK_S, Watchdog


def _hold_the_loop(seconds: float) -> None:
    time.sleep(seconds)


async def test_what_hangs_is_named_by_its_stack(caplog: pytest.LogCaptureFixture):
    lag = EventLoopLag()
    lag.start()
    watchdog = Watchdog(lambda: lag.beat)
    watchdog.start()
    try:
        with caplog.at_level(logging.WARNING, "ranvier.main"):
            _hold_the_loop(STUCK_S + 1.5)
            await until(lambda: "turns again" in caplog.text, 10, "the loop turns again")
    finally:
        watchdog.stop()
        lag.stop()
    assert "_hold_the_loop" in caplog.text
    assert watchdog.hangs == 1
    assert lag.worst() > STUCK_S


def test_a_process_that_stood_still_as_a_whole_is_not_said_to_hang(caplog: pytest.LogCaptureFixture):
    now = [100.0]
    watchdog = Watchdog(lambda: 100.0, clock=lambda: now[0])
    original = watchdog._stopped.wait

    def wait(timeout: float | None = None) -> bool:
        # Ten seconds pass between two looks, in which neither the loop nor the watchdog ran.
        now[0] += 10.0
        if now[0] > 150:
            watchdog.stop()
        return original(0)

    watchdog._stopped.wait = wait  # type: ignore[method-assign]
    watchdog._run()
    assert watchdog.hangs == 0
    assert caplog.text == ""
