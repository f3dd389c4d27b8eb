"""The processes that share one database: who is alive, and whether there is any other.

Each has a row that it renews every second. A process that saw no other may rely on its memory for a while without
asking how far the log has come (*solitude*). A newcomer is *counted*, and may serve, once all the others act upon its
presence or the longest solitude since it registered is over. Only the database's clock is compared with itself, and
each process's clock with itself.

On SQLite there is no other process: `Neighbours.solitary()`. The SQL here is PostgreSQL's.
"""

import asyncio
import contextlib
import logging
import os
import secrets
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from ranvier.store.database import Database, Reader

BEAT_S: Final = 1.0
ALIVE_MS: Final = 4_000
"""Milliseconds for which a process counts as alive after its last beat."""
SOLITUDE_S: Final = 2.0
"""Seconds for which a process that saw no other relies on its memory."""
_SLACK_S: Final = 0.1
_EAGER_S: Final = 0.05
"""Between beats of a newcomer that waits to be counted."""
_FADING_MS: Final = 60_000
"""A process that beats no more may only be stopped for a while, and be in the middle of an answer: nobody begins to
rely on memory before that much more has passed."""
_KEPT_MS: Final = 3_600_000

NOW: Final = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
_BEAT: Final = f"""
WITH now AS MATERIALIZED (SELECT {NOW} AS ms),
me AS (
    INSERT INTO processes (id, instance, roles, host, pid, address, started, beats_until, sees, figures)
    SELECT $1, $2, $3, $4, $5, $6, ms, ms + {ALIVE_MS}, $7, $8 FROM now
    ON CONFLICT (id) DO UPDATE SET roles = excluded.roles, address = excluded.address,
        beats_until = excluded.beats_until, sees = excluded.sees, figures = excluded.figures
)
SELECT p.id, p.instance, p.roles, p.host, p.pid, p.address, p.sees, p.beats_until > ms, ms
FROM now LEFT JOIN processes p ON p.id <> $1 AND p.beats_until > ms - {_FADING_MS} ORDER BY p.id
"""  # noqa: S608
_READ: Final = f"""
SELECT id, instance, roles, host, pid, address, figures, started, beats_until, {NOW}
FROM processes ORDER BY instance, started
"""  # noqa: S608

