"""The user directory: by which words users are found, and by whom."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from ranvier.store.database import Database, Reader, Transaction

_CANDIDATES: Final = 500
_NO_BYTE: Final = b"\xff"
"""No UTF-8 holds it, so it is greater than whatever follows a word."""


class Seeker(NamedTuple):
    """Who looks, and among whom.

    Without `everybody` only those are found who share a room with them or are in an open one (they themselves for the
    latter reason alone, so that a private room shows nobody to themselves); `local_ending` is ":"
    and this server's name where only its users are wanted.
    """

    user_id: str
    everybody: bool
    locked_too: bool
    local_ending: str | None


async def set_words(transaction: Transaction, user_id: str, room: int, words: Sequence[str]) -> None:
    """Make these the words that a user is found by, in a room or (0) everywhere."""
    await transaction.execute("DELETE FROM directory_words WHERE user_id = $1 AND room = $2", user_id, room)
    rows = [(word.encode(), user_id, room) for word in words]
    if rows:
        await transaction.insert("directory_words", "word, user_id, room", rows, "DO NOTHING")


async def set_open(transaction: Transaction, room: int, *, is_open: bool) -> None:
    """Note whether everybody may find who is in the room."""
    if is_open:
        await transaction.insert("open_rooms", "room", [(room,)], "DO NOTHING")
    else:
        await transaction.execute("DELETE FROM open_rooms WHERE room = $1", room)


async def clear(transaction: Transaction) -> None:
    """Forget all."""
    await transaction.execute("DELETE FROM directory_words")
    await transaction.execute("DELETE FROM open_rooms")


async def local_users(reader: Reader, after: str, limit: int) -> list[str]:
    """Accounts of this server, in order."""
    rows = await reader.fetch(
        "SELECT user_id FROM users WHERE user_id > $1 ORDER BY user_id LIMIT $2", after, limit
    )
    return [row[0] for row in rows]


async def findable(reader: Reader, user_ids: Sequence[str]) -> set[str]:
    """Those accounts of this server whom the directory knows: persons, and not such as left or are guests."""
    rows = await reader.fetch(
        "SELECT user_id FROM users WHERE user_id = ANY($1) AND deactivated = FALSE AND guest = FALSE "
        "AND (user_type IS NULL OR user_type <> 'support')",
        list(user_ids),
    )
    return {row[0] for row in rows}


async def rooms_after(reader: Reader, room: int, limit: int) -> list[tuple[int, str]]:
    """Rooms by number and id, after a number, in order."""
    rows = await reader.fetch(
        "SELECT nid, room_id FROM rooms WHERE nid > $1 ORDER BY nid LIMIT $2", room, limit
    )
    return [(row[0], row[1]) for row in rows]


async def joined_elsewhere(reader: Reader, room: int, local_ending: str) -> list[tuple[str, int]]:
    """The members of a room whom other servers have, with the number of the event that let them in."""
    rows = await reader.fetch(
        "SELECT user_id, event FROM memberships WHERE room = $1 AND membership = 'join' "
        "AND substr(user_id, length(user_id) - length($2) + 1) <> $2",
        room,
        local_ending,
    )
    return [(row[0], row[1]) for row in rows]


async def search(
    database: Database, seeker: Seeker, words: Sequence[str], beginning: str | None
) -> list[tuple[str, int]]:
    """Users, and the room (0: none) by whose words they were found: each word begins one of theirs there.

    With `beginning` their ids begin with it. A bounded number, in no order.
    """
    parts, values = [], list[object]()

    def bind(value: object) -> str:
        values.append(value)
        return f"${len(values)}"

    first, *others = [(bind(word.encode()), bind(word.encode() + _NO_BYTE)) for word in words]
    parts.append(f"w.word >= {first[0]} AND w.word < {first[1]}")
    parts += [
        "EXISTS (SELECT 1 FROM directory_words o WHERE o.user_id = w.user_id AND o.room = w.room "  # noqa: S608
        f"AND o.word >= {low} AND o.word < {high})"
        for low, high in others
    ]
    if beginning is not None:
        text = bind(beginning)
        parts.append(f"substr(w.user_id, 1, length({text})) = {text}")
    if seeker.local_ending is not None:
        ending = bind(seeker.local_ending)
        parts.append(f"substr(w.user_id, length(w.user_id) - length({ending}) + 1) = {ending}")
    if not seeker.locked_too:
        parts.append("NOT EXISTS (SELECT 1 FROM users u WHERE u.user_id = w.user_id AND u.locked = TRUE)")
    if not seeker.everybody:
        parts.append(_VISIBLE.format(me=bind(seeker.user_id)))
    sql = (
        "SELECT DISTINCT w.user_id, w.room FROM directory_words w "  # noqa: S608
        f"WHERE {' AND '.join(parts)} LIMIT {bind(_CANDIDATES)}"
    )
    rows = await database.fetch_slowly(sql, *values)
    return [(row[0], row[1]) for row in rows]


_VISIBLE: Final = """EXISTS (
    SELECT 1 FROM memberships theirs
    WHERE theirs.user_id = w.user_id AND theirs.membership = 'join' AND (w.room = 0 OR theirs.room = w.room)
    AND (
        EXISTS (SELECT 1 FROM open_rooms o WHERE o.room = theirs.room)
        OR EXISTS (
            SELECT 1 FROM memberships mine
            WHERE mine.user_id = {me} AND mine.user_id <> w.user_id
            AND mine.room_id = theirs.room_id AND mine.membership = 'join'
        )
    )
)"""


async def memberships_shown(reader: Reader, user_id: str, found: Sequence[tuple[str, int]]) -> dict[str, int]:
    """For users found in rooms, the number of the membership's event by which they are shown."""
    rows = await reader.fetch(
        "SELECT user_id, room, event FROM memberships WHERE user_id = ANY($1) AND room = ANY($2) "
        "AND membership = 'join' AND user_id <> $3",
        sorted({user for user, _ in found}),
        sorted({room for _, room in found}),
        user_id,
    )
    pairs = set(found)
    return {row[0]: row[2] for row in rows if (row[0], row[1]) in pairs}
