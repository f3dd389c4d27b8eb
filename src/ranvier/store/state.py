"""Room state: what it is now, and what it was before any event.

Historical state is a *line*: a row of versions, each of which changes one key. The state at (line, version) is, for
every key, the newest change of the line up to that version; what the line says nothing of comes from the parent that
it started from, whose versions it goes on with. A room without forks is one line, so a state event costs one narrow
row, and one key at any moment is one look-up in an index.

A line grows at its newest version only: what builds on an older one, or on a line that another may be growing, forks.
A room's head alone grows the line that it is on, as the timeline's row is what decides there. A merge of several
states takes one of them and makes the changes that lead from it to the resolved state.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from ranvier.store.database import Reader, Transaction
from ranvier.store.tuples import slices, table_of

Key = tuple[str, str]
"""(type, state_key)."""


MOST_STEPS = 9
"""Lines that a look-up of one key may have to ask, however states were forked."""


_CHANGE_COLUMNS = "line, type, state_key, version, event"


class Root(NamedTuple):
    """The name of a room's state at some moment."""

    line: int
    version: int


async def insert_lines(
    transaction: Transaction, rows: Sequence[tuple[int, int, int | None, int | None]]
) -> None:
    """New lines: (line, room, parent line, parent version). A line with a parent is made by `fork`."""
    await transaction.insert("state_lines", "line, room, parent_line, parent_version", rows)


async def insert_changes(
    transaction: Transaction, rows: Sequence[tuple[int, str, str, int, int | None]]
) -> None:
    """Changes, one for each version of a line: (line, type, state_key, version, event's number or None).

    None is where the key went away.
    """
    await transaction.put("state_changes", _CHANGE_COLUMNS, rows)


async def take_back(transaction: Transaction, root: Root, event: int) -> None:
    """The change that made a state is taken out of its line, if it set this event: what was before goes on."""
    await transaction.execute(
        "DELETE FROM state_changes WHERE line = $1 AND version = $2 AND event = $3", *root, event
    )


async def extend(
    transaction: Transaction,
    root: Root,
    changes: Mapping[Key, int | None] | Sequence[tuple[Key, int | None]],
) -> Root | None:
    """The state after changes at a line's newest version; None if the line has gone on from there already.

    Not for a line that a room's head is on, unless the same transaction moves the head.
    """
    pairs = changes.items() if isinstance(changes, Mapping) else changes
    rows = [(root.line, *key, root.version + place, event) for place, (key, event) in enumerate(pairs, 1)]
    # Whoever has the first of the versions has them all.
    if rows and not await transaction.insert(
        "state_changes", _CHANGE_COLUMNS, rows[:1], "(line, version) DO NOTHING"
    ):
        return None
    await insert_changes(transaction, rows[1:])
    return Root(root.line, root.version + len(rows))


async def fork(
    transaction: Transaction, line: int, room: int, parent: Root, *, most_steps: int = MOST_STEPS
) -> Root:
    """The same state as the parent's, on a new line that nobody else grows yet.

    Where lines already start from lines many times over, the nearest are copied into the new one, together with
    each further that is less than twice as long as what is copied. So the number of steps stays bounded, and a
    change is copied about as often as the logarithm of their number says.
    """
    steps = await _ancestry(transaction, parent)
    if len(steps) < most_steps:
        await insert_lines(transaction, [(line, room, *parent)])
        return Root(line, parent.version)
    lengths = [step.version - start.version for step, start in pairwise(steps)]
    count, copied = 1, lengths[0]
    while count < len(lengths) and lengths[count] < 2 * copied:
        copied += lengths[count]
        count += 1
    start = steps[count]
    changes = await _since(transaction, steps, start)
    await insert_lines(transaction, [(line, room, *start)])
    await insert_changes(
        transaction,
        [(line, *key, start.version + place, event) for place, (key, event) in enumerate(changes.items(), 1)],
    )
    return Root(line, start.version + len(changes))


