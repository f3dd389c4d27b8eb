"""Which rooms a user is in, is invited to, has left: kept in memory, filled from the log in order."""

from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping

from ranvier.store import log
from ranvier.store import presence as presence_store
from ranvier.store import rooms as store
from ranvier.store.database import Database, Entry
from ranvier.store.log import Kind, room_audience
from ranvier.store.rooms import Membership
from ranvier.store.writer import Writer

_MEMBERSHIPS = 400_000
"""Memberships held in all."""


class UserMemberships:
    """One user's memberships, by room id and by the room's audience. Never changed: a change makes a new one."""

    __slots__ = ("by_audience", "by_room", "joined_audiences")

    def __init__(self, by_room: Mapping[str, Membership]) -> None:
        self.by_room = by_room
        self.by_audience = {room_audience(m.room): m for m in by_room.values()}
        self.joined_audiences = frozenset(a for a, m in self.by_audience.items() if m.membership == "join")

    def joined(self) -> list[Membership]:
        """The rooms that the user is in."""
        return [m for m in self.by_room.values() if m.membership == "join"]


class UserRooms:
    """Memberships by user, forgotten rooms left out."""

    def __init__(self, database: Database, writer: Writer) -> None:
        self._database = database
        self._writer = writer
        self._users: OrderedDict[str, UserMemberships] = OrderedDict()
        self._size = 0
        # Users who are being read, by how many, and those of them whose memberships changed meanwhile.
        self._reading: Counter[str] = Counter()
        self._changed: set[str] = set()

    def at_hand(self, user_id: str) -> UserMemberships | None:
        """The user's memberships, if they are in memory."""
        return self._users.get(user_id)

    async def of(self, user_id: str) -> UserMemberships:
        """The user's memberships as of the newest commit that this process knows of."""
        while True:
            found = self._users.get(user_id)
            if found is not None:
                return found
            self._reading[user_id] += 1
            try:
                async with self._database.snapshot() as reader:
                    tip = await log.read_tip(reader)
                    rows = {m.room_id: m for m in await store.memberships_of(reader, user_id)}
                # The store may be ahead of memory by a commit that is about to be heard of.
                await self._writer.reach(tip)
                if user_id not in self._changed:
                    self._keep(user_id, UserMemberships(rows))
            finally:
                self._reading[user_id] -= 1
                if not self._reading[user_id]:
                    del self._reading[user_id]
                    self._changed.discard(user_id)

    async def shared(self, user_id: str, other: str) -> list[str]:
        """The ids of the rooms that a user of this server and another user, of whichever server, are both in."""
        own = {m.room: m.room_id for m in (await self.of(user_id)).joined()}
        rooms = (await presence_store.joined_rooms(self._database, [other])).get(other, ())
        return sorted(own[room] for room in rooms if room in own)

    def _keep(self, user_id: str, memberships: UserMemberships) -> None:
        known = self._users.get(user_id)
        self._size += len(memberships.by_room) - (len(known.by_room) if known is not None else 0)
        self._users[user_id] = memberships
        while self._size > _MEMBERSHIPS and len(self._users) > 1:
            _, dropped = self._users.popitem(last=False)
            self._size -= len(dropped.by_room)

    def heard(self, entries: Iterable[Entry]) -> None:
        """Follow the log."""
        for entry in entries:
            if entry.kind != Kind.MEMBERSHIP:
                continue
            if entry.audience in self._reading:
                self._changed.add(entry.audience)
            known = self._users.get(entry.audience)
            if known is None:
                continue
            if entry.payload is None:
                self._size -= len(known.by_room)
                del self._users[entry.audience]
            else:
                self._keep(entry.audience, UserMemberships({**known.by_room, entry.ref: entry.payload}))
