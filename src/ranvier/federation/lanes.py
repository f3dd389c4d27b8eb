"""Which destinations are sent to at the same time.

There are two lanes. Who answers promptly never waits for those who don't: a transaction that takes long leaves its
place in the first lane to the next, and servers known to be slow, or to be away, begin in the second one.
"""

from collections import deque
from typing import Final

from ranvier.federation.destinations import Destination

PATIENCE_S: Final = 3.0
"""A transaction that takes longer is slow."""
PROMPT: Final = 128
SLOW: Final = 1_000
"""Transactions under way at once, in either lane."""


class Lanes:
    """Places for transactions under way, and who waits for one."""

    def __init__(self, prompt: int = PROMPT, slow: int = SLOW) -> None:
        self._places = {False: prompt, True: slow}
        self._taken: dict[str, bool] = {}
        self._waiting: dict[bool, deque[Destination]] = {False: deque(), True: deque()}

    @property
    def under_way(self) -> int:
        """Transactions under way."""
        return len(self._taken)

    @property
    def waiting(self) -> int:
        """Destinations that wait for a place."""
        return sum(map(len, self._waiting.values()))

    def line_up(self, destination: Destination) -> None:
        """The destination has something to be sent."""
        if not destination.ready:
            destination.ready = True
            self._waiting[destination.slow].append(destination)

    def next(self) -> Destination | None:
        """A destination whose turn it is; it has its place from now on."""
        for slow, waiting in self._waiting.items():
            if waiting and self._places[slow] > 0:
                destination = waiting.popleft()
                destination.ready = False
                self._take(destination.name, slow)
                return destination
        return None

    def step_aside(self, destination: Destination) -> bool:
        """It takes long: leave the place in the first lane, if the second has one; False if it has none."""
        destination.slow = True
        if self._taken.get(destination.name) is not False:
            return True
        if self._places[True] == 0:
            return False
        self.leave(destination)
        self._take(destination.name, True)
        return True

    def leave(self, destination: Destination) -> None:
        """Its transaction has ended, in one way or the other."""
        self._places[self._taken.pop(destination.name)] += 1

    def _take(self, name: str, slow: bool) -> None:
        self._taken[name] = slow
        self._places[slow] -= 1
