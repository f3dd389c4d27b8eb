"""The seam to the other processes: short messages that may be lost, doubled or late, and then only time is lost."""

from collections.abc import Callable
from typing import Protocol

Hear = Callable[[bytes], None]


class Channel(Protocol):
    """Messages between processes, by topic. What a process publishes it may hear itself."""

    async def start(self) -> None:
        """Begin to hear; answers at once, even where nobody can be reached yet."""
        ...

    async def stop(self) -> None:
        """Hear and say no more."""
        ...

    def publish(self, topic: str, body: bytes) -> None:
        """Say it to all: returns at once, never raises, and drops what can't be said. `body` is JSON."""
        ...

    def subscribe(self, topic: str, hear: Hear) -> None:
        """Call `hear` with each message, on the loop; it must return at once. Before `start`."""
        ...

    def when_back(self, call: Callable[[], None]) -> None:
        """Call this whenever messages may have been lost."""
        ...
