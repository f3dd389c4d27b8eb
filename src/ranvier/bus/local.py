"""The bell among the parts of one process.

It says that the log has come from one position to another, and for whom. It may lose everything and only time is
lost: who misses a ring reads the gap from the log.
"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ring:
    """The log has entries with `previous < position <= position` for these audiences."""

    previous: int
    position: int
    audiences: frozenset[str]


class Bell:
    """Rings for everyone who listens, in the order in which they began to."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[Ring], None]] = []
        self._closers: list[Callable[[], None]] = []
        self.is_closing = False

    def listen(self, hear: Callable[[Ring], None]) -> None:
        """Call `hear` at every ring; it must return at once and raise nothing."""
        self._listeners.append(hear)

    def ring(self, ring: Ring) -> None:
        """Tell all."""
        for hear in self._listeners:
            hear(ring)

    def when_closing(self, call: Callable[[], None]) -> None:
        """Call this once when the process begins to stop: those who wait for a ring must answer without it."""
        self._closers.append(call)

    def close(self) -> None:
        """The process stops; nobody should wait any longer."""
        self.is_closing = True
        for call in self._closers:
            call()
