"""When an event last came from some servers, and went to them: what those who watch the server want to be told of."""

from collections.abc import Callable, Collection


class LastPdus:
    """Notes it of the nominated servers, in seconds since the epoch. `now` is milliseconds since the epoch."""

    def __init__(self, nominated: Collection[str], now: Callable[[], int]) -> None:
        self._nominated = frozenset(nominated)
        self._now = now
        self.received: dict[str, float] = {}
        self.sent: dict[str, float] = {}

    def came(self, origin: str) -> None:
        """An event that may be used came from it."""
        if origin in self._nominated:
            self.received[origin] = self._now() / 1000

    def went(self, destination: str) -> None:
        """It took an event."""
        if destination in self._nominated:
            self.sent[destination] = self._now() / 1000
