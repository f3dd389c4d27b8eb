"""Clients that wait for news, found by what they wait for.

A *session* belongs to a user with requests waiting or just answered. It follows audiences (the user, their devices,
their rooms), and is woken by an entry for any of them. Sessions outlive a request, so that a long-poll that comes back
finds its audiences in place; idle ones are dropped.
"""

import asyncio
from collections.abc import Iterable, Sequence

from ranvier.store.database import Entry

_SESSIONS = 20_000


class Session:
    """One user's waiting requests, and the audiences that wake them."""

    __slots__ = ("audiences", "user_id", "waiting")

    def __init__(self, user_id: str) -> None:
        self.user_id = user_id
        self.audiences: set[str] = set()
        self.waiting: set[asyncio.Future[None]] = set()

    def wake(self) -> None:
        """End all waits."""
        for future in self.waiting:
            if not future.done():
                future.set_result(None)
        self.waiting.clear()


class Waiting:
    """All sessions of this process."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}
        self._by_audience: dict[str, set[Session]] = {}
        self._closing = False

    def session(self, user_id: str, audiences: Iterable[str]) -> Session:
        """The user's session, following these audiences besides those it follows already."""
        session = self._sessions.get(user_id)
        if session is None:
            self._drop_idle()
            session = self._sessions[user_id] = Session(user_id)
        for audience in audiences:
            if audience not in session.audiences:
                session.audiences.add(audience)
                self._by_audience.setdefault(audience, set()).add(session)
        return session

    def unfollow(self, user_id: str, audience: str) -> None:
        """Stop following an audience, as when the user left a room."""
        session = self._sessions.get(user_id)
        if session is not None and audience in session.audiences:
            session.audiences.discard(audience)
            self._remove(audience, session)

    def _remove(self, audience: str, session: Session) -> None:
        followers = self._by_audience[audience]
        followers.discard(session)
        if not followers:
            del self._by_audience[audience]

    def _drop_idle(self) -> None:
        if len(self._sessions) < _SESSIONS:
            return
        for user_id, session in list(self._sessions.items())[: _SESSIONS // 10]:
            if not session.waiting:
                del self._sessions[user_id]
                for audience in session.audiences:
                    self._remove(audience, session)

    async def wait(self, session: Session, seconds: float) -> bool:
        """Wait to be woken; False if the time passed without news."""
        if self._closing:
            return False
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        session.waiting.add(future)
        timer = asyncio.get_running_loop().call_later(seconds, _end, future)
        try:
            await future
        except asyncio.CancelledError:
            if not future.cancelled():
                raise
            return False
        finally:
            timer.cancel()
            session.waiting.discard(future)
        return True

    def wake(self, audience: str) -> None:
        """Wake those who follow an audience."""
        for session in self._by_audience.get(audience, ()):
            session.wake()

    def heard(self, entries: Sequence[Entry]) -> None:
        """Follow the log."""
        for audience in {entry.audience for entry in entries}:
            self.wake(audience)

    def close(self) -> None:
        """End all waits, now and from now on: the server stops."""
        self._closing = True
        for session in self._sessions.values():
            for future in session.waiting:
                _end(future)


def _end(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.cancel()
