"""The clock of what lives in memory only: typing and presence.

An epoch names this memory: a client whose token names another one is sent what is true now. Where several processes
answer, they tell each other what changes, and number changes by the database's time in milliseconds: so a token of one
can be continued from at another that was there all the while.
"""

import secrets
from collections.abc import Callable
from typing import Final

_CHARACTERS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_MARGIN_MS: Final = 300
"""How much later one process may hear of a change than another; what changed within it may be told twice."""


class Moments:
    """One counter for all of it, so that one number in a sync token tells how much of it the client has heard.

    `now` is milliseconds since the epoch by a clock that all processes share, where there can be several.
    """

    def __init__(self, now: Callable[[], int] | None = None) -> None:
        self.epoch = "".join(secrets.choice(_CHARACTERS) for _ in range(8))
        self.counter = 0
        """The number of the last change."""
        self._now = now
        self._began: int | None = None
        self._given = 0

    def next(self) -> int:
        """The number of a change that happens now."""
        self.counter = max(self.counter, self._given) + 1
        if self._now is not None:
            self.counter = max(self.counter, self._begin(self._now))
        return self.counter

    def mark(self) -> int:
        """The number for a token that is given now: what changes from now on has a higher one."""
        if self._now is None:
            return self.counter
        self._given = max(self._given, self.counter, self._begin(self._now))
        return self._given

    def since(self, epoch: str, counter: int) -> int | None:
        """What a token's number is here; None if what changed since then can't be told."""
        if epoch == self.epoch:
            return counter
        if self._now is None:
            return None
        self._begin(self._now)
        assert self._began is not None
        return counter - _MARGIN_MS if counter - _MARGIN_MS >= self._began else None

    def _begin(self, now: Callable[[], int]) -> int:
        time = now()
        if self._began is None:
            self._began = time
        return time
