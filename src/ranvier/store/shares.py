"""Queues that several processes share: each portion of a queue belongs to one process at a time.

Which portion is whose follows from who is alive and has the queue's role (rendezvous hashing), so a process that comes
or goes moves no more portions than it must. A row of `leases` says who has a portion; it counts as long as its
holder's row in `processes` does, so leases cost nothing while nobody comes or goes. Each change of hands raises the
portion's fence, which the database checks as it commits: what a process still does that was stopped, and lost its
portions meanwhile, fails there (docs/decisions/0125-queues-of-several-processes.md).

Where only one process can use the database it has everything, without a row and without a task.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from hashlib import blake2b
from typing import Final, Protocol
from zlib import crc32

import orjson

from ranvier.store import tuples
from ranvier.store.database import Database, Fence, Reader
from ranvier.store.neighbours import NOW, Neighbour, Neighbours

PORTIONS: Final = 64
TOPIC: Final = "queues"
_LOOK_S: Final = 1.0
"""Between two looks for portions that somebody else still has."""
_PATIENCE_S: Final = 10.0
"""The work in hand of a portion may take so long after another process became its owner."""

_log = logging.getLogger("ranvier.store")


class Worker(Protocol):
    """What works on a queue. Portions come and go while it runs."""

    async def gain(self, portions: Collection[int]) -> None:
        """These portions are this process's from now on: look for their work."""
        ...

    async def leave(self, portions: Collection[int]) -> None:
        """Another process shall have these portions: return once the work in hand is done, or given up.

        They are held until then, and nothing new may be begun.
        """
        ...

    async def lose(self, portions: Collection[int]) -> None:
        """Another process may have these portions already: let go of the work in hand."""
        ...

    def call(self, key: str) -> None:
        """There is work for a key whose portion is held."""
        ...


class Shares:
    """One queue, as this process takes part in it.

    Processes with `role` may hold portions of it. A process without it, or where nobody began to work with it, holds
    none; it can still call those who do.
    """

    def __init__(self, leases: "Leases", name: str, role: str, portions: int) -> None:
        self._leases = leases
        self.name = name
        self.role = role
        self.portions = portions
        self.worker: Worker | None = None
        # Kept by `Leases`.
        self.fences: dict[int, int] = {}
        self.leaving: set[int] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self._wanted: tuple[list[tuple[str, str]], set[int]] = ([], set())

    def portion_of(self, key: str) -> int:
        """The portion that a key belongs to."""
        return crc32(key.encode()) % self.portions

    def holds(self, key: str) -> bool:
        """Whether work on the key may be begun here, now."""
        return self.has(self.portion_of(key))

    def has(self, portion: int) -> bool:
        """Whether work on the portion may be begun here, now."""
        return portion in self.fences and portion not in self.leaving and self._leases.stand()

    @property
    def is_solitary(self) -> bool:
        """Whether no other process can ever be there: then nothing is noted that was not told."""
        return self._leases.is_solitary

    @property
    def is_alone(self) -> bool:
        """Whether no other process is there now, as far as is known."""
        return self._leases.is_alone

    def fence(self, key: str) -> Fence | None:
        """What fences the transactions of work on the key that is begun now; None if none may be."""
        portion = self.portion_of(key)
        return self.fence_of(portion) if self.has(portion) else None

    def fence_of(self, portion: int) -> Fence | None:
        """What fences transactions about a portion that is held, or being left."""
        number = self.fences.get(portion)
        return Fence(self.name, portion, number) if number is not None else None

    async def begin(self, worker: Worker) -> None:
        """Let the worker have what belongs to this process; where that is free it has it when this returns."""
        self.worker = worker
        await self._leases.begin(self)

    async def stop(self) -> None:
        """Work on nothing any more; others may at once."""
        if self.worker is not None:
            await self._leases.end(self)
            self.worker = None

    def call(self, key: str) -> None:
        """There is work for a key: tell whoever has its portion, in whichever process."""
        if self.holds(key):
            self.hear(key)
        else:
            self._leases.tell(self.name, key)

    def hear(self, key: str) -> None:
        """Somebody told that there is work for a key."""
        if self.worker is not None and self.holds(key):
            self.worker.call(key)

    def wanted(self, alive: Sequence[Neighbour], me: str) -> set[int]:
        """The portions that belong to this process, by who is alive."""
        if self.worker is None:
            return set()
        able = [one for one in alive if self.role in one.roles]
        # Who has the role in reserve does its work only while nobody else does.
        first = [one for one in able if reserve(self.role) not in one.roles]
        names = named(first or able)
        if self._wanted[0] != names:
            # It is asked for each second, and hashing is dear.
            mine = {p for p in range(self.portions) if owner(f"{self.name}/{p}", names) == me}
            self._wanted = (names, mine)
        return self._wanted[1]


def reserve(role: str) -> str:
    """What a process that has a role tells the others if it has it in reserve."""
    return f"{role} in reserve"


