"""What other servers are still to be sent, in memory.

A destination that is up to date has what is new for it queued here. One that fell behind (it did not answer, or more
came than is queued) has nothing queued: it is brought up to date from the log and the timelines, from the position
that it reached.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from ranvier.federation.edus import Edu
from ranvier.rooms.receipts import Receipt
from ranvier.store.events import StoredEvent
from ranvier.store.sending import Lag
from ranvier.store.shares import Shares

_QUEUED: Final = 200
"""Things of one kind that are queued for a destination; more make it fall behind."""
_EPHEMERA: Final = 500
_REMEMBERED: Final = 5_000
"""Destinations that are remembered though they lack nothing."""


class Queued(NamedTuple):
    """An event, and the position that tells of it."""

    position: int
    kept: StoredEvent


class DeviceNews(NamedTuple):
    """A user's devices changed after `stream_id` of the user's sequence (None: whatever it has), by a position."""

    position: int
    stream_id: int | None
    cross_signing: bool


@dataclass(frozen=True, slots=True)
class Transaction:
    """What is sent at once, made at a time (ms since the epoch), and how far the destination is once it has it.

    `place` is that of the last of the messages to devices in it. `is_lasting`: it holds more than what is true for a
    moment only.
    """

    txn_id: str
    made_ts: int
    pdus: list[dict[str, Any]]
    edus: list[Edu]
    lag: Lag
    place: int | None
    is_lasting: bool


@dataclass(slots=True)
class Destination:
    """One other server.

    `done`: everything up to this position was handed over or is not meant for it; it only counts while something is
    queued, pending, or `behind`. `done_ts` is a time (ms since the epoch) before anything later was written. While it
    catches up by room, `by_room` is (room, version, caught up at) as in `Lag`. `pending` are transactions that it must
    get before anything else; while one is `building`, what goes into it is neither queued nor pending. `not_before` and
    `due` are times of the loop: until when it is left alone, and from when what can wait for company is sent.
    """

    name: str
    portion: int
    done: int = 0
    done_ts: int = 0
    behind: bool = False
    by_room: tuple[int, int, int] | None = None
    pdus: deque[Queued] = field(default_factory=deque)
    receipts: dict[tuple[str, str, str | None], tuple[int, Receipt]] = field(default_factory=dict)
    devices: dict[str, DeviceNews] = field(default_factory=dict)
    devices_read_until: int = 0
    typing: dict[tuple[str, str], bool] = field(default_factory=dict)
    presence: dict[str, dict[str, Any]] = field(default_factory=dict)
    to_device: bool = False
    held_back: int = 0
    sending: bool = False
    building: bool = False
    pending: deque[Transaction] = field(default_factory=deque)
    slow: bool = False
    ready: bool = False
    not_before: float = 0.0
    reminder: float | None = None
    due: float | None = None
    failures: int = 0

    @property
    def is_open(self) -> bool:
        """Whether anything that has a position is still to be handed over."""
        return bool(
            self.behind or self.building or self.pending or self.pdus or self.receipts or self.devices
        )

    @property
    def has_work(self) -> bool:
        """Whether there is anything to send."""
        return self.is_open or self.to_device or bool(self.typing or self.presence)

    @property
    def is_urgent(self) -> bool:
        """Whether any of it should go without waiting for more."""
        return bool(self.behind or self.pending or self.pdus or self.devices or self.typing or self.to_device)

    def begin(self, position: int, now: int) -> None:
        """Something with a position is about to be queued: remember how far the destination was until then."""
        if not self.is_open:
            self.done, self.done_ts = position - 1, now

    def add_pdu(self, position: int, kept: StoredEvent, now: int) -> None:
        """Queue an event."""
        if self.behind:
            return
        self.begin(position, now)
        self.pdus.append(Queued(position, kept))
        if len(self.pdus) > _QUEUED:
            self.fall_behind()

    def add_receipt(self, position: int, room_id: str, receipt: Receipt, now: int) -> None:
        """Queue a receipt in place of an older one."""
        if self.behind:
            return
        self.begin(position, now)
        key = (room_id, receipt.user_id, receipt.thread)
        # The older one's position stays: until then nothing is known to be missing.
        first = self.receipts[key][0] if key in self.receipts else position
        self.receipts[key] = (first, receipt)
        if len(self.receipts) > _QUEUED:
            self.fall_behind()

    def add_devices(self, news: DeviceNews, user_id: str, now: int) -> None:
        """Queue that a user's devices changed."""
        if self.behind:
            return
        self.begin(news.position, now)
        known = self.devices.get(user_id)
        if known is not None:
            news = DeviceNews(known.position, known.stream_id, known.cross_signing or news.cross_signing)
        self.devices[user_id] = news
        if len(self.devices) > _QUEUED:
            self.fall_behind()

    def add_typing(self, room_id: str, user_id: str, *, typing: bool) -> None:
        """Queue what a user does now; it is for destinations that are there, and only the newest counts."""
        if not self.behind and len(self.typing) < _EPHEMERA:
            self.typing[room_id, user_id] = typing

    def add_presence(self, user_id: str, update: dict[str, Any]) -> None:
        """Queue how a user is now."""
        if not self.behind and (len(self.presence) < _EPHEMERA or user_id in self.presence):
            self.presence[user_id] = update

    def fall_behind(self) -> None:
        """Forget what is queued: it is in the log."""
        self.behind = True
        self.devices_read_until = 0
        for queue in (self.pdus, self.receipts, self.devices, self.typing, self.presence):
            queue.clear()

    def settle(self, transaction: Transaction) -> None:
        """It has the first of the pending transactions, which is this one."""
        self.pending.popleft()
        self.failures = 0
        self.take(transaction.lag)

    def take(self, lag: Lag) -> None:
        """It is as far as this."""
        self.done, self.done_ts = lag.position, lag.position_ts
        self.by_room = None if lag.caught_up_at is None else (lag.room, lag.version, lag.caught_up_at)

    def lag(self) -> Lag:
        """How far it is, to be kept."""
        room, version, caught_up_at = self.by_room or (0, 0, None)
        return Lag(self.name, self.done, self.done_ts, room, version, caught_up_at)

    def first_queued(self) -> int | None:
        """The lowest position of anything queued."""
        positions = [position for position, _ in self.receipts.values()]
        positions += [news.position for news in self.devices.values()]
        if self.pdus:
            positions.append(self.pdus[0].position)
        return min(positions, default=None)


