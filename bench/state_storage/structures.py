"""Structures that keep every state of a room: the store's, and two that it was chosen over.

Each is told the steps of a history in order, keeps in memory only what a room's head would, and answers from the
database. The two alternatives exist for this measurement only.
"""

from collections.abc import Sequence
from typing import Protocol

from bench.state_storage.histories import Key, Step
from ranvier.store.database import Reader, Transaction

State = dict[Key, int]


class Structure(Protocol):
    """A way to keep states; steps are named by their place in the history."""

    name: str
    tables: Sequence[str]
    schema: Sequence[str]

    async def append(self, transaction: Transaction, first: int, steps: Sequence[Step]) -> None:
        """Keep the states of some steps; `first` is the place of the first of them."""
        ...

    async def look_up(self, reader: Reader, step: int, keys: Sequence[Key]) -> State:
        """Some keys of the state of a step."""
        ...

    async def whole(self, reader: Reader, step: int) -> State:
        """The whole state of a step."""
        ...


class Deltas:
    """Hierarchical deltas: chains of up to 16 deltas, each chain upon a delta of the level above.

    A state is told as what changed since the newest state of the lowest level that still has place.
    """

    name = "deltas, levels of 16"
    tables = ("delta_groups", "delta_rows")
    schema = (
        "CREATE TABLE delta_groups (state BIGINT PRIMARY KEY, parent BIGINT)",
        "CREATE TABLE delta_rows (state BIGINT NOT NULL, type TEXT NOT NULL, state_key TEXT NOT NULL, "
        "event BIGINT NOT NULL, PRIMARY KEY (state, type, state_key))",
    )
    _LEVELS = 5
    _LENGTH = 16

    def __init__(self) -> None:
        # For each state, by level: the newest state, the length of its chain, and what changed since it.
        self._levels: list[tuple[tuple[int, int, State], ...]] = []

    async def append(self, transaction: Transaction, first: int, steps: Sequence[Step]) -> None:
        groups: list[tuple[int, int | None]] = []
        rows: list[tuple[int, str, str, int]] = []
        for place, step in enumerate(steps, first):
            if step.parent < 0:
                self._levels.append(((place, 1, {}),) * self._LEVELS)
                groups.append((place, None))
                rows.append((place, *step.key, step.event))
                continue
            change = {step.key: step.event}
            levels = [(state, length, since | change) for state, length, since in self._levels[step.parent]]
            level = next(i for i, (_, length, _) in enumerate(levels) if length < self._LENGTH)
            parent, length, since = levels[level]
            groups.append((place, parent))
            rows += [(place, *key, event) for key, event in since.items()]
            lower = [(place, 1, dict[Key, int]())] * level
            self._levels.append((*lower, (place, length + 1, {}), *levels[level + 1 :]))
        for old in range(max(0, first - 400), first - 200):
            self._levels[old] = ()
        await transaction.insert("delta_groups", "state, parent", groups)
        await transaction.insert("delta_rows", "state, type, state_key, event", rows)

    _CHAIN = (
        "WITH RECURSIVE chain(hops, state) AS (SELECT 0, CAST($1 AS BIGINT) UNION ALL "
        "SELECT hops + 1, g.parent FROM chain JOIN delta_groups g ON g.state = chain.state "
        "WHERE g.parent IS NOT NULL) "
    )

    async def look_up(self, reader: Reader, step: int, keys: Sequence[Key]) -> State:
        found: State = {}
        for key in keys:
            event = await reader.fetch_value(
                self._CHAIN + "SELECT r.event FROM chain JOIN delta_rows r ON r.state = chain.state "
                "WHERE r.type = $2 AND r.state_key = $3 ORDER BY hops LIMIT 1",
                step,
                *key,
            )
            if event is not None:
                found[key] = event
        return found

    async def whole(self, reader: Reader, step: int) -> State:
        rows = await reader.fetch(
            self._CHAIN + "SELECT r.type, r.state_key, r.event FROM chain JOIN delta_rows r "
            "ON r.state = chain.state ORDER BY hops DESC",
            step,
        )
        return {(row[0], row[1]): row[2] for row in rows}


def row_count_by_synapse(steps: Sequence[Step], hops: int = 100) -> list[int]:
    """Rows of `state_groups_state` for each step, by the rule of state groups.

    A group is told as a delta of the one before it until the chain is 100 long; the next holds the whole state.
    """
    lengths: list[int] = []
    rows: list[int] = []
    seen: set[Key] = set()
    for step in steps:
        seen.add(step.key)
        length = lengths[step.parent] + 1 if step.parent >= 0 else 0
        whole = length > hops
        lengths.append(0 if whole else length)
        rows.append(len(seen) if whole else 1)
    return rows
