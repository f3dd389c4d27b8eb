"""Rooms, the row of their heads, memberships, aliases, and clients' transaction ids."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from ranvier.store.database import Database, Reader, Transaction
from ranvier.store.state import Root


class RoomRow(NamedTuple):
    """A room as the store names it."""

    nid: int
    room_id: str
    version: str


@dataclass(frozen=True, slots=True)
class HeadRow:
    """The newest row of a room's timeline: version, forward extremities' numbers, the root of the state after it."""

    version: int
    extremities: tuple[int, ...]
    root: Root


@dataclass(frozen=True, slots=True)
class Membership:
    """A user's membership of a room. `event` and `room` are numbers, both 0 for rooms that this server is not in.

    There `stripped_state` is what it was told: the room's face, or the event that ended an invite or a knock.
    """

    user_id: str
    room_id: str
    room: int
    membership: str
    event: int
    sender: str
    forgotten: bool
    stripped_state: list[dict[str, Any]] | None

    @property
    def is_afar(self) -> bool:
        """Whether this server is not in the room, so that the membership is all that it knows of it."""
        return self.room == 0


async def insert_room(transaction: Transaction, room: RoomRow) -> None:
    """A new room."""
    await transaction.insert("rooms", "nid, room_id, version", [room])


async def add_room(transaction: Transaction, room: RoomRow) -> None:
    """A new room, unless it is known by its id already."""
    await transaction.insert("rooms", "nid, room_id, version", [room], "DO NOTHING")


async def by_id(reader: Reader, room_id: str) -> RoomRow | None:
    """The room of that id."""
    row = await reader.fetch_row("SELECT nid, room_id, version FROM rooms WHERE room_id = $1", room_id)
    return RoomRow(*row) if row is not None else None


async def by_ids(reader: Reader, room_ids: Sequence[str]) -> list[RoomRow]:
    """The rooms of these ids; unknown ones are left out."""
    rows = await reader.fetch(
        "SELECT nid, room_id, version FROM rooms WHERE room_id = ANY($1)", list(room_ids)
    )
    return [RoomRow(*row) for row in rows]


async def by_nid(reader: Reader, nid: int) -> RoomRow | None:
    """The room of that number."""
    row = await reader.fetch_row("SELECT nid, room_id, version FROM rooms WHERE nid = $1", nid)
    return RoomRow(*row) if row is not None else None


async def heads(reader: Reader, rooms: Sequence[int]) -> dict[int, HeadRow]:
    """The newest row of each room's timeline; rooms without one are left out."""
    rows = await reader.fetch(
        "SELECT t.room, t.version, t.event, t.extremities, t.state_line, t.state_version FROM rooms r "
        "JOIN timeline t ON t.room = r.nid "
        "AND t.version = (SELECT MAX(n.version) FROM timeline n WHERE n.room = r.nid) WHERE r.nid = ANY($1)",
        list(rooms),
    )
    return {row[0]: _head(row[1:]) for row in rows}


async def head(reader: Reader, room: int) -> HeadRow | None:
    """The newest row of the room's timeline."""
    row = await reader.fetch_row(
        "SELECT version, event, extremities, state_line, state_version FROM timeline "
        "WHERE room = $1 ORDER BY version DESC LIMIT 1",
        room,
    )
    return _head(row) if row is not None else None


def _head(row: Sequence[Any]) -> HeadRow:
    extremities = tuple(orjson.loads(row[2])) if row[2] is not None else (row[1],)
    return HeadRow(row[0], extremities, Root(row[3], row[4]))


_TIMELINE = "room, version, event, state_line, state_version, extremities"


async def insert_timeline(
    transaction: Transaction, rows: Sequence[tuple[int, int, int | None, int, int, str | None]]
) -> int:
    """Heads' new versions: (room, version, event, state line, state version, extremities).

    This is the compare-and-set: fewer rows written than given means that a head was stale.
    """
    return await transaction.insert("timeline", _TIMELINE, sorted(rows, key=_in_order), "DO NOTHING")


async def put_timeline(
    transaction: Transaction,
    rows: Sequence[tuple[int, int, int | None, int, int, str | None]],
    stale: Exception,
) -> None:
    """As `insert_timeline`; a head that was stale ends the transaction with `stale`."""
    await transaction.put("timeline", _TIMELINE, sorted(rows, key=_in_order), "DO NOTHING", stale)


def _in_order(row: Sequence[Any]) -> tuple[int, int]:
    # Rooms in one order in every process, so that none waits for another in a circle.
    return row[0], row[1]


