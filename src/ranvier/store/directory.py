"""What the room directory is made of."""

from collections.abc import Sequence

from ranvier.store.database import Database, Reader


async def published(reader: Reader) -> list[int]:
    """The rooms that the directory shows."""
    return [row[0] for row in await reader.fetch("SELECT room FROM published_rooms")]


async def state_of(
    database: Database, rooms: Sequence[int], types: Sequence[str]
) -> list[tuple[int, str, bytes, str | None]]:
    """(room, type, PDU, who redacted it) of the rooms' current state of these types with empty state keys."""
    found = await database.fetch_slowly(
        "SELECT c.room, c.type, e.pdu, e.redacted_by FROM current_state c JOIN events e ON e.nid = c.event "
        "WHERE c.room = ANY($1) AND c.type = ANY($2) AND c.state_key = ''",
        list(rooms),
        list(types),
    )
    return [(row[0], row[1], row[2], row[3]) for row in found]


async def joined_counts(database: Database, rooms: Sequence[int]) -> dict[int, int]:
    """How many members each room has."""
    found = await database.fetch_slowly(
        "SELECT room, COUNT(*) FROM memberships WHERE room = ANY($1) AND membership = 'join' GROUP BY room",
        list(rooms),
    )
    return {row[0]: row[1] for row in found}


async def room_ids(reader: Reader, rooms: Sequence[int]) -> dict[int, str]:
    """The ids of rooms by number."""
    found = await reader.fetch("SELECT nid, room_id FROM rooms WHERE nid = ANY($1)", list(rooms))
    return {row[0]: row[1] for row in found}
