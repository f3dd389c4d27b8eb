"""Room state: what it is now, and what it was before any event.

Historical state is a *line*: a row of versions, each of which changes one key or more. The state at (line, version) is,
for every key, the newest change of the line up to that version; what the line says nothing of comes from the parent
that it started from. A room without forks is one line, so a state event costs one narrow row, and one key at any
moment is one look-up in an index.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import orjson

from ranvier.store.database import Reader, Transaction
from ranvier.store.tuples import slices, table_of

Key = tuple[str, str]
"""(type, state_key)."""


class Root(NamedTuple):
    """The name of a room's state at some moment."""

    line: int
    version: int


async def insert_lines(
    transaction: Transaction, rows: Sequence[tuple[int, int, int | None, int | None]]
) -> None:
    """New lines: (line, room, parent line, parent version)."""
    await transaction.insert("state_lines", "line, room, parent_line, parent_version", rows)


async def insert_changes(
    transaction: Transaction, rows: Sequence[tuple[int, str, str, int, int | None]]
) -> None:
    """Changes: (line, type, state_key, version, event's number or None where the key went away)."""
    await transaction.insert("state_changes", "line, type, state_key, version, event", rows)


async def set_current(transaction: Transaction, rows: Sequence[tuple[int, str, str, int]]) -> None:
    """Current state: (room, type, state_key, event's number); each key at most once."""
    await transaction.insert(
        "current_state",
        "room, type, state_key, event",
        rows,
        "(room, type, state_key) DO UPDATE SET event = excluded.event",
    )


async def unset_current(transaction: Transaction, room: int, keys: Iterable[Key]) -> None:
    """Keys that resolution took out of the current state."""
    for kind, state_key in keys:
        await transaction.execute(
            "DELETE FROM current_state WHERE room = $1 AND type = $2 AND state_key = $3",
            room,
            kind,
            state_key,
        )


async def current_without_members(reader: Reader, room: int) -> dict[Key, int]:
    """The current state's events by key, memberships left out."""
    rows = await reader.fetch(
        "SELECT type, state_key, event FROM current_state WHERE room = $1 AND type <> 'm.room.member'", room
    )
    return {(row[0], row[1]): row[2] for row in rows}


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


async def all_members(reader: Reader, room: int) -> dict[str, int]:
    """The membership events of all users."""
    rows = await reader.fetch(
        "SELECT state_key, event FROM current_state WHERE room = $1 AND type = 'm.room.member'", room
    )
    return {row[0]: row[1] for row in rows}


async def _ancestry(reader: Reader, root: Root) -> list[Root]:
    """The root and those that its line started from, nearest first."""
    roots = [root]
    while True:
        row = await reader.fetch_row(
            "SELECT parent_line, parent_version FROM state_lines WHERE line = $1", roots[-1].line
        )
        if row is None or row[0] is None:
            return roots
        roots.append(Root(row[0], row[1]))


async def at(reader: Reader, root: Root) -> dict[Key, int]:
    """The whole state at a root: events' numbers by key."""
    state: dict[Key, int | None] = {}
    for step in reversed(await _ancestry(reader, root)):
        rows = await reader.fetch(
            "SELECT type, state_key, event FROM state_changes WHERE line = $1 AND version <= $2 ORDER BY version",
            step.line,
            step.version,
        )
        state.update({(row[0], row[1]): row[2] for row in rows})
    return {key: event for key, event in state.items() if event is not None}


async def after(reader: Reader, root: Root, change: tuple[Key, int] | None) -> dict[Key, int]:
    """The whole state once a change, if any, was made at a root."""
    state = await at(reader, root)
    if change is not None:
        state[change[0]] = change[1]
    return state


async def keys_at(reader: Reader, root: Root, keys: Sequence[Key]) -> dict[Key, int]:
    """Some keys of the state at a root; those that it lacks are left out."""
    found: dict[Key, int | None] = {}
    wanted = list(keys)
    for step in await _ancestry(reader, root):
        missing = []
        for kind, state_key in wanted:
            row = await reader.fetch_row(
                "SELECT event FROM state_changes WHERE line = $1 AND type = $2 AND state_key = $3 AND version <= $4 "
                "ORDER BY version DESC LIMIT 1",
                step.line,
                kind,
                state_key,
                step.version,
            )
            if row is None:
                missing.append((kind, state_key))
            else:
                found[kind, state_key] = row[0]
        wanted = missing
        if not wanted:
            break
    return {key: event for key, event in found.items() if event is not None}


async def values_at(reader: Reader, wanted: Sequence[tuple[Root, Key]]) -> list[int | None]:
    """For each root and key, the event's number; one query for all that their own lines know of."""
    found: dict[tuple[int, int, str, str], int | None] = {}
    rows = [(root.line, root.version, *key) for root, key in wanted]
    for part in slices(rows):
        table, values = table_of(part, ("BIGINT", "BIGINT", "TEXT", "TEXT"))
        answers = await reader.fetch(
            f"WITH wanted(line, version, type, state_key) AS ({table}) "  # noqa: S608
            "SELECT w.line, w.version, w.type, w.state_key, (SELECT s.event FROM state_changes s "
            "WHERE s.line = w.line AND s.type = w.type AND s.state_key = w.state_key AND s.version <= w.version "
            "ORDER BY s.version DESC LIMIT 1) FROM wanted w",
            *values,
        )
        found.update({(a[0], a[1], a[2], a[3]): a[4] for a in answers})
    forked = await _with_parent(reader, {row[0] for row in rows if found[row] is None})
    return [
        (await keys_at(reader, root, [key])).get(key)
        if found[row] is None and root.line in forked
        else found[row]
        for (root, key), row in zip(wanted, rows, strict=True)
    ]


async def _with_parent(reader: Reader, lines: set[int]) -> set[int]:
    """Those of the lines that started from another."""
    if not lines:
        return set()
    rows = await reader.fetch(
        "SELECT line FROM state_lines WHERE line = ANY($1) AND parent_line IS NOT NULL", sorted(lines)
    )
    return {row[0] for row in rows}


async def newest_values(reader: Reader, line: int, key: Key, most: int = 100) -> list[int]:
    """The events that a line had for a key, the newest first."""
    rows = await reader.fetch(
        "SELECT event FROM state_changes WHERE line = $1 AND type = $2 AND state_key = $3 AND event IS NOT NULL "
        "ORDER BY version DESC LIMIT $4",
        line,
        *key,
        most,
    )
    return [row[0] for row in rows]


async def story(
    reader: Reader, line: int, keys: Sequence[Key]
) -> dict[Key, list[tuple[int, int | None]]] | None:
    """All changes of some keys on a line, (version, event's number), oldest first; None if it has a parent."""
    if await _with_parent(reader, {line}):
        return None
    told = {}
    for key in keys:
        rows = await reader.fetch(
            "SELECT version, event FROM state_changes WHERE line = $1 AND type = $2 AND state_key = $3 "
            "ORDER BY version",
            line,
            *key,
        )
        told[key] = [(row[0], row[1]) for row in rows]
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


async def had_membership_since(
    reader: Reader, line: int, version: int, user_id: str, membership: str
) -> bool:
    """Whether a user's membership became this after a version of a line, as the newest event tells."""
    rows = await reader.fetch(
        "SELECT e.pdu FROM state_changes s JOIN events e ON e.nid = s.event "
        "WHERE s.line = $1 AND s.type = 'm.room.member' AND s.state_key = $2 AND s.version > $3",
        line,
        user_id,
        version,
    )
    return any(orjson.loads(row[0])["content"].get("membership") == membership for row in rows)
