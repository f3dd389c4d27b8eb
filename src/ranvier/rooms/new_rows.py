"""Numbers and the time for what is about to be kept, outside of the writer's batches."""

import asyncio
from collections.abc import Callable, Mapping

from ranvier.protocol.events import Event
from ranvier.store.events import Judgement, StoredEvent
from ranvier.store.numbers import Numbers, NumbersExhausted
from ranvier.store.state import Root


class NewRows:
    """Makes rows of events; waits where more numbers were taken than are in reserve."""

    def __init__(self, numbers: Mapping[str, Numbers], now: Callable[[], int]) -> None:
        self._numbers = numbers
        self._now = now

    async def number(self, name: str) -> int:
        """The next number of a counter: "room", "event" or "line"."""
        while True:
            try:
                return self._numbers[name].take()
            except NumbersExhausted:
                await asyncio.sleep(0.001)

    async def event(
        self,
        room: int,
        event: Event,
        judgement: Judgement,
        root: Root = Root(0, 0),  # noqa: B008
        *,
        known: StoredEvent | None = None,
    ) -> StoredEvent:
        """An event of a room, with the state before it; with the number of the outlier that it was until now."""
        return StoredEvent(
            known.nid if known is not None else await self.number("event"),
            room,
            event,
            state_line=root.line,
            state_version=root.version,
            received_ts=self._now(),
            judgement=judgement,
        )