_log = logging.getLogger("ranvier.store")


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A process, this one or another.

    `id` is new with each start; `address` is where its neighbours reach it, or "".
    """

    id: str
    instance: str
    roles: frozenset[str]
    host: str
    pid: int
    address: str


class Neighbours:
    """What this process knows of the others, and what it tells them of itself."""

    def __init__(
        self,
        database: Database,
        instance: str,
        roles: Iterable[str],
        address: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._clock = clock
        self.me = secrets.token_hex(8)
        self._self = Neighbour(
            self.me, instance, frozenset(roles), socket.gethostname(), os.getpid(), address
        )
        self._others: tuple[Neighbour, ...] = ()
        self._figures: Callable[[], Mapping[str, Any]] = dict
        self._listeners: list[Callable[[], None]] = []
        self._before_solitude: Callable[[], Awaitable[None]] | None = None
        self._is_solitary = False
        self._alone_until = 0.0
        self._lease_until = 0.0
        self._registered = 0.0
        self.lives = 0
        """How often it began to be alive for the others: anew whenever it was silent for too long."""
        self._is_seen = False
        self._counted = asyncio.Event()
        self._again = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._fails = False
        self._ahead_ms = 0

    @classmethod
    def solitary(cls, database: Database, instance: str = "main", roles: Iterable[str] = ()) -> "Neighbours":
        """For a database that only one process uses: it is always alone, and has no row and no task."""
        made = cls(database, instance, roles)
        made._is_solitary = True
        made._counted.set()
        return made

    def alive(self) -> Sequence[Neighbour]:
        """All processes that are alive, this one among them, in an order that all agree on."""
        return sorted((self._self, *self._others), key=lambda one: one.id)

    def alone(self) -> bool:
        """Whether no other process can have answered anything that this one does not know."""
        return self._is_solitary or self._clock() < self._alone_until

    @property
    def is_solitary(self) -> bool:
        """Whether there will never be another process."""
        return self._is_solitary

    def is_counted(self) -> bool:
        """Whether all others know that they are not alone: only then may this process answer anybody."""
        return self._is_solitary or (self._counted.is_set() and self._clock() < self._lease_until)

    def stands(self) -> bool:
        """Whether nobody can take this process for dead."""
        return self._is_solitary or self._clock() < self._lease_until

    async def withdraw(self) -> None:
        """Give up all roles, as the process is about to stop: others take over what it did."""
        self._self = replace(self._self, roles=frozenset())
        if self._task is not None:
            with contextlib.suppress(Exception):
                await self.beat()
        for call in self._listeners:
            call()

    async def until_counted(self) -> None:
        """Wait for that; a process that was stopped for long has to wait again."""
        while not self.is_counted():
            self._counted.clear()
            self._again.set()
            await self._counted.wait()

    def now_ms(self) -> int:
        """The time by the database's clock, which all processes have in common; milliseconds since the epoch."""
        return int(time.time() * 1000) + self._ahead_ms

    def reach_at(self, address: str) -> None:
        """Its neighbours reach this process there; told from the next beat on."""
        self._self = replace(self._self, address=address)

    @property
    def host(self) -> str:
        """The name of this machine."""
        return self._self.host

    def when_changed(self, call: Callable[[], None]) -> None:
        """Call this, on the loop, when a process came or went."""
        self._listeners.append(call)

    def before_solitude(self, call: Callable[[], Awaitable[None]]) -> None:
        """Await this before relying on memory: it brings memory up to the newest commit."""
        self._before_solitude = call

    def tell(self, figures: Callable[[], Mapping[str, Any]]) -> None:
        """What each beat tells of this process, for `ranvier workers`: JSON."""
        self._figures = figures

    def look(self) -> None:
        """Beat at once: somebody may have come or gone."""
        self._again.set()

    async def start(self) -> None:
        """Register. Others act upon this process's presence from when it `is_counted`."""
        if self._is_solitary:
            return
        await self._database.fetch(f"DELETE FROM processes WHERE beats_until < {NOW} - {_KEPT_MS}")  # noqa: S608
        await self.beat()
        self._task = asyncio.create_task(self._run(), name="neighbours")

    async def stop(self) -> None:
        """Deregister: everything was answered, and nothing will be."""
        self._alone_until = 0.0
        if self._task is None:
            return
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._task = None
        with contextlib.suppress(Exception):
            await self._database.fetch("DELETE FROM processes WHERE id = $1", self.me)

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BEAT_S if self._counted.is_set() else _EAGER_S):
                    await self._again.wait()
            self._again.clear()
            try:
                await self.beat()
                self._fails = False
            except Exception:
                if not self._fails:
                    _log.warning("the table of processes can't be reached", exc_info=True)
                self._fails = True
                await asyncio.sleep(_EAGER_S)

    async def beat(self) -> None:
        """Renew this process's row, and look at the others'."""
        before, sent = self._clock(), time.time()
        me = self._self
        found = await self._database.fetch(
            _BEAT,
            me.id,
            me.instance,
            ",".join(sorted(me.roles)),
            me.host,
            me.pid,
            me.address,
            # Whom this process acts upon the presence of already: it says so before they serve anybody.
            ",".join(one.id for one in self._others),
            orjson.dumps(self._figures()).decode(),
        )
        self._ahead_ms = int(found[0][8] - (sent + time.time()) * 500)
        rows = [row for row in found if row[0] is not None]
        if before > self._lease_until:
            # It is new, or nobody could know that it is still there.
            self._registered = self._clock()
            self.lives += 1
        self._lease_until = before + ALIVE_MS / 1000
        if rows:
            self._alone_until = 0.0
        alive = [row for row in rows if row[7]]
        self._take(tuple(Neighbour(row[0], row[1], _roles(row[2]), row[3], row[4], row[5]) for row in alive))
        waited = self._clock() - self._registered
        self._is_seen = all(self.me in row[6].split(",") for row in alive)
        if self._is_seen or waited > SOLITUDE_S + _SLACK_S:
            self._counted.set()
        elif self._registered >= before:
            self._counted.clear()
        if not rows:
            await self._be_alone(before)

    def _take(self, others: tuple[Neighbour, ...]) -> None:
        known, self._others = self._others, others
        if known == others:
            return
        # A newcomer waits to hear that it was seen.
        self._again.set()
        for call in self._listeners:
            call()

    async def _be_alone(self, since: float) -> None:
        # What those who went have answered must be known before memory counts again.
        if not self.alone() and self._before_solitude is not None:
            await self._before_solitude()
        self._alone_until = since + SOLITUDE_S


def _roles(text: str) -> frozenset[str]:
    return frozenset(text.split(",")) if text else frozenset()


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """A process as its row tells: `silent_s` is for how many seconds it has not beaten, `up_s` how long it has been up.

    `figures` is what it told of itself.
    """

    process: Neighbour
    is_alive: bool
    up_s: float
    silent_s: float
    figures: Mapping[str, Any]


async def read_processes(reader: Reader) -> list[ProcessRow]:
    """All processes that were alive within the last hour, on PostgreSQL."""
    rows = await reader.fetch(_READ)
    return [
        ProcessRow(
            Neighbour(row[0], row[1], _roles(row[2]), row[3], row[4], row[5]),
            row[8] > row[9],
            (row[9] - row[7]) / 1000,
            (row[9] - row[8] + ALIVE_MS) / 1000,
            orjson.loads(row[6]),
        )
        for row in rows
    ]