async def set_current(transaction: Transaction, rows: Sequence[tuple[int, str, str, int]]) -> None:
    """Current state: (room, type, state_key, event's number); each key at most once."""
    await transaction.put(
        "current_state",
        "room, type, state_key, event",
        rows,
        "(room, type, state_key) DO UPDATE SET event = excluded.event",
    )


async def add_current(transaction: Transaction, rows: Sequence[tuple[int, str, str, int]]) -> None:
    """Current state where there is none of a key: (room, type, state_key, event's number)."""
    await transaction.insert("current_state", "room, type, state_key, event", rows, "DO NOTHING")


async def newest_version(reader: Reader, line: int) -> int:
    """The newest version that a line itself has; 0 if it has none."""
    value = await reader.fetch_value("SELECT MAX(version) FROM state_changes WHERE line = $1", line)
    return int(value or 0)


async def unset_current(transaction: Transaction, room: int, keys: Iterable[Key]) -> None:
    """Keys that resolution took out of the current state."""
    for kind, state_key in keys:
        await transaction.execute(
            "DELETE FROM current_state WHERE room = $1 AND type = $2 AND state_key = $3",
            room,
            kind,
            state_key,
        )


async def current_without_members(reader: Reader, rooms: Sequence[int]) -> dict[int, dict[Key, int]]:
    """By room, the current state's events by key, memberships left out."""
    rows = await reader.fetch(
        "SELECT room, type, state_key, event FROM current_state WHERE room = ANY($1) AND type <> 'm.room.member'",
        list(rooms),
    )
    states: dict[int, dict[Key, int]] = {room: {} for room in rooms}
    for room, kind, state_key, event in rows:
        states[room][kind, state_key] = event
    return states


async def member_of_rooms(reader: Reader, rooms: Sequence[int], user_id: str) -> dict[int, int]:
    """By room, one user's membership event; rooms where there is none are left out."""
    rows = await reader.fetch(
        "SELECT room, event FROM current_state "
        "WHERE room = ANY($1) AND type = 'm.room.member' AND state_key = $2",
        list(rooms),
        user_id,
    )
    return {row[0]: row[1] for row in rows}


async def current(reader: Reader, room: int) -> dict[Key, int]:
    """The whole current state's events by key."""
    rows = await reader.fetch("SELECT type, state_key, event FROM current_state WHERE room = $1", room)
    return {(row[0], row[1]): row[2] for row in rows}


async def current_members(reader: Reader, room: int, user_ids: Sequence[str]) -> dict[str, int]:
    """The membership events of some users."""
    rows = await reader.fetch(
        "SELECT state_key, event FROM current_state "
        "WHERE room = $1 AND type = 'm.room.member' AND state_key = ANY($2)",
        room,
        list(user_ids),
    )
    return {row[0]: row[1] for row in rows}


async def current_value(reader: Reader, room: int, key: Key) -> int | None:
    """The event that a key holds now."""
    sql = "SELECT event FROM current_state WHERE room = $1 AND type = $2 AND state_key = $3"
    value = await reader.fetch_value(sql, room, *key)
    return int(value) if value is not None else None


async def all_members(reader: Reader, room: int) -> dict[str, int]:
    """The membership events of all users."""
    rows = await reader.fetch(
        "SELECT state_key, event FROM current_state WHERE room = $1 AND type = 'm.room.member'", room
    )
    return {row[0]: row[1] for row in rows}


_STEPS = (
    "WITH RECURSIVE steps(depth, line, version) AS (SELECT 0, CAST($1 AS BIGINT), CAST($2 AS BIGINT) UNION ALL "
    "SELECT s.depth + 1, l.parent_line, l.parent_version FROM steps s JOIN state_lines l ON l.line = s.line "
    "WHERE l.parent_line IS NOT NULL) SELECT line, version FROM steps ORDER BY depth"
)


