"""Work that is noted in the store by key and takes long: each key's is done by one process, in a task of its own."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Final

from ranvier.store.database import Fence
from ranvier.store.shares import Shares

_LOOK_S: Final = 10.0
"""Between two looks for what other processes noted: they tell of it, but perhaps in vain."""

_log = logging.getLogger("ranvier.store")


class Errands:
    """Does what is noted, and what will be: `find` answers the keys of all that is, `run` does one key's.

    What `run` did not finish stays noted; whoever has the key's portion next takes it up again.
    """

    def __init__(
        self,
        shares: Shares,
        find: Callable[[], Awaitable[Iterable[str]]],
        run: Callable[[str, Fence], Awaitable[None]],
    ) -> None:
        self._shares = shares
        self._find = find
        self._run = run
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._look = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Do what is noted, from now on."""
        self._looking = asyncio.create_task(self._look_through(), name=f"looking for {self._shares.name}")
        await self._shares.begin(self)

    async def stop(self) -> None:
        """Leave the rest to others, or for the next start."""
        if self._looking is not None:
            self._looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._looking
        await self._shares.stop()

    def note(self, key: str) -> None:
        """Something was noted: it is done here, or by another process."""
        self._shares.call(key)

    async def until_done(self) -> None:
        """Wait for everything that is being done here."""
        await asyncio.gather(*self._tasks.values())

    async def gain(self, portions: Collection[int]) -> None:
        """Do these, too."""
        self._look.set()

    async def leave(self, portions: Collection[int]) -> None:
        """Leave these to another process."""
        tasks = [task for key, task in self._tasks.items() if self._shares.portion_of(key) in portions]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def lose(self, portions: Collection[int]) -> None:
        """Another process may do these already."""
        await self.leave(portions)

    def call(self, key: str) -> None:
        """Do this key's."""
        fence = self._shares.fence(key)
        if fence is not None and key not in self._tasks:
            task = asyncio.create_task(self._try(key, fence), name=f"{self._shares.name}: {key}")
            self._tasks[key] = task
            task.add_done_callback(lambda _: self._tasks.pop(key))

    async def _try(self, key: str, fence: Fence) -> None:
        try:
            await self._run(key, fence)
        except Exception:
            # It stays noted.
            self._look_again()
            _log.exception("what was noted could not be done", extra={"queue": self._shares.name, "key": key})

    async def _look_through(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if self._shares.is_solitary else _LOOK_S):
                    await self._look.wait()
            self._look.clear()
            try:
                for key in await self._find():
                    if self._shares.holds(key):
                        self.call(key)
            except Exception:
                self._look_again()
                _log.exception("it could not be read what is noted", extra={"queue": self._shares.name})

    def _look_again(self) -> None:
        asyncio.get_running_loop().call_later(_LOOK_S, self._look.set)
