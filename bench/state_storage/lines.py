"""The store's own structure, through the functions that the server uses."""

from collections.abc import Iterator, Sequence

from bench.state_storage.histories import Key, Step
from bench.state_storage.structures import State
from ranvier.store import state
from ranvier.store.database import Reader, Transaction
from ranvier.store.state import Root


class Lines:
    """A step goes on with its parent's line where that ends there, and starts a line of its own elsewhere."""

    name = "lines"
    tables = ("state_lines", "state_changes")
    schema = ()

    def __init__(self) -> None:
        self._roots: list[Root] = []
        self._lines = 0

    async def append(self, transaction: Transaction, first: int, steps: Sequence[Step]) -> None:
        # What follows directly upon the step before it goes in one statement, as a group commit of a room's head does.
        for start, end in _runs(first, steps):
            parent = steps[start].parent
            root = self._roots[parent] if parent >= 0 else await self._line(transaction, None)
            changes = [(step.key, step.event) for step in steps[start:end]]
            root = await self._grow(transaction, root, changes)
            self._roots += [Root(root.line, root.version - left) for left in range(end - start - 1, -1, -1)]

    async def _line(self, transaction: Transaction, parent: Root | None) -> Root:
        self._lines += 1
        if parent is not None:
            return await state.fork(transaction, self._lines, 1, parent)
        await state.insert_lines(transaction, [(self._lines, 1, None, None)])
        return Root(self._lines, 0)

    async def _grow(self, transaction: Transaction, root: Root, changes: Sequence[tuple[Key, int]]) -> Root:
        first, rest = dict(changes[:1]), changes[1:]
        grown = await state.extend(transaction, root, first)
        if grown is None:
            grown = await state.extend(transaction, await self._line(transaction, root), first)
        assert grown is not None
        rows = [
            (grown.line, *key, grown.version + place, event) for place, (key, event) in enumerate(rest, 1)
        ]
        await state.insert_changes(transaction, rows)
        return Root(grown.line, grown.version + len(rows))

    async def look_up(self, reader: Reader, step: int, keys: Sequence[Key]) -> State:
        return await state.keys_at(reader, self._roots[step], keys)

    async def whole(self, reader: Reader, step: int) -> State:
        return await state.at(reader, self._roots[step])

    async def without_members(self, reader: Reader, step: int) -> State:
        """The state of a step without memberships, as a sync that loads members lazily reads it."""
        return await state.at(reader, self._roots[step], members=False)

    async def changes(self, reader: Reader, old: int, new: int) -> dict[Key, int | None]:
        """What changed from one step's state to another's."""
        return await state.changes_from(reader, self._roots[old], self._roots[new])


def _runs(first: int, steps: Sequence[Step]) -> Iterator[tuple[int, int]]:
    """Where steps follow upon each other without a fork: (start, end) within `steps`."""
    start = 0
    for place in range(1, len(steps) + 1):
        if place == len(steps) or steps[place].parent != first + place - 1:
            yield start, place
            start = place
