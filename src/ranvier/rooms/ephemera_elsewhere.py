"""Typing and presence among the processes of one server.

Each tells the others of what its own requests change, as it is from now on and for how long: a message that is lost
heals with the next, or with time.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import orjson

from ranvier.protocol.presence import STATES, read_updates
from ranvier.rooms.presence import Presences, Said
from ranvier.rooms.typing import MAX_TIMEOUT, Typing

TYPING: Final = "typing"
PRESENCE: Final = "presence"
WHO: Final = "who"
"""The topics; the last asks all to tell who is there with them."""
Publish = Callable[[str, bytes], None]
_WAITING: Final = 20_000
_UPDATES: Final = 20
"""Users of another server in one message."""

_log = logging.getLogger("ranvier.rooms")


class EphemeraElsewhere:
    """Tells, and hears. `me` is this process's id; `publish` takes a topic and a message."""

    def __init__(self, me: str, typing: Typing, presences: Presences, publish: Publish) -> None:
        self._me = me
        self._typing = typing
        self._presences = presences
        self._publish = publish
        self._waiting: deque[list[Any]] = deque(maxlen=_WAITING)
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        typing.share_by(self._tell_typing)
        presences.share_by(self._tell_presence, self._tell_peers)

    def start(self) -> None:
        """Begin to hear."""
        self._task = asyncio.create_task(self._run(), name="ephemera-elsewhere")

    async def stop(self) -> None:
        """Hear no more."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def ask(self) -> None:
        """Something may have been missed: the others should tell who is there."""
        self._publish(WHO, orjson.dumps([self._me]))

    # Telling

    def _tell_typing(self, room: int, user_id: str, timeout: int) -> None:
        self._publish(TYPING, orjson.dumps([self._me, room, user_id, timeout]))

    def _tell_presence(self, said: Said) -> None:
        self._publish(PRESENCE, orjson.dumps([self._me, *said]))

    def _tell_peers(self, origin: str, push: list[Any]) -> None:
        for start in range(0, len(push), _UPDATES):
            part = {"push": push[start : start + _UPDATES]}
            self._publish(PRESENCE, orjson.dumps([self._me, origin, part]))

    # Hearing

    def hear_typing(self, body: bytes) -> None:
        """Somebody types at another process, or no longer does."""
        match _read(body):
            case [str(process), int(room), str(user_id), int(timeout)] if process != self._me:
                self._typing.hear(room, user_id, min(timeout, MAX_TIMEOUT))

    def hear_presence(self, body: bytes) -> None:
        """What another process says of a user, or heard from another server."""
        told = _read(body)
        if len(told) > 1 and told[0] != self._me:
            self._waiting.append(told)
            self._news.set()

    def hear_who(self, body: bytes) -> None:
        """Another process wants to know who is there."""
        if _read(body) != [self._me]:
            self._presences.tell_all()

    async def _run(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            while self._waiting:
                told = self._waiting.popleft()
                try:
                    await self._take(told)
                except Exception:
                    _log.warning("what another process said of a user could not be used", exc_info=True)

    async def _take(self, told: list[Any]) -> None:
        match told:
            case [str(process), str(user_id), (str() | None) as status, int(ago), [*devices]]:
                said = [(state, left) for state, left in devices if state in STATES and isinstance(left, int)]
                await self._presences.hear_elsewhere(process, Said(user_id, status, ago, said))
            case [_, str(origin), dict(content)]:
                await self._presences.hear(read_updates(content, origin))


def _read(body: bytes) -> list[Any]:
    with contextlib.suppress(ValueError):
        told = orjson.loads(body)
        if isinstance(told, list):
            return told
    return []
