"""What was the state of a room at any moment: lines of versions, compared with plain copies of dicts."""

import asyncio
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ranvier.store import state
from ranvier.store.database import Database, Transaction
from ranvier.store.state import Key, Root

ROOM = 1
KEYS: list[Key] = [
    ("m.room.create", ""),
    ("m.room.member", "@alice:example.org"),
    ("m.room.member", "@bob:example.org"),
    ("m.room.member", "@čeněk:example.org"),
    ("m.room.membership", ""),
    ("m.room.name", ""),
    ("z", "m.room.member"),
    ("z", ""),
]
MEMBERSHIPS = ["join", "leave", "ban"]
PROPERTY = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

Changes = dict[Key, int | None]


@dataclass
class Model:
    """Every state as a dict of its own, and every line as the list of what was done on it."""

    database: Database
    numbers: "itertools.count[int]"
    most_steps: int
    states: list[tuple[Root, dict[Key, int]]] = field(default_factory=list)
    told: dict[int, list[tuple[int, Key, int | None]]] = field(default_factory=dict)
    starts: dict[int, int] = field(default_factory=dict)
    memberships: dict[int, str] = field(default_factory=dict)

    @classmethod
    async def start(cls, database: Database, most_steps: int = 3) -> "Model":
        """A room with an empty state, whatever the database already holds; lines are soon joined up again."""
        line = await database.fetch_value("SELECT COALESCE(MAX(line), 0) + 1 FROM state_lines")
        event = await database.fetch_value("SELECT COALESCE(MAX(nid), 0) + 1 FROM events")
        model = cls(database, itertools.count(max(line, event)), most_steps)
        first = next(model.numbers)

        async def write(transaction: Transaction) -> None:
            await state.insert_lines(transaction, [(first, ROOM, None, None)])

        await database.commit(write)
        model._begin(Root(first, 0))
        model.states.append((Root(first, 0), {}))
        return model

    def _begin(self, root: Root) -> None:
        self.told[root.line] = []
        self.starts[root.line] = root.version

    async def fork(self, parent: int) -> None:
        root, known = self.states[parent]
        self.states.append((await self._fork(root), dict(known)))

    async def _fork(self, root: Root) -> Root:
        line = next(self.numbers)
        forked, _ = await self.database.commit(
            lambda transaction: state.fork(transaction, line, ROOM, root, most_steps=self.most_steps)
        )
        self._begin(forked)
        return forked

    async def grow(self, parent: int, changes: Mapping[Key, int | None]) -> None:
        """Go on from a state, on a line of its own where another went on from there."""
        root, known = self.states[parent]
        grown = await self._extend(root, changes)
        if grown is None:
            root = await self._fork(root)
            grown = await self._extend(root, changes)
        assert grown is not None
        for place, (key, event) in enumerate(changes.items(), 1):
            self.told[grown.line].append((root.version + place, key, event))
        after = {**known, **changes}
        self.states.append((grown, {key: event for key, event in after.items() if event is not None}))

    async def _extend(self, root: Root, changes: Mapping[Key, int | None]) -> Root | None:
        grown, _ = await self.database.commit(lambda transaction: state.extend(transaction, root, changes))
        return grown

    async def events(self, keys: Mapping[Key, str | None]) -> Changes:
        """New events for some keys; None takes the key away."""
        made = {
            key: next(self.numbers) if membership is not None else None for key, membership in keys.items()
        }
        rows = []
        for key, nid in made.items():
            if nid is not None:
                self.memberships[nid] = str(keys[key])
                rows.append(event_row(nid, key, str(keys[key])))
        columns = (
            "nid, event_id, room, type, state_key, sender, depth, received_ts, outcome, state_line, "
            "state_version, pdu"
        )

        async def write(transaction: Transaction) -> None:
            await transaction.insert("events", columns, rows)

        await self.database.commit(write)
        return made

    def difference(self, old: int, new: int) -> Changes:
        before, after = self.states[old][1], self.states[new][1]
        return {
            key: after.get(key) for key in before.keys() | after.keys() if before.get(key) != after.get(key)
        }


def event_row(nid: int, key: Key, membership: str) -> tuple[object, ...]:
    pdu = orjson.dumps({"content": {"membership": membership}})
    return (nid, f"${nid}", ROOM, *key, "@alice:example.org", 1, 0, 0, 1, 0, pdu)


STEP = st.one_of(
    st.tuples(
        st.just("grow"),
        st.integers(0, 1000),
        st.dictionaries(
            st.sampled_from(KEYS), st.one_of(st.none(), st.sampled_from(MEMBERSHIPS)), min_size=1, max_size=4
        ),
    ),
    st.tuples(st.just("merge"), st.integers(0, 1000), st.lists(st.integers(0, 1000), min_size=1, max_size=3)),
    st.tuples(st.just("fork"), st.integers(0, 1000), st.none()),
)
HISTORY = st.lists(STEP, min_size=1, max_size=30)
"""Steps, each upon one of the states so far: counted from the newest, so that small numbers make straight lines."""


async def live(model: Model, history: list[tuple[str, int, object]]) -> None:
    for kind, back, what in history:
        parent = len(model.states) - 1 - back % len(model.states)
        if kind == "grow":
            assert isinstance(what, dict)
            await model.grow(parent, await model.events(what))
        elif kind == "fork":
            await model.fork(parent)
        else:
            assert isinstance(what, list)
            await merge(model, parent, [other % len(model.states) for other in what])