def named(able: Sequence[Neighbour]) -> list[tuple[str, str]]:
    """Processes under the names by which things are divided among them: (name, id).

    An instance that starts anew on its machine has the name that it had; several of one name are told apart.
    """
    names: dict[str, str] = {}
    for one in sorted(able, key=lambda one: one.id):
        place = 0
        while (name := f"{one.instance}@{one.host} {place}") in names:
            place += 1
        names[name] = one.id
    return list(names.items())


def owner(key: str, names: Sequence[tuple[str, str]]) -> str | None:
    """The id of the process, of those with these names, that a key belongs to: the same in all processes."""
    if not names:
        return None
    return max((blake2b(f"{key} {name}".encode(), digest_size=8).digest(), found) for name, found in names)[1]


class Leases:
    """All queues of a process, and the task that moves their portions.

    `publish` tells something to all processes, by topic; what is told may be lost.
    """

    def __init__(
        self,
        neighbours: Neighbours,
        database: Database,
        publish: Callable[[str, bytes], None] = lambda topic, body: None,
    ) -> None:
        self._neighbours = neighbours
        self._database = database
        self._publish = publish
        self._queues: dict[str, Shares] = {}
        self._turn = asyncio.Lock()
        self._news = asyncio.Event()
        self._life = 0
        self._unfreed: list[Fence] = []
        self._task: asyncio.Task[None] | None = None
        neighbours.when_changed(self._news.set)

    def queue(self, name: str, role: str, portions: int = PORTIONS) -> Shares:
        """The queue of that name; everywhere it must have the same role and number of portions."""
        made = self._queues[name] = Shares(self, name, role, portions)
        return made

    def stand(self) -> bool:
        """Whether what is held here can be nobody else's."""
        neighbours = self._neighbours
        return neighbours.stands() and neighbours.lives == self._life

    @property
    def is_solitary(self) -> bool:
        """Whether no other process can ever be there."""
        return self._neighbours.is_solitary

    @property
    def is_alone(self) -> bool:
        """Whether no other process is there now, as far as is known."""
        return len(self._neighbours.alive()) == 1

    def start(self) -> None:
        """Move portions from now on."""
        if not self._neighbours.is_solitary:
            self._task = asyncio.create_task(self._run(), name="leases")

    async def stop(self) -> None:
        """Hold nothing any more."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        for shares in self._queues.values():
            await shares.stop()

    def hear(self, body: bytes) -> None:
        """What another process told on the topic."""
        try:
            name, key = orjson.loads(body)
        except ValueError:
            return
        shares = self._queues.get(name) if isinstance(name, str) else None
        if shares is None or not isinstance(key, str):
            self._news.set()
        else:
            shares.hear(key)

    def tell(self, name: str, key: str) -> None:
        """Tell the other processes that a queue has work for a key."""
        self._publish(TOPIC, orjson.dumps([name, key]))

    async def begin(self, shares: Shares) -> None:
        """A queue has a worker here now."""
        if self._neighbours.is_solitary:
            shares.fences = dict.fromkeys(range(shares.portions), 0)
            await _gain(shares, shares.fences)
            return
        try:
            await self._settle([shares])
        except Exception:
            _log.warning("the table of leases can't be reached", exc_info=True)
        self._news.set()

    async def end(self, shares: Shares) -> None:
        """A queue has no worker here any more."""
        async with self._turn:
            portions = shares.fences.keys() - shares.leaving
            shares.leaving |= portions
        await self._leave(shares, portions)
        if shares.tasks:
            await asyncio.wait(shares.tasks)
        with contextlib.suppress(Exception):
            await self._free()

    async def _run(self) -> None:
        fails = False
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await self._news.wait()
            self._news.clear()
            try:
                await self._settle(list(self._queues.values()))
                fails = False
            except Exception:
                if not fails:
                    _log.warning("the table of leases can't be reached", exc_info=True)
                fails = True

    async def _settle(self, queues: Sequence[Shares]) -> None:
        """Let go of what belongs to others, take what belongs to this process and is free."""
        async with self._turn:
            if not self._neighbours.stands():
                return
            life = self._neighbours.lives
            if life != self._life:
                await self._recover()
                self._life = life
            await self._free()
            alive, me = self._neighbours.alive(), self._neighbours.me
            lacking: dict[str, set[int]] = {}
            for shares in queues:
                wanted = shares.wanted(alive, me)
                self._let_go(shares, shares.fences.keys() - wanted - shares.leaving)
                if wanted - shares.fences.keys():
                    lacking[shares.name] = wanted - shares.fences.keys()
            taken = await self._take(lacking) if lacking else {}
            for name, fences in taken.items():
                self._queues[name].fences.update(fences)
        for name, fences in taken.items():
            await _gain(self._queues[name], fences)

    async def _recover(self) -> None:
        """For a while others could take everything: keep what nobody took."""
        held = [
            Fence(q.name, portion, number)
            for q in self._queues.values()
            for portion, number in q.fences.items()
        ]
        kept: dict[tuple[str, int], int] = {}
        for some in tuples.slices(held):
            for fence in await take(self._database, some, self._neighbours.me):
                kept[fence.queue, fence.portion] = fence.number
        for shares in self._queues.values():
            await _lose(shares, [portion for portion in shares.fences if (shares.name, portion) not in kept])
            shares.fences = {portion: kept[shares.name, portion] for portion in shares.fences}

    def _let_go(self, shares: Shares, portions: Collection[int]) -> None:
        if not portions:
            return
        shares.leaving.update(portions)
        task = asyncio.create_task(self._leave(shares, portions), name=f"leaving portions of {shares.name}")
        shares.tasks.add(task)
        task.add_done_callback(shares.tasks.discard)

    async def _leave(self, shares: Shares, portions: Collection[int]) -> None:
        fences = [fence for portion in portions if (fence := shares.fence_of(portion)) is not None]
        if fences and shares.worker is not None:
            try:
                async with asyncio.timeout(_PATIENCE_S):
                    await shares.worker.leave(portions)
            except Exception:
                _log.exception("a queue could not be handed over in order", extra={"queue": shares.name})
                await _lose(shares, portions)
        async with self._turn:
            shares.leaving.difference_update(portions)
            for fence in fences:
                if shares.fences.get(fence.portion) == fence.number:
                    del shares.fences[fence.portion]
            if not self._neighbours.is_solitary:
                self._unfreed += fences
        self._news.set()

    async def _free(self) -> None:
        """Tell of what this process has let go of."""
        if not self._unfreed:
            return
        fences, self._unfreed = self._unfreed, []
        try:
            for some in tuples.slices(fences):
                await free(self._database, some, self._neighbours.me)
        except BaseException:
            self._unfreed += fences
            raise
        self._publish(TOPIC, b"[0,0]")

    async def _take(self, lacking: Mapping[str, Collection[int]]) -> dict[str, dict[int, int]]:
        """Take what is free of these portions; answers the fences of what was taken."""
        me = self._neighbours.me
        taken: dict[str, dict[int, int]] = {}
        for some in tuples.slices(await find_free(self._database, lacking, me)):
            for fence in await take(self._database, some, me):
                taken.setdefault(fence.queue, {})[fence.portion] = fence.number
        return taken


async def _gain(shares: Shares, portions: Collection[int]) -> None:
    if shares.worker is None:
        return
    try:
        await shares.worker.gain(frozenset(portions))
    except Exception:
        _log.exception("portions could not be worked on", extra={"queue": shares.name})


async def _lose(shares: Shares, portions: Collection[int]) -> None:
    """Whatever is in hand is not this process's any more."""
    for portion in portions:
        shares.fences.pop(portion, None)
    if shares.worker is None or not portions:
        return
    try:
        await shares.worker.lose(frozenset(portions))
    except Exception:
        _log.exception("work could not be dropped", extra={"queue": shares.name})


