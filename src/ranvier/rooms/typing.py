"""Who is typing where: kept in memory only, with a counter that sync tokens carry."""

import asyncio
from collections.abc import Callable, Iterable

from ranvier.rooms.moments import Moments
from ranvier.store.log import room_audience

MAX_TIMEOUT = 120_000
"""Milliseconds for which a client may say at most that its user types."""
_IDLE_ROOMS = 10_000
_SECOND = 1.0


class Typing:
    """Rooms with people typing. `wake` is called with the audience that must hear of a change."""

    def __init__(self, now: Callable[[], int], wake: Callable[[str], None], moments: Moments) -> None:
        self._now = now
        self._wake = wake
        self._moments = moments
        self._until: dict[int, dict[str, int]] = {}
        self._changed: dict[int, int] = {}
        self.counter = 0
        self._clock: asyncio.TimerHandle | None = None
        self._listeners: list[Callable[[int, str, bool], None]] = []
        self._share: Callable[[int, str, int], None] = lambda room, user_id, timeout: None

    def when_changed(self, call: Callable[[int, str, bool], None]) -> None:
        """Call this, on the loop, with the room and the user when somebody begins or ends to type."""
        self._listeners.append(call)

    def share_by(self, share: Callable[[int, str, int], None]) -> None:
        """Call this with the room, the user and the milliseconds (0: no longer) for those in other processes."""
        self._share = share

    def hear(self, room: int, user_id: str, timeout: int) -> None:
        """The same, from another process."""
        if timeout > 0:
            self._begin(room, user_id, timeout)
        else:
            self._end(room, user_id)

    def start(self) -> None:
        """Let typing end by itself from now on."""
        self._clock = asyncio.get_running_loop().call_later(_SECOND, self._tick)

    def stop(self) -> None:
        """Stop the clock."""
        if self._clock is not None:
            self._clock.cancel()

    def _tick(self) -> None:
        self.expire()
        self.start()

    def begin(self, room: int, user_id: str, timeout: int) -> None:
        """The user types for so many milliseconds, unless they say otherwise before."""
        self._begin(room, user_id, timeout)
        self._share(room, user_id, timeout)

    def _begin(self, room: int, user_id: str, timeout: int) -> None:
        typing = self._until.setdefault(room, {})
        known = user_id in typing
        typing[user_id] = self._now() + min(timeout, MAX_TIMEOUT)
        if not known:
            self._tell(room, user_id, True)
            self._change(room)

    def end(self, room: int, user_id: str) -> None:
        """The user has stopped, or sent what they typed."""
        if self._end(room, user_id):
            self._share(room, user_id, 0)

    def _end(self, room: int, user_id: str) -> bool:
        typing = self._until.get(room)
        if typing is None or typing.pop(user_id, None) is None:
            return False
        self._tell(room, user_id, False)
        self._change(room)
        return True

    def expire(self) -> None:
        """Drop those whose time is over."""
        now = self._now()
        for room, typing in list(self._until.items()):
            over = [user_id for user_id, until in typing.items() if until <= now]
            for user_id in over:
                del typing[user_id]
                self._tell(room, user_id, False)
            if over:
                self._change(room)

    def users(self, room: int) -> list[str]:
        """Who types in a room, in a settled order."""
        return sorted(self._until.get(room, ()))

    def changed(self, rooms: Iterable[int], epoch: str, counter: int) -> list[int]:
        """Those of the rooms whose typing changed since a counter; those with anybody typing for another epoch."""
        if epoch != self._moments.epoch:
            return [room for room in rooms if self._until.get(room)]
        if counter >= self.counter:
            return []
        return [room for room in rooms if self._changed.get(room, 0) > counter]

    def _tell(self, room: int, user_id: str, is_typing: bool) -> None:
        for call in self._listeners:
            call(room, user_id, is_typing)

    def _change(self, room: int) -> None:
        self.counter = self._moments.next()
        # Insertion order is order of change, so that the longest unchanged rooms come first.
        self._changed.pop(room, None)
        self._changed[room] = self.counter
        if not self._until.get(room):
            self._until.pop(room, None)
        while len(self._changed) > _IDLE_ROOMS:
            del self._changed[next(iter(self._changed))]
        self._wake(room_audience(room))
