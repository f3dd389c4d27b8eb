"""What the log and the rooms' timelines say of whose devices a user must look at anew."""

from collections.abc import Collection, Mapping, Sequence

from ranvier.store import tuples
from ranvier.store.database import Reader
from ranvier.store.log import Kind


async def read_entries(
    reader: Reader, audiences: Sequence[str], after: int, until: int
) -> list[tuple[int, str, str]]:
    """Entries on device lists and on users' own memberships: kind, audience, ref."""
    rows = await reader.fetch(
        "SELECT DISTINCT kind, audience, ref FROM log "
        "WHERE audience = ANY($1) AND position > $2 AND position <= $3 AND kind = ANY($4)",
        list(audiences),
        after,
        until,
        [int(Kind.DEVICE_LIST), int(Kind.MEMBERSHIP)],
    )
    return [(row[0], row[1], row[2]) for row in rows]


async def read_members_touched(reader: Reader, since: Mapping[int, int]) -> dict[int, dict[str, int]]:
    """By room, the users whose membership the room's state changed, and how often.

    `since` gives each room's first version of its timeline that counts. A room that was entered anew meanwhile tells
    of none: it is another state that it goes on with.
    """
    found: dict[int, dict[str, int]] = {}
    for portion in tuples.slices(list(since.items())):
        table, values = tuples.table_of(portion, ("BIGINT", "BIGINT"))
        rows = await reader.fetch(
            f"WITH given (room, version) AS ({table}) "  # noqa: S608
            "SELECT b.room, s.state_key, COUNT(*) FROM (SELECT DISTINCT room, version FROM given) g "
            "JOIN timeline b ON b.room = g.room "
            "AND b.version = (SELECT MAX(t.version) FROM timeline t WHERE t.room = g.room) "
            "LEFT JOIN timeline a ON a.room = g.room AND a.version = g.version - 1 "
            "JOIN state_changes s ON s.line = b.state_line AND s.version <= b.state_version "
            "AND s.version > COALESCE(a.state_version, 0) AND s.type = 'm.room.member' "
            "WHERE a.state_line IS NULL OR a.state_line = b.state_line GROUP BY b.room, s.state_key",
            *values,
        )
        for room, user_id, count in rows:
            found.setdefault(room, {})[user_id] = count
    return found


async def read_completed(reader: Reader, since: Mapping[int, int]) -> set[int]:
    """Those of the rooms to which the rest of a partial state came, at the version that `since` gives or later."""
    rows = await reader.fetch(
        "SELECT room, completed_version FROM partial_rooms WHERE room = ANY($1) AND completed_version IS NOT NULL",
        list(since),
    )
    return {room for room, version in rows if version >= since[room]}


async def read_newcomers(reader: Reader, rooms: Collection[int]) -> set[str]:
    """The users joined to these rooms of whom this server heard only after it had joined them with partial state.

    In a room that it had been in before these are all who are joined.
    """
    rows = await reader.fetch(
        "SELECT DISTINCT m.user_id FROM memberships m JOIN partial_rooms p ON p.room = m.room "
        "JOIN events j ON j.nid = p.join_event "
        "WHERE m.room = ANY($1) AND m.membership = 'join' AND (m.event > p.join_event OR j.timeline_version > 1)",
        list(rooms),
    )
    return {row[0] for row in rows}


async def read_rooms_of(reader: Reader, user_id: str, room_ids: Collection[str]) -> dict[int, bool]:
    """The numbers of these rooms that the user has to do with, and whether the user is joined."""
    rows = await reader.fetch(
        "SELECT room, membership FROM memberships WHERE user_id = $1 AND room_id = ANY($2)",
        user_id,
        list(room_ids),
    )
    return {row[0]: row[1] == "join" for row in rows}


async def read_joined(reader: Reader, rooms: Collection[int]) -> set[str]:
    """All users who are joined to any of these rooms."""
    rows = await reader.fetch(
        "SELECT DISTINCT user_id FROM memberships WHERE room = ANY($1) AND membership = 'join'", list(rooms)
    )
    return {row[0] for row in rows}


async def read_sharing(reader: Reader, user_ids: Collection[str], rooms: Collection[int]) -> set[str]:
    """Those of the users who are joined to any of these rooms."""
    if not user_ids or not rooms:
        return set()
    rows = await reader.fetch(
        "SELECT DISTINCT user_id FROM memberships WHERE user_id = ANY($1) AND room = ANY($2) AND membership = 'join'",
        list(user_ids),
        list(rooms),
    )
    return {row[0] for row in rows}


async def read_own_rooms(reader: Reader, user_id: str) -> list[int]:
    """The numbers of the rooms that the user is joined to."""
    rows = await reader.fetch(
        "SELECT room FROM memberships WHERE user_id = $1 AND membership = 'join'", user_id
    )
    return [row[0] for row in rows]


async def read_first_versions(
    reader: Reader, audiences: Sequence[str], after: int, until: int
) -> dict[str, int]:
    """For each of these rooms' audiences with news in the log: the first version of its timeline that is new."""
    rows = await reader.fetch(
        "SELECT audience, MIN(CAST(ref AS BIGINT)) FROM log "
        "WHERE audience = ANY($1) AND kind = ANY($2) AND position > $3 AND position <= $4 GROUP BY audience",
        list(audiences),
        [int(Kind.EVENT), int(Kind.STATE)],
        after,
        until,
    )
    return {row[0]: row[1] for row in rows}