# Each of these is one statement that commits by itself: a process that is stopped in between holds no lock. Who takes a
# portion names the fence that it saw, so that of several who saw it free one gets it.


async def find_free(reader: Reader, portions: Mapping[str, Collection[int]], me: str) -> list[Fence]:
    """Those of the portions (by queue) that nobody who is alive has but perhaps `me`, and their fences; 0 if new."""
    rows = await reader.fetch(
        "SELECT l.name, l.portion, l.fence, l.holder = $2 OR p.id IS NULL FROM leases l "  # noqa: S608
        f"LEFT JOIN processes p ON p.id = l.holder AND p.beats_until > {NOW} WHERE l.name = ANY($1)",
        list(portions),
        me,
    )
    known = {(row[0], row[1]): row for row in rows}
    found = []
    for name, wanted in portions.items():
        for portion in sorted(wanted):
            row = known.get((name, portion))
            if row is None or row[3]:
                found.append(Fence(name, portion, row[2] if row is not None else 0))
    return found


async def take(reader: Reader, seen: Sequence[Fence], me: str) -> list[Fence]:
    """Take portions that were seen free; answers the new fences of those that nobody else was quicker to take."""
    table, values = tuples.table_of(seen, ("TEXT", "BIGINT", "BIGINT"), first=2)
    rows = await reader.fetch(
        f"WITH given (name, portion, fence) AS ({table}) "  # noqa: S608
        "INSERT INTO leases (name, portion, holder, fence) "
        "SELECT DISTINCT name, portion, $1, fence + 1 FROM given ORDER BY name, portion "
        "ON CONFLICT (name, portion) DO UPDATE SET holder = excluded.holder, fence = excluded.fence "
        "WHERE leases.fence = excluded.fence - 1 RETURNING name, portion, fence",
        me,
        *values,
    )
    return [Fence(*row) for row in rows]


async def free(reader: Reader, fences: Sequence[Fence], me: str) -> None:
    """Nobody has these portions any more, if `me` has them still."""
    table, values = tuples.table_of(fences, ("TEXT", "BIGINT", "BIGINT"), first=2)
    await reader.fetch(
        f"WITH given (name, portion, fence) AS ({table}) "  # noqa: S608
        "UPDATE leases SET holder = '' FROM given g WHERE leases.name = g.name "
        "AND leases.portion = g.portion AND leases.fence = g.fence AND leases.holder = $1",
        me,
        *values,
    )
