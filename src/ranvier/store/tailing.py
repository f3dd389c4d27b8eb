"""The only door into the tail: what this process commits and what others did, in the order of the log.

Entries of other processes come with the bell, which may lose, double or delay anything; what it did not bring is read
from the table. Before they are heard they are filled: a part of the program that knows what they are about gives them
their payload where this process needs it (see `Fill`).
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from ranvier.store import log
from ranvier.store.database import Database, Entry, Unavailable
from ranvier.store.log import Tail
from ranvier.store.neighbours import Neighbours

Fill = Callable[[Sequence[Entry]], Awaitable[None]]
"""Gives entries of other processes their payload; those without one are legal for every reader of the log."""
Announce = Callable[[Sequence[Entry]], None]
Tell = Callable[[int, Sequence[Entry]], None]
"""Tells other processes of entries that this one committed; the position is the log's newest before them."""

_POLL_S: Final = 1.0
_PATIENCE_S: Final = 5.0
"""For which a request waits until the other processes know of this one again."""
_SPACING_S: Final = 0.005
"""Between two looks at what the bell brought: under load more is taken in at once."""
_GRACE_S: Final = 0.01
"""For which a message that came before its forerunner waits for it."""
_PIECES: Final = 1_000
_AT_ONCE: Final = 5_000

_log = logging.getLogger("ranvier.store")


@dataclass(slots=True)
class _Piece:
    """What the bell told: all entries up to `position`, or that they are there."""

    position: int
    entries: Sequence[Entry] | None


async def _leave(entries: Sequence[Entry]) -> None:
    """Entries without payload."""


class Tailing:
    """Keeps the tail at the log's tip. `announce` is told of entries in order, each once."""

    def __init__(
        self, database: Database, tail: Tail, announce: Announce, neighbours: Neighbours | None = None
    ) -> None:
        self._database = database
        self.tail = tail
        self._announce = announce
        self.neighbours = neighbours if neighbours is not None else Neighbours.solitary(database)
        self.fill: Fill = _leave
        self.tell: Tell | None = None
        self.commits = asyncio.Lock()
        """Held by the writer while it commits: what is then read from the table may be its own."""
        self._order = asyncio.Lock()
        self._pieces: dict[int, _Piece] = {}
        self._news = asyncio.Event()
        self._confirming = asyncio.Lock()
        self._wave: asyncio.Task[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_reading_due = False
        self.heard = 0
        """Entries of other processes so far."""
        self.read = 0
        """Those of them that the bell did not bring."""
        self.neighbours.before_solitude(self._catch_up)

    def start(self) -> None:
        """Follow what others commit, where there can be others."""
        if not self.neighbours.is_solitary:
            self._task = asyncio.create_task(self._run(), name="tailing")

    async def stop(self) -> None:
        """Follow no more."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    # What this process commits

    async def committed(
        self, entries: Sequence[Entry], settle: Callable[[], None], answer: Callable[[], None]
    ) -> None:
        """This process committed these: takes them in behind all that was committed before.

        `settle` is called when all before them was heard, `answer` before they are heard themselves.
        """
        if not entries:
            settle()
            answer()
            if self._pieces:
                self._news.set()
            return
        async with self._order:
            if entries[0].position > self.tail.tip + 1:
                await self._follow_patiently(entries[0].position - 1)
            settle()
            if self.tell is not None and not self.neighbours.alone():
                self.tell(self.tail.tip, entries)
            self.tail.extend(entries)
            answer()
            self._announce(entries)
        if self._pieces:
            self._news.set()

    # What others commit

    def hear(self, previous: int, position: int, entries: Sequence[Entry] | None) -> None:
        """The bell: after `previous` the log has these entries up to `position`; None where it can't say which."""
        if position <= self.tail.tip:
            return
        if len(self._pieces) >= _PIECES:
            # They will be read.
            self._pieces.clear()
            self._is_reading_due = True
        self._pieces[previous] = _Piece(position, entries)
        self._news.set()

    def look(self) -> None:
        """The bell may have lost something."""
        self._is_reading_due = True
        self._news.set()

    async def confirm(self) -> None:
        """Everything that was committed by anybody before this call is heard. Free while this process is alone.

        All who ask while a query is under way share the next one.
        """
        if self.neighbours.alone():
            return
        if not self.neighbours.is_counted():
            try:
                async with asyncio.timeout(_PATIENCE_S):
                    await self.neighbours.until_counted()
            except TimeoutError:
                raise Unavailable("the table of processes can't be reached") from None
        if self._wave is None:
            self._wave = asyncio.create_task(self._confirm(), name="confirming")
        await asyncio.shield(self._wave)

    async def _confirm(self) -> None:
        async with self._confirming:
            self._wave = None
            tip = await log.read_tip(self._database)
        await self.reach(tip)

    async def _catch_up(self) -> None:
        await self.reach(await log.read_tip(self._database))

    async def reach(self, position: int) -> None:
        """What was committed up to a position is heard."""
        if position <= self.tail.tip:
            return
        async with self.commits, self._order:
            await self._follow(position)

    async def _run(self) -> None:
        due = time.monotonic() + _POLL_S
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, due - time.monotonic())):
                    await self._news.wait()
            self._news.clear()
            try:
                await self._take_pieces()
                if self._is_reading_due or time.monotonic() >= due:
                    self._is_reading_due = False
                    due = time.monotonic() + _POLL_S
                    await self._catch_up()
            except Exception:
                _log.warning("the log could not be followed", exc_info=True)
                await asyncio.sleep(_POLL_S)
            await asyncio.sleep(_SPACING_S)

    async def _take_pieces(self) -> None:
        """Take in what the bell brought; where something is missing in between, wait for it a little, then read it."""
        for patience in (True, False):
            async with self._order:
                while (piece := self._pieces.get(self.tail.tip)) is not None:
                    if piece.entries is None:
                        break
                    await self._follow(piece.position)
            self._pieces = {p: piece for p, piece in self._pieces.items() if piece.position > self.tail.tip}
            if not self._pieces:
                return
            if self.tail.tip in self._pieces:
                break
            if self.commits.locked():
                # What is missing may be what this process is committing; it says so when it is done.
                return
            if patience:
                await asyncio.sleep(_GRACE_S)
        await self.reach(max(piece.position for piece in self._pieces.values()))

    async def _follow_patiently(self, until: int) -> None:
        while True:
            try:
                await self._follow(until)
                return
            except Exception:
                # What waits for this is committed: it must be settled, and in its order.
                _log.exception("the log could not be read")
                await asyncio.sleep(_POLL_S)

    async def _follow(self, until: int) -> None:
        """Take in what others committed, up to a position. In turn with `_order`."""
        while self.tail.tip < until:
            piece = self._pieces.pop(self.tail.tip, None)
            if piece is not None and piece.entries is not None and piece.position <= until:
                entries = piece.entries
            else:
                entries = await log.read_all(self._database, self.tail.tip, until, _AT_ONCE)
                self.read += len(entries)
            if not entries:
                # Positions that were drawn and never used.
                return
            try:
                await self.fill(entries)
            except Exception:
                _log.exception("entries of other processes could not be filled")
            self.heard += len(entries)
            self.tail.extend(entries)
            self._announce(entries)
