"""Clients that wait for news, found by what they wait for.

A *session* belongs to a user with requests waiting or just answered. It follows audiences (the user, their devices,
their rooms), and is woken by an entry for any of them. Sessions outlive a request, so that a long-poll that comes back
finds its audiences in place; idle ones are dropped.
"""

import asyncio
from collections.abc import Iterable

from ranvier.bus.local import Ring

_SESSIONS = 20_000
_DEVICES = 100
"""Devices of a user that are followed at once."""
SPACING = 0.05
"""Seconds between two answers that one device waits for: what comes in between goes into one answer."""
_FEW = 100


class Session:
    """One user's waiting requests, and the audiences that wake them. `wakes` counts how often they were woken."""

    __slots__ = ("answered", "audiences", "rooms", "user_id", "waiting", "wakes")

    def __init__(self, user_id: str) -> None:
        self.user_id = user_id
        self.audiences: set[str] = set()
        self.rooms: frozenset[str] = frozenset()
        self.waiting: set[asyncio.Future[bool]] = set()
        self.wakes = 0
        self.answered: dict[str | None, float] = {}

    def early(self, device_id: str | None, now: float) -> float:
        """Seconds for which news should gather yet, as this device was answered just before; 0 or less if none."""
        return self.answered.get(device_id, -SPACING) + SPACING - now

    def answer(self, device_id: str | None, now: float) -> None:
        """A device is answered."""
        if len(self.answered) > _DEVICES:
            self.answered.clear()
        self.answered[device_id] = now

    def wake(self) -> None:
        """End all waits."""
        self.wakes += 1
        for future in self.waiting:
            if not future.done():
                future.set_result(True)
        self.waiting.clear()


class Waiting:
    """All sessions of this process."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}
        self._by_audience: dict[str, set[Session]] = {}
        self._closing = False

    def session(self, user_id: str, own: Iterable[str], rooms: frozenset[str]) -> Session:
        """The user's session, following these audiences and exactly these rooms."""
        session = self._sessions.get(user_id)
        if session is None:
            self._drop_idle()
            session = self._sessions[user_id] = Session(user_id)
        if len(session.audiences) - len(session.rooms) > _DEVICES:
            self._leave_devices(session)
        for audience in own:
            if audience not in session.audiences:
                self._follow(session, audience)
        # The same set of rooms is the same object as long as no membership changes.
        if session.rooms is not rooms:
            for audience in rooms - session.rooms:
                self._follow(session, audience)
            for audience in session.rooms - rooms:
                self._leave(session, audience)
            session.rooms = rooms
        return session

    def _follow(self, session: Session, audience: str) -> None:
        session.audiences.add(audience)
        self._by_audience.setdefault(audience, set()).add(session)

    def _leave(self, session: Session, audience: str) -> None:
        session.audiences.discard(audience)
        followers = self._by_audience[audience]
        followers.discard(session)
        if not followers:
            del self._by_audience[audience]

    def _leave_devices(self, session: Session) -> None:
        """Forget devices, which come and go; those that wait are woken, and come back for theirs."""
        for audience in session.audiences - session.rooms:
            self._leave(session, audience)
        session.wake()

    def _drop_idle(self) -> None:
        if len(self._sessions) < _SESSIONS:
            return
        for user_id, session in list(self._sessions.items())[: _SESSIONS // 10]:
            if not session.waiting:
                del self._sessions[user_id]
                for audience in list(session.audiences):
                    self._leave(session, audience)

    async def wait(self, session: Session, wakes: int, seconds: float) -> bool:
        """Wait until the session was woken more than `wakes` times; False if the time passed without."""
        if session.wakes != wakes or self._sessions.get(session.user_id) is not session:
            # It was woken, or dropped as idle, while its request looked for news.
            return True
        if self._closing:
            return False
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bool] = loop.create_future()
        session.waiting.add(future)
        timer = loop.call_later(seconds, _end, future)
        try:
            return await future
        finally:
            timer.cancel()
            session.waiting.discard(future)

    def wake(self, audience: str) -> None:
        """Wake those who follow an audience."""
        for session in self._by_audience.get(audience, ()):
            session.wake()

    def wake_few(self, audiences: Iterable[str]) -> None:
        """Wake those who follow one of the audiences, but not where that would be many: it can wait for other news."""
        for audience in audiences:
            if len(self._by_audience.get(audience, ())) <= _FEW:
                self.wake(audience)

    def hear(self, ring: Ring) -> None:
        """The bell rang: the log has news."""
        for audience in ring.audiences:
            self.wake(audience)

    def close(self) -> None:
        """End all waits, now and from now on: the server stops."""
        self._closing = True
        for session in self._sessions.values():
            for future in session.waiting:
                _end(future)


def _end(future: "asyncio.Future[bool]") -> None:
    if not future.done():
        future.set_result(False)