async def take_back_timeline(transaction: Transaction, rows: Sequence[tuple[int, int, int]]) -> set[int]:
    """Of versions that were just given to `insert_timeline` as (room, version, event): those of stale heads go again.

    Answers the rooms whose head was stale.
    """
    written = await transaction.fetch(
        "SELECT room, version, event FROM timeline WHERE room = ANY($1) AND version = ANY($2)",
        sorted({row[0] for row in rows}),
        sorted({row[1] for row in rows}),
    )
    stale = {row[0] for row in set(rows) - {tuple(row) for row in written}}
    void = [row for row in rows if row[0] in stale]
    await transaction.execute(
        "DELETE FROM timeline WHERE room = ANY($1) AND version = ANY($2) AND event = ANY($3)",
        sorted(stale),
        sorted({row[1] for row in void}),
        [row[2] for row in void],
    )
    return stale


_MEMBERSHIP = "user_id, room_id, room, membership, event, sender, forgotten, stripped_state"


def _membership(row: Sequence[Any]) -> Membership:
    stripped = orjson.loads(row[7]) if row[7] is not None else None
    return Membership(row[0], row[1], row[2], row[3], row[4], row[5], bool(row[6]), stripped)


async def set_memberships(
    transaction: Transaction, memberships: Sequence[Membership], *, unless_known: bool = False
) -> None:
    """What users are in rooms from now on; each pair of user and room at most once."""
    rows = [
        (
            m.user_id,
            m.room_id,
            m.room,
            m.membership,
            m.event,
            m.sender,
            m.forgotten,
            orjson.dumps(m.stripped_state).decode() if m.stripped_state is not None else None,
        )
        for m in memberships
    ]
    await transaction.put(
        "memberships",
        _MEMBERSHIP,
        rows,
        "(user_id, room_id) DO NOTHING"
        if unless_known
        else "(user_id, room_id) DO UPDATE SET room = excluded.room, membership = excluded.membership, "
        "event = excluded.event, sender = excluded.sender, forgotten = excluded.forgotten, "
        "stripped_state = excluded.stripped_state",
    )


async def delete_memberships(transaction: Transaction, pairs: Iterable[tuple[str, str]]) -> None:
    """Users who are nothing in rooms any more: (user, room id)."""
    for user_id, room_id in pairs:
        await transaction.execute(
            "DELETE FROM memberships WHERE user_id = $1 AND room_id = $2", user_id, room_id
        )


async def forget(transaction: Transaction, user_id: str, room_id: str) -> bool:
    """Keep a room that the user left out of their sync and history; False if they are in it (again)."""
    changed = await transaction.execute(
        "UPDATE memberships SET forgotten = TRUE "
        "WHERE user_id = $1 AND room_id = $2 AND membership IN ('leave', 'ban')",
        user_id,
        room_id,
    )
    return changed == 1


async def memberships_of(reader: Reader, user_id: str) -> list[Membership]:
    """All rooms that a user is or was in, forgotten ones left out."""
    rows = await reader.fetch(
        f"SELECT {_MEMBERSHIP} FROM memberships WHERE user_id = $1 AND forgotten = FALSE",  # noqa: S608
        user_id,
    )
    return [_membership(row) for row in rows]


async def membership(reader: Reader, user_id: str, room_id: str) -> Membership | None:
    """What one user is in one room, forgotten or not."""
    row = await reader.fetch_row(
        f"SELECT {_MEMBERSHIP} FROM memberships WHERE user_id = $1 AND room_id = $2",  # noqa: S608
        user_id,
        room_id,
    )
    return _membership(row) if row is not None else None


async def memberships_among(
    reader: Reader, pairs: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], Membership]:
    """What users are in rooms, by (user, room id), forgotten or not; where nothing is known they are left out."""
    rows = await reader.fetch(
        f"SELECT {_MEMBERSHIP} FROM memberships WHERE user_id = ANY($1) AND room_id = ANY($2)",  # noqa: S608
        sorted({user_id for user_id, _ in pairs}),
        sorted({room_id for _, room_id in pairs}),
    )
    return {(row[0], row[1]): _membership(row) for row in rows}


async def members(reader: Reader, room: int, membership: str) -> list[str]:
    """The users with one membership of a room."""
    rows = await reader.fetch(
        "SELECT user_id FROM memberships WHERE room = $1 AND membership = $2", room, membership
    )
    return [row[0] for row in rows]


async def joined_of_server(reader: Reader, room: int, server: str, most: int) -> list[str]:
    """Some users of a server who are in a room."""
    rows = await reader.fetch(
        "SELECT user_id FROM memberships WHERE room = $1 AND membership = 'join' AND user_id LIKE $2 LIMIT $3",
        room,
        f"%:{server}",
        most,
    )
    # A pattern may fit more than was meant.
    return [row[0] for row in rows if row[0].partition(":")[2] == server]


async def membership_events(reader: Reader, room_id: str) -> dict[str, tuple[int, str]]:
    """(number of the event, membership) of all users who are or were something in a room."""
    rows = await reader.fetch(
        "SELECT user_id, event, membership FROM memberships WHERE room_id = $1", room_id
    )
    return {row[0]: (row[1], row[2]) for row in rows}