class Destinations:
    """All destinations that are sent to from this process, or lately were.

    Of all the portions of destinations those are `open` that this process holds, and knows everything of that was
    there before it did.
    """

    def __init__(self, shares: Shares) -> None:
        self.shares = shares
        self.open: set[int] = set()
        self._by_name: dict[str, Destination] = {}
        self._wake: Callable[[Destination, float], None] = lambda destination, linger: None

    def __iter__(self) -> Iterator[Destination]:
        return iter(list(self._by_name.values()))

    def find(self, name: str) -> Destination | None:
        """The destination, if it is remembered."""
        return self._by_name.get(name)

    def of(self, portions: Collection[int]) -> list[Destination]:
        """The destinations of some portions that are remembered."""
        return [destination for destination in self._by_name.values() if destination.portion in portions]

    def mine(self, names: Iterable[str], portions: Collection[int] | None = None) -> Iterator[Destination]:
        """Those of the destinations that this process sends to; or those of some portions."""
        wanted = self.open if portions is None else portions
        for name in names:
            found = self._by_name.get(name)
            if found is not None:
                if found.portion in wanted:
                    yield found
            elif (portion := self.shares.portion_of(name)) in wanted:
                yield self._add(name, portion)

    def may_send(self, destination: Destination) -> bool:
        """Whether something may be sent to it from this process, now."""
        return destination.portion in self.open and self.shares.has(destination.portion)

    def when_woken(self, call: Callable[[Destination, float], None]) -> None:
        """Call this with each destination that got something to be sent, and the seconds that it may wait."""
        self._wake = call

    def wake(self, destination: Destination, linger: float = 0.0) -> None:
        """Something is queued for it; it may wait for so many seconds for more."""
        self._wake(destination, linger)

    def close(self, portions: Collection[int]) -> None:
        """Other processes send to these from now on."""
        self.open.difference_update(portions)
        for destination in self.of(portions):
            del self._by_name[destination.name]

    def _add(self, name: str, portion: int) -> Destination:
        if len(self._by_name) >= _REMEMBERED and len(self._by_name) % 500 == 0:
            self._forget()
        made = self._by_name[name] = Destination(name, portion)
        return made

    def _forget(self) -> None:
        """Those that lack nothing need not be remembered."""
        for name, destination in list(self._by_name.items()):
            if not (destination.has_work or destination.sending):
                del self._by_name[name]
