"""PostgreSQL's LISTEN and NOTIFY as the channel, over a connection of its own.

A message holds less than 8,000 bytes. Behind a pooler that gives each transaction another connection this does not
work: see `bus.silence`.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

import asyncpg

from ranvier.bus.channel import Hear

CHANNEL: Final = "ranvier"
"""One for each database, as PostgreSQL keeps channels apart by database. A payload is a topic, a space, the body."""
_LONGEST: Final = 7_900
_WAITING: Final = 1_000
"""Messages that wait to be said; further ones are dropped."""
_AGAIN_S: Final = 0.5
_LOOK_S: Final = 10.0
"""Between two looks whether the connection is still there."""
_PATIENCE_S: Final = 5.0

_log = logging.getLogger("ranvier.bus")


class Listen:
    """The channel; `arguments` are asyncpg's for a connection."""

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        self._arguments = arguments
        self._topics: dict[str, Hear] = {}
        self._back: list[Callable[[], None]] = []
        self._waiting: deque[str] = deque(maxlen=_WAITING)
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._is_there = False

    async def start(self) -> None:
        """Begin to hear."""
        self._task = asyncio.create_task(self._run(), name="listening")

    async def stop(self) -> None:
        """Hear no more; what waits is said if that is soon done."""
        if self._task is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_AGAIN_S):
                while self._waiting and self._is_there:  # noqa: ASYNC110 - it is seldom and short
                    await asyncio.sleep(0.01)
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    def publish(self, topic: str, body: bytes) -> None:
        """Say it soon."""
        if self._is_there and len(body) + len(topic) < _LONGEST:
            self._waiting.append(f"{topic} {body.decode()}")
            self._news.set()

    def subscribe(self, topic: str, hear: Hear) -> None:
        """Hear of a topic."""
        self._topics[topic] = hear

    def when_back(self, call: Callable[[], None]) -> None:
        """After each new connection."""
        self._back.append(call)

    async def _run(self) -> None:
        while True:
            try:
                connection = await asyncpg.connect(timeout=_PATIENCE_S, **self._arguments)
            except Exception as error:
                _log.warning("PostgreSQL's notifications can't be heard", extra={"error": str(error)})
                await asyncio.sleep(_AGAIN_S)
                continue
            try:
                await self._follow(connection)
            except Exception as error:
                _log.warning("PostgreSQL's notifications were lost for a while", extra={"error": str(error)})
                await asyncio.sleep(_AGAIN_S)
            finally:
                self._is_there = False
                connection.terminate()

    async def _follow(self, connection: Any) -> None:
        connection.add_termination_listener(lambda _: self._news.set())
        await connection.add_listener(CHANNEL, self._heard)
        self._waiting.clear()
        self._is_there = True
        for call in self._back:
            call()
        while not connection.is_closed():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await self._news.wait()
            self._news.clear()
            waiting = list(self._waiting)
            self._waiting.clear()
            await connection.execute(
                "SELECT pg_notify($1, body) FROM unnest($2::text[]) AS body",
                CHANNEL,
                waiting,
                timeout=_PATIENCE_S,
            )

    def _heard(self, connection: Any, pid: int, channel: str, payload: object) -> None:
        topic, _, body = str(payload).partition(" ")
        hear = self._topics.get(topic)
        if hear is not None:
            hear(body.encode())