async def _ancestry(reader: Reader, root: Root) -> list[Root]:
    """The root and those that its line started from, nearest first."""
    return [Root(row[0], row[1]) for row in await reader.fetch(_STEPS, *root)]


async def at(reader: Reader, root: Root, *, members: bool = True) -> dict[Key, int]:
    """The whole state at a root, memberships left out unless they are wanted: events' numbers by key.

    Reads every change of the lines (without members: every other change), so it may be long in old, big rooms.
    """
    # Either order lets the last row of a key be its newest; each is the one that its database needn't sort for.
    order = "ORDER BY type, state_key, version" if reader.dialect == "sqlite" else "ORDER BY version"
    sql = "SELECT type, state_key, event FROM state_changes WHERE line = $1 AND version <= $2"
    parts = [""] if members else ["AND type < 'm.room.member'", "AND type > 'm.room.member'"]
    state: dict[Key, int | None] = {}
    for step in reversed(await _ancestry(reader, root)):
        for part in parts:
            rows = await reader.fetch(f"{sql} {part} {order}", *step)
            state.update({(row[0], row[1]): row[2] for row in rows})
    return {key: event for key, event in state.items() if event is not None}


async def members_of_server(reader: Reader, root: Root, server: str) -> list[int]:
    """The membership events of one server's users in the state at a root."""
    members: dict[str, int | None] = {}
    for step in reversed(await _ancestry(reader, root)):
        rows = await reader.fetch(
            "SELECT state_key, event FROM state_changes WHERE line = $1 AND version <= $2 "
            "AND type = 'm.room.member' AND state_key LIKE $3 ORDER BY version",
            *step,
            f"%:{server}",
        )
        # A pattern may fit more than was meant.
        members.update({row[0]: row[1] for row in rows if row[0].partition(":")[2] == server})
    return [event for event in members.values() if event is not None]


async def after(
    reader: Reader, root: Root, change: tuple[Key, int] | None, *, members: bool = True
) -> dict[Key, int]:
    """The state once a change, if any, was made at a root; memberships are left out unless they are wanted."""
    state = await at(reader, root, members=members)
    if change is not None:
        state[change[0]] = change[1]
    return state


async def keys_at(reader: Reader, root: Root, keys: Sequence[Key]) -> dict[Key, int]:
    """Some keys of the state at a root; those that it lacks are left out."""
    events = await values_at(reader, [(root, key) for key in keys])
    return {key: event for key, event in zip(keys, events, strict=True) if event is not None}


_GONE = -1
"""Stands for the event of a key that went away, where nothing stands for a line that doesn't know the key."""


async def values_at(reader: Reader, wanted: Sequence[tuple[Root, Key]]) -> list[int | None]:
    """For each root and key, the event's number; one query for all, in portions."""
    nearest: dict[tuple[int, int, str, str], int] = {}
    rows = [(root.line, root.version, *key) for root, key in wanted]
    for part in slices(list(dict.fromkeys(rows))):
        table, values = table_of(part, ("BIGINT", "BIGINT", "TEXT", "TEXT"))
        answers = await reader.fetch(
            f"WITH RECURSIVE wanted(line, version, type, state_key) AS ({table}), "  # noqa: S608
            "steps(of_line, of_version, depth, line, version) AS ("
            "SELECT DISTINCT line, version, 0, line, version FROM wanted UNION ALL "
            "SELECT s.of_line, s.of_version, s.depth + 1, l.parent_line, l.parent_version FROM steps s "
            "JOIN state_lines l ON l.line = s.line WHERE l.parent_line IS NOT NULL) "
            "SELECT w.line, w.version, w.type, w.state_key, (SELECT COALESCE(c.event, -1) FROM state_changes c "
            "WHERE c.line = s.line AND c.type = w.type AND c.state_key = w.state_key AND c.version <= s.version "
            "ORDER BY c.version DESC LIMIT 1) FROM wanted w "
            "JOIN steps s ON s.of_line = w.line AND s.of_version = w.version ORDER BY s.depth",
            *values,
        )
        for line, version, kind, state_key, event in answers:
            if event is not None:
                nearest.setdefault((line, version, kind, state_key), event)
    found = (nearest.get(row, _GONE) for row in rows)
    return [event if event != _GONE else None for event in found]


