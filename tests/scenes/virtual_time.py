"""An event loop whose clock only moves when nothing else is left to do: hours pass in seconds."""

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")


class _Selector(selectors.DefaultSelector):  # type: ignore[misc,valid-type]
    """Lets time jump where the loop would wait for it."""

    loop: "VirtualTimeLoop"

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if self.loop.threads_at_work:
            # A thread will wake the loop: no time passes meanwhile.
            return super().select(0.05 if timeout is None else min(timeout, 0.05))
        if timeout is None:
            return super().select(None)
        self.loop.pass_time(timeout)
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """The loop; `time` begins at 0."""

    def __init__(self) -> None:
        self._virtual = 0.0
        self.threads_at_work = 0
        selector = _Selector()
        super().__init__(selector)
        selector.loop = self

    def time(self) -> float:
        """Seconds, as they passed here."""
        return self._virtual

    def pass_time(self, seconds: float) -> None:
        """Let so much time pass."""
        self._virtual += seconds

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> "asyncio.Future[T]":
        """As always; time stands still until it is done."""
        self.threads_at_work += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._thread_ended)
        return future

    def _thread_ended(self, _: object) -> None:
        self.threads_at_work -= 1


def run(main: Awaitable[T]) -> T:
    """Run it on such a loop."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(_await(main))


async def _await(main: Awaitable[T]) -> T:
    return await main
