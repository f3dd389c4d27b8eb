"""Rooms whose state is partial: joined through a peer that left members out, which are still to come."""

from collections.abc import Sequence
from typing import NamedTuple

import orjson

from ranvier.store.database import Reader, Row, Transaction


class PartialRoom(NamedTuple):
    """A room's number, the join that began it, the line of the state before that, and the servers that were named.

    `completed` is the version of the room's timeline that brought the rest, None while it is to come.
    """

    room: int
    join: int
    base_line: int
    servers: tuple[str, ...]
    completed: int | None = None


_COLUMNS = "room, join_event, base_line, servers, completed_version"


async def insert(transaction: Transaction, partial: PartialRoom) -> None:
    """Note that a room is partial, in place of what was noted before."""
    await delete(transaction, partial.room)
    servers = orjson.dumps(partial.servers).decode()
    row = (partial.room, partial.join, partial.base_line, servers, partial.completed)
    await transaction.insert("partial_rooms", _COLUMNS, [row])


async def complete(transaction: Transaction, room: int, version: int) -> None:
    """The room is complete since a version of its timeline."""
    await transaction.execute(
        "UPDATE partial_rooms SET completed_version = $2, servers = '[]' WHERE room = $1", room, version
    )


async def delete(transaction: Transaction, room: int) -> None:
    """The room was entered anew with its whole state."""
    await transaction.execute("DELETE FROM partial_rooms WHERE room = $1", room)


async def get(reader: Reader, room: int) -> PartialRoom | None:
    """What is or was partial of a room, if anything."""
    row = await reader.fetch_row(f"SELECT {_COLUMNS} FROM partial_rooms WHERE room = $1", room)  # noqa: S608
    return _partial(row) if row is not None else None


async def of_rooms(reader: Reader, rooms: Sequence[int]) -> dict[int, PartialRoom]:
    """What is or was partial of rooms, by room; those that never were partial are left out."""
    rows = await reader.fetch(f"SELECT {_COLUMNS} FROM partial_rooms WHERE room = ANY($1)", list(rooms))  # noqa: S608
    return {row[0]: _partial(row) for row in rows}


async def incomplete(reader: Reader) -> list[str]:
    """The ids of the rooms that are partial: to go on with after a restart."""
    rows = await reader.fetch(
        "SELECT r.room_id FROM partial_rooms p JOIN rooms r ON r.nid = p.room "
        "WHERE p.completed_version IS NULL ORDER BY p.room"
    )
    return [row[0] for row in rows]


def _partial(row: Row) -> PartialRoom:
    return PartialRoom(row[0], row[1], row[2], tuple(orjson.loads(row[3])), row[4])