async def _with_parent(reader: Reader, lines: set[int]) -> set[int]:
    """Those of the lines that started from another."""
    if not lines:
        return set()
    rows = await reader.fetch(
        "SELECT line FROM state_lines WHERE line = ANY($1) AND parent_line IS NOT NULL", sorted(lines)
    )
    return {row[0] for row in rows}


async def story(
    reader: Reader, line: int, keys: Sequence[Key]
) -> dict[Key, list[tuple[int, int | None]]] | None:
    """All changes of some keys on a line, (version, event's number), oldest first; None if it has a parent."""
    if await _with_parent(reader, {line}):
        return None
    told: dict[Key, list[tuple[int, int | None]]] = {key: [] for key in keys}
    for part in slices(keys):
        table, values = table_of(part, ("TEXT", "TEXT"), first=2)
        rows = await reader.fetch(
            f"WITH wanted(type, state_key) AS ({table}) SELECT c.type, c.state_key, c.version, c.event "  # noqa: S608
            "FROM (SELECT DISTINCT type, state_key FROM wanted) w JOIN state_changes c "
            "ON c.line = $1 AND c.type = w.type AND c.state_key = w.state_key ORDER BY c.version",
            line,
            *values,
        )
        for kind, state_key, version, event in rows:
            told[kind, state_key].append((version, event))
    return told


async def changes_between(reader: Reader, line: int, after: int, until: int) -> dict[Key, int | None]:
    """What changed on one line after one version and up to another: the newest event of each key."""
    rows = await reader.fetch(
        "SELECT type, state_key, event FROM state_changes "
        "WHERE line = $1 AND version > $2 AND version <= $3 ORDER BY version",
        line,
        after,
        until,
    )
    return {(row[0], row[1]): row[2] for row in rows}


async def changes_from(reader: Reader, old: Root, new: Root) -> dict[Key, int | None]:
    """How the state at one root differs from that at any other: the newer's event of each such key, None for none.

    Reads only what changed since the two parted.
    """
    if old.line == new.line:
        olds, news = [old], [new]
    else:
        olds, news = await _ancestry(reader, old), await _ancestry(reader, new)
    parting = _parting(olds, news)
    if parting is None:
        before: dict[Key, int | None] = {**await at(reader, old)}
        after: dict[Key, int | None] = {**await at(reader, new)}
    else:
        before, after = await _since(reader, olds, parting), await _since(reader, news, parting)
        shared = list(before.keys() ^ after.keys())
        known = await keys_at(reader, parting, shared)
        for key in shared:
            (after if key in before else before)[key] = known.get(key)
    keys = before.keys() | after.keys()
    return {key: after.get(key) for key in keys if before.get(key) != after.get(key)}


def _parting(olds: Sequence[Root], news: Sequence[Root]) -> Root | None:
    """The newest root that is in the past of both."""
    versions = dict(olds)
    for root in news:
        if root.line in versions:
            return Root(root.line, min(root.version, versions[root.line]))
    return None


async def _since(reader: Reader, steps: Sequence[Root], start: Root) -> dict[Key, int | None]:
    """What changed on the way from a root to the nearest of the steps that lead back to it."""
    way = list(steps[: [step.line for step in steps].index(start.line) + 1])
    changes: dict[Key, int | None] = {}
    for step in reversed(way):
        if step == start:
            continue
        # A line goes on with its parent's versions, so all that is newer than the start counts.
        changes.update(await changes_between(reader, step.line, start.version, step.version))
    return changes
