"""What the composition has built so far: found by type for the endpoints, told of the log, started, stopped."""

import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Final, Protocol, TypeVar, runtime_checkable

from ranvier.bus.local import Bell, Ring
from ranvier.http.metrics import Family
from ranvier.store.database import Entry

Part = TypeVar("Part")
_log: Final = logging.getLogger("ranvier.main")


@runtime_checkable
class Hearing(Protocol):
    """A part that keeps something in memory which the log may change."""

    def heard(self, entries: Sequence[Entry]) -> None:
        """Entries were committed, in the order of their positions."""
        ...


@runtime_checkable
class Startable(Protocol):
    """A part that has something to do before the first request."""

    def start(self) -> Awaitable[None] | None:
        """Begin."""
        ...


@runtime_checkable
class Stoppable(Protocol):
    """A part that has something to finish after the last request."""

    def stop(self) -> Awaitable[None] | None:
        """End."""
        ...


@runtime_checkable
class Counting(Protocol):
    """A part that has figures for those who watch the server."""

    def families(self) -> Iterable[Family]:
        """The figures as they are now."""
        ...


class Parts:
    """All long-lived objects of a process, in the order in which they were built."""

    def __init__(self, bell: Bell) -> None:
        self.by_type: dict[type, object] = {}
        self.bell = bell
        self._hearing: list[Callable[[Sequence[Entry]], None]] = []
        self._startable: list[Startable] = []
        self._stoppable: list[Stoppable] = []
        self._counting: list[Counting] = []

    def add(self, part: Part, *, seen_as: type | None = None) -> Part:
        """Keep a part: endpoints may ask for it by its type (or `seen_as`), the log tells it if it is `Hearing`.

        It is started after all that were added before it, and stopped before them.
        """
        kind = seen_as or type(part)
        if kind in self.by_type:
            raise ValueError(f"two parts are of the type {kind.__name__}")
        self.by_type[kind] = part
        if isinstance(part, Hearing):
            self._hearing.append(part.heard)
        if isinstance(part, Startable):
            self._startable.append(part)
        if isinstance(part, Stoppable):
            self._stoppable.append(part)
        if isinstance(part, Counting):
            self._counting.append(part)
        return part

    def get(self, kind: type[Part]) -> Part:
        """The part of that type; raises `LookupError` if it was not built yet."""
        found = self.by_type.get(kind)
        if not isinstance(found, kind):
            raise LookupError(f"{kind.__name__} is not composed yet")
        return found

    def families(self) -> Iterator[Family]:
        """The figures of all parts that have any."""
        for part in self._counting:
            yield from part.families()

    def announce(self, entries: Sequence[Entry]) -> None:
        """What the writer committed: caches hear it first, then the bell rings for those who wait."""
        if not entries:
            return
        for heard in self._hearing:
            try:
                heard(entries)
            except Exception:
                # A bug in one part's memory must keep no other from hearing, and nobody waiting.
                _log.exception(
                    "a part did not take in what was committed", extra={"part": heard.__qualname__}
                )
        audiences = frozenset(entry.audience for entry in entries)
        self.bell.ring(Ring(entries[0].position - 1, entries[-1].position, audiences))

    async def start(self) -> None:
        """Start all, in order."""
        for part in self._startable:
            begun = part.start()
            if begun is not None:
                await begun

    async def stop(self) -> None:
        """Stop all, the last first; one that fails keeps no other from stopping."""
        failures: list[Exception] = []
        for part in reversed(self._stoppable):
            try:
                ended = part.stop()
                if ended is not None:
                    await ended
            except Exception as error:
                failures.append(error)
        self._stoppable.clear()
        if failures:
            raise ExceptionGroup("parts that did not stop in order", failures)