async def member_counts(reader: Reader, rooms: Sequence[int]) -> dict[int, dict[str, int]]:
    """By room, how many users have each membership."""
    rows = await reader.fetch(
        "SELECT room, membership, COUNT(*) FROM memberships WHERE room = ANY($1) GROUP BY room, membership",
        list(rooms),
    )
    counts: dict[int, dict[str, int]] = {room: {} for room in rooms}
    for room, membership, number in rows:
        counts[room][membership] = number
    return counts


async def heroes(database: Database, room: int, memberships: Sequence[str], limit: int) -> list[str]:
    """Some users with these memberships, in the order in which their membership's events arrived."""
    rows = await database.fetch_slowly(
        "SELECT user_id FROM memberships WHERE room = $1 AND membership = ANY($2) ORDER BY event LIMIT $3",
        room,
        list(memberships),
        limit,
    )
    return [row[0] for row in rows]


class TransactionKey(NamedTuple):
    """A client's transaction id, and what it is unique within: user, device and the kind of request."""

    user_id: str
    device_id: str
    scope: str
    txn_id: str


_TRANSACTIONS = "user_id, device_id, scope, txn_id, result, created_ts"


async def insert_transactions(
    transaction: Transaction, rows: Sequence[tuple[TransactionKey, str, int]]
) -> int:
    """Transaction ids with what was answered, and when (ms); fewer written than given means that one is known."""
    values = [(*key, result, at) for key, result, at in rows]
    return await transaction.insert("transactions", _TRANSACTIONS, values, "DO NOTHING")


async def put_transactions(
    transaction: Transaction, rows: Sequence[tuple[TransactionKey, str, int]], known: Exception
) -> None:
    """As `insert_transactions`; an id that is known ends the transaction with `known`."""
    values = [(*key, result, at) for key, result, at in rows]
    await transaction.put("transactions", _TRANSACTIONS, values, "DO NOTHING", known)


async def transaction_result(reader: Reader, key: TransactionKey) -> str | None:
    """What was answered to a transaction id, if it is known."""
    return await reader.fetch_value(  # type: ignore[no-any-return]
        "SELECT result FROM transactions WHERE user_id = $1 AND device_id = $2 AND scope = $3 AND txn_id = $4",
        *key,
    )


async def insert_alias(transaction: Transaction, alias: str, room_id: str, creator: str) -> bool:
    """Point an alias to a room; False if it points somewhere already."""
    written = await transaction.insert(
        "room_aliases", "alias, room_id, creator", [(alias, room_id, creator)], "DO NOTHING"
    )
    return written == 1


async def delete_alias(transaction: Transaction, alias: str) -> None:
    """Take an alias away."""
    await transaction.execute("DELETE FROM room_aliases WHERE alias = $1", alias)


async def alias(reader: Reader, name: str) -> tuple[str, str] | None:
    """The room id that an alias points to, and who made it."""
    row = await reader.fetch_row("SELECT room_id, creator FROM room_aliases WHERE alias = $1", name)
    return (row[0], row[1]) if row is not None else None


async def alias_targets(reader: Reader, names: Sequence[str]) -> dict[str, str]:
    """The room ids that aliases point to; unknown ones are left out."""
    rows = await reader.fetch("SELECT alias, room_id FROM room_aliases WHERE alias = ANY($1)", list(names))
    return {row[0]: row[1] for row in rows}


async def aliases_of(reader: Reader, room_id: str) -> list[str]:
    """The local aliases of a room."""
    rows = await reader.fetch("SELECT alias FROM room_aliases WHERE room_id = $1 ORDER BY alias", room_id)
    return [row[0] for row in rows]


async def move_aliases(transaction: Transaction, old_room_id: str, new_room_id: str) -> None:
    """Point all aliases of one room to another."""
    await transaction.execute(
        "UPDATE room_aliases SET room_id = $2 WHERE room_id = $1", old_room_id, new_room_id
    )


async def publish(transaction: Transaction, room: int, now: int) -> None:
    """Show the room in the room directory from now (ms since the epoch) on."""
    await transaction.insert("published_rooms", "room, published_ts", [(room, now)], "DO NOTHING")


async def unpublish(transaction: Transaction, room: int) -> None:
    """Take the room out of the room directory."""
    await transaction.execute("DELETE FROM published_rooms WHERE room = $1", room)


async def is_published(reader: Reader, room: int) -> bool:
    """Whether the room directory shows the room."""
    return await reader.fetch_value("SELECT 1 FROM published_rooms WHERE room = $1", room) is not None


async def joined_servers(database: Database, room: int) -> dict[str, int]:
    """How many joined members of the room each server has."""
    place = "instr" if database.dialect == "sqlite" else "strpos"
    server = f"substr(user_id, {place}(user_id, ':') + 1)"
    rows = await database.fetch_slowly(
        f"SELECT {server}, COUNT(*) FROM memberships WHERE room = $1 AND membership = 'join' GROUP BY {server}",  # noqa: S608
        room,
    )
    return {row[0]: row[1] for row in rows}
