"""Rooms are read into memory as they are, one at a time or many at once."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from tests.server import Server

from ranvier.rooms.events import Events
from ranvier.rooms.heads import MEMBER, Head, Heads
from ranvier.store.database import Reader

ROOMS = 12


class Counting:
    """A database that counts what it is asked."""

    def __init__(self, asked: Any) -> None:
        self._asked = asked
        self.dialect = asked.dialect
        self.queries = 0

    async def fetch(self, sql: str, *values: Any) -> Any:
        self.queries += 1
        return await self._asked.fetch(sql, *values)

    async def fetch_row(self, sql: str, *values: Any) -> Any:
        self.queries += 1
        return await self._asked.fetch_row(sql, *values)

    async def fetch_value(self, sql: str, *values: Any) -> Any:
        self.queries += 1
        return await self._asked.fetch_value(sql, *values)

    @contextlib.asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Reader]:
        async with self._asked.snapshot() as reader:
            inner = Counting(reader)
            yield inner
        self.queries += inner.queries


def fresh(database: Any) -> Heads:
    return Heads(database, Events(database, 1 << 24), 1 << 24)


def _facts(head: Head) -> dict[str, Any]:
    facts = {name: getattr(head, name) for name in ("version", "root", "complete", "partial")}
    state = {key: kept.nid if kept is not None else None for key, kept in head.state.items()}
    return facts | {"state": state, "extremities": [kept.nid for kept in head.extremities]}


async def test_many_rooms_are_loaded_with_few_queries_and_are_what_each_alone_is(server: Server) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    room_ids = []
    for number in range(ROOMS):
        room_ids.append(await alice.create_room(preset="public_chat", name=f"room {number}"))
        if number % 3:
            await bob.join(room_ids[-1])
        if number % 3 == 2:
            await bob.leave(room_ids[-1])
    database = Counting(server.composition.ground.database)
    many, alone = fresh(database), fresh(database)
    await many.load([*room_ids, "!nowhere:ranvier.test"], bob.user_id)
    assert database.queries < ROOMS
    assert many.at_hand("!nowhere:ranvier.test") is None
    for number, room_id in enumerate(room_ids):
        room, other = many.at_hand(room_id), await alone.get(room_id)
        assert room is not None
        assert other is not None
        before = database.queries
        head = await many.fault_in(room, [bob.user_id])
        assert database.queries == before
        assert _facts(head) == _facts(await alone.fault_in(other, [bob.user_id]))
        assert (head.get(MEMBER, bob.user_id) is None) is (number % 3 == 0)
        assert (room.counts, room.has_gaps, room.completed) == (other.counts, other.has_gaps, other.completed)


async def test_rooms_that_are_at_hand_already_are_not_read_again(server: Server) -> None:
    alice = await server.register("alice")
    room_ids = [await alice.create_room() for _ in range(3)]
    database = Counting(server.composition.ground.database)
    heads = fresh(database)
    await heads.load(room_ids, alice.user_id)
    held = [heads.at_hand(room_id) for room_id in room_ids]
    before = database.queries
    await heads.load(room_ids, alice.user_id)
    assert database.queries == before
    assert all(heads.at_hand(room_id) is room for room_id, room in zip(room_ids, held, strict=True))
