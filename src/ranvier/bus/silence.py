"""No channel: one process, or several that find out by looking at the log each second."""

from collections.abc import Callable

from ranvier.bus.channel import Hear


class Silence:
    """Says and hears nothing."""

    async def start(self) -> None:
        """There is nothing to hear."""

    async def stop(self) -> None:
        """There was nothing to hear."""

    def publish(self, topic: str, body: bytes) -> None:
        """Nobody hears it."""

    def subscribe(self, topic: str, hear: Hear) -> None:
        """Nothing will be heard."""

    def when_back(self, call: Callable[[], None]) -> None:
        """It never was there."""
