"""By which words users are found, kept up with the log.

Users of this server are found by their profile and id. Others are found by what their membership of a room says, and
only by those who may know of that room: so no name that somebody uses in one room shows in another.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Final

from ranvier.protocol.identifiers import server_name_of
from ranvier.rooms.access import is_world_readable
from ranvier.rooms.auth_index import Slowly
from ranvier.rooms.events import Events
from ranvier.rooms.following import Write, events_of
from ranvier.rooms.heads import MEMBER, Head, Heads
from ranvier.store import profiles
from ranvier.store import rooms as rooms_store
from ranvier.store import user_directory as store
from ranvier.store.database import Database, Entry, Transaction
from ranvier.store.log import Kind, room_of
from ranvier.store.words import beginnings

_PORTION: Final = 200
_WORDS: Final = 24
_OPENING: Final = frozenset({"m.room.create", "m.room.join_rules", "m.room.history_visibility"})

Row = tuple[str, int, Sequence[str]]
"""A user, a room's number or 0, and the words by which they are found there."""


class DirectoryWords:
    """Makes users findable."""

    name = "user directory"

    def __init__(self, server_name: str, database: Database, heads: Heads, events: Events) -> None:
        self._server_name = server_name
        self._ending = f":{server_name}"
        self._database = database
        self._heads = heads
        self._events = events

    async def all(self) -> AsyncIterator[Write]:
        """All users and rooms that are there, in portions."""
        yield store.clear
        last = ""
        while users := await store.local_users(self._database, last, _PORTION):
            last = users[-1]
            yield _writing(await self._local(users))
        number = 0
        while rooms := await store.rooms_after(self._database, number, _PORTION):
            number = rooms[-1][0]
            for write in await self._rooms(dict(rooms)):
                yield write

    async def take(self, entries: Sequence[Entry]) -> Sequence[Write]:
        """Changed profiles, others' memberships, and rooms that open or close."""
        users = sorted({entry.ref for entry in entries if entry.kind == Kind.PROFILE})
        members: dict[tuple[str, str], int] = {}
        rooms: dict[int, str] = {}
        for kept in await events_of(self._database, self._events, entries):
            event = kept.event
            if event.type == MEMBER and event.state_key is not None and self._is_elsewhere(event.state_key):
                members[event.state_key, event.room_id] = kept.room
            elif event.type in _OPENING and event.state_key == "":
                rooms[kept.room] = event.room_id
        writes = []
        if users or members:
            writes.append(_writing([*await self._local(users), *await self._members(members)]))
        if rooms:
            writes.append(_opening(await self._openings(rooms)))
        # State that changed without an event: what it was before does not matter.
        changed = {room_of(entry.audience) for entry in entries if entry.kind == Kind.STATE}
        if changed:
            found = [await rooms_store.by_nid(self._database, number) for number in sorted(changed)]
            writes += await self._rooms({row.nid: row.room_id for row in found if row is not None})
        return writes

    def _is_elsewhere(self, user_id: str) -> bool:
        return server_name_of(user_id) != self._server_name

    async def _local(self, users: Sequence[str]) -> list[Row]:
        """Users of this server; those who are no longer to be found have no words."""
        users = [user for user in users if not self._is_elsewhere(user)]
        findable = await store.findable(self._database, users)
        shown = await profiles.read_many(self._database, list(users))
        return [
            (user, 0, _words(user, shown.get(user, (None, None))[0]) if user in findable else ())
            for user in users
        ]

    async def _members(self, members: dict[tuple[str, str], int]) -> list[Row]:
        """Users of other servers, as they show themselves in rooms now."""
        rows: list[Row] = []
        for (user_id, room_id), number in members.items():
            standing = await rooms_store.membership(self._database, user_id, room_id)
            joined = standing is not None and standing.membership == "join"
            rows += await self._shown([(user_id, standing.event)] if standing and joined else [], number)
            if not joined:
                rows.append((user_id, number, ()))
        return rows

    async def _shown(self, members: Sequence[tuple[str, int]], room: int) -> list[Row]:
        events = await self._events.by_nids([nid for _, nid in members])
        return [
            (user_id, room, _words(user_id, events[nid].event.content.get("displayname")))
            for user_id, nid in members
            if nid in events
        ]

    async def _rooms(self, rooms: dict[int, str]) -> list[Write]:
        """Whole rooms."""
        writes = [_opening(await self._openings(rooms))]
        for number in rooms:
            members = await store.joined_elsewhere(Slowly(self._database), number, self._ending)
            for start in range(0, len(members), _PORTION):
                writes.append(_writing(await self._shown(members[start : start + _PORTION], number)))
                # Of a large room these are many.
                await asyncio.sleep(0)
        return writes

    async def _openings(self, rooms: dict[int, str]) -> dict[int, bool]:
        found = {}
        for number, room_id in rooms.items():
            room = await self._heads.get(room_id)
            found[number] = room is not None and room.head is not None and _is_open(room.head)
        return found


def _is_open(head: Head) -> bool:
    return head.content("m.room.join_rules").get("join_rule") == "public" or is_world_readable(head)


def _words(user_id: str, name: object) -> list[str]:
    """What a user is found by: their id's local part and their name."""
    localpart = user_id[1:].partition(":")[0]
    return beginnings(f"{localpart} {name}" if isinstance(name, str) else localpart, _WORDS)


def _writing(rows: Iterable[Row]) -> Write:
    async def write(transaction: Transaction) -> None:
        for user_id, room, words in rows:
            await store.set_words(transaction, user_id, room, words)

    return write


def _opening(rooms: dict[int, bool]) -> Write:
    async def write(transaction: Transaction) -> None:
        for room, is_open in rooms.items():
            await store.set_open(transaction, room, is_open=is_open)

    return write