async def merge(model: Model, parent: int, others: list[int]) -> None:
    """Resolve: of what differs, each key's newest event; an absent one counts as the oldest."""
    changes: Changes = {}
    for other in others:
        found = await state.changes_from(model.database, model.states[parent][0], model.states[other][0])
        assert found == model.difference(parent, other)
        for key, event in found.items():
            standing = changes.get(key, model.states[parent][1].get(key))
            if event is None or standing is None or event > standing:
                changes[key] = event
    await model.grow(parent, changes)


@PROPERTY
@given(history=HISTORY)
async def test_every_state_that_was_is_read_as_it_was(
    database: Database, history: list[tuple[str, int, object]]
) -> None:
    model = await Model.start(database)
    await live(model, history)
    for root, known in model.states:
        assert await state.at(database, root) == known
        without = {key: event for key, event in known.items() if key[0] != "m.room.member"}
        assert await state.at(database, root, members=False) == without
        change = (KEYS[2], 77)
        assert await state.after(database, root, change) == {**known, KEYS[2]: 77}
        assert await state.after(database, root, None) == known


@PROPERTY
@given(history=HISTORY)
async def test_any_keys_of_any_states_are_found_in_one_question(
    database: Database, history: list[tuple[str, int, object]]
) -> None:
    model = await Model.start(database)
    await live(model, history)
    unknown = ("m.room.member", "@nobody:example.org")
    for root, known in model.states:
        assert await state.keys_at(database, root, [*KEYS, unknown, KEYS[0]]) == known
    pairs = [(root, key) for root, _ in model.states for key in KEYS]
    wanted = [known.get(key) for _, known in model.states for key in KEYS]
    assert await state.values_at(database, pairs) == wanted


@PROPERTY
@given(history=HISTORY, chosen=st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), max_size=12))
async def test_any_two_states_are_told_apart(
    database: Database, history: list[tuple[str, int, object]], chosen: list[tuple[int, int]]
) -> None:
    model = await Model.start(database)
    await live(model, history)
    for one, other in chosen:
        old, new = one % len(model.states), other % len(model.states)
        found = await state.changes_from(database, model.states[old][0], model.states[new][0])
        assert found == model.difference(old, new)


@PROPERTY
@given(history=HISTORY)
async def test_what_happened_on_a_line_is_told_from_any_of_its_versions(
    database: Database, history: list[tuple[str, int, object]]
) -> None:
    model = await Model.start(database)
    await live(model, history)
    for line, told in model.told.items():
        versions = sorted(
            {model.starts[line], *(root.version for root, _ in model.states if root.line == line)}
        )
        for after, until in itertools.combinations_with_replacement(versions, 2):
            wanted = {key: event for version, key, event in told if after < version <= until}
            assert await state.changes_between(database, line, after, until) == wanted


@PROPERTY
@given(history=HISTORY)
async def test_a_line_tells_the_story_of_a_key(
    database: Database, history: list[tuple[str, int, object]]
) -> None:
    model = await Model.start(database)
    await live(model, history)
    first = model.states[0][0].line
    for line, told in model.told.items():
        wanted = {key: [(version, event) for version, of, event in told if of == key] for key in KEYS}
        assert await state.story(database, line, KEYS) == (wanted if line == first else None)


async def test_forks_of_forks_stay_few_steps_from_their_beginning(database: Database) -> None:
    model = await Model.start(database, state.MOST_STEPS)
    await model.grow(0, dict.fromkeys(KEYS))
    depth = 150
    for number in range(depth):
        await model.fork(len(model.states) - 1)
        await model.grow(len(model.states) - 1, {("m.room.member", f"@u{number}:example.org"): 1000 + number})
    parents = dict(await database.fetch("SELECT line, parent_line FROM state_lines"))
    for root, _ in model.states:
        steps, line = 1, parents[root.line]
        while line is not None:
            steps, line = steps + 1, parents[line]
        assert steps <= state.MOST_STEPS
    for root, known in model.states[:: depth // 10]:
        assert await state.at(database, root) == known
        assert await state.keys_at(database, root, list(known)) == known
    copies = await database.fetch_value("SELECT COUNT(*) FROM state_changes") - depth - len(KEYS)
    assert copies < 4 * depth


async def test_only_one_goes_on_from_a_state_on_its_line(database: Database) -> None:
    model = await Model.start(database)
    root = model.states[0][0]

    async def extend(event: int) -> Root | None:
        changes: Changes = {KEYS[0]: event, KEYS[1]: event}
        grown, _ = await database.commit(lambda transaction: state.extend(transaction, root, changes))
        return grown

    grown = await asyncio.gather(*(extend(event) for event in range(1, 6)))
    winners = [event for event, one in enumerate(grown, 1) if one is not None]
    assert len(winners) == 1
    assert grown[winners[0] - 1] == Root(root.line, 2)
    assert await state.at(database, Root(root.line, 2)) == {KEYS[0]: winners[0], KEYS[1]: winners[0]}
    assert await database.fetch_value("SELECT COUNT(*) FROM state_changes") == 2


async def test_states_of_rooms_that_never_met_are_told_apart(database: Database) -> None:
    one, other = await Model.start(database), await Model.start(database)
    await one.grow(0, {KEYS[0]: 1, KEYS[1]: 2})
    await other.grow(0, {KEYS[0]: 1, KEYS[2]: 3})
    found = await state.changes_from(database, one.states[1][0], other.states[1][0])
    assert found == {KEYS[1]: None, KEYS[2]: 3}


async def test_thousands_of_keys_are_found_in_portions(database: Database) -> None:
    model = await Model.start(database)
    known = {("m.room.member", f"@u{number}:example.org"): number + 1 for number in range(1500)}
    await model.grow(0, known)
    assert await state.keys_at(database, model.states[1][0], list(known)) == known
    assert await state.keys_at(database, model.states[0][0], list(known)) == {}
    assert await state.keys_at(database, model.states[1][0], []) == {}
