"""Which events this server tells its peers of: those of its own users, and those that peers made through it."""

from collections.abc import Sequence

from ranvier.protocol.events import Event
from ranvier.protocol.identifiers import server_name_of
from ranvier.rooms.events import Events
from ranvier.rooms.heads import MEMBER, TimelineItem
from ranvier.store import sending as store
from ranvier.store import state as state_store
from ranvier.store.database import Database
from ranvier.store.events import StoredEvent
from ranvier.store.state import Root

_PASSED_ON = ("join", "leave", "knock")


class LocalEvents:
    """Tells them from others, and reads them where the log or a timeline names them."""

    def __init__(self, server_name: str, database: Database, events: Events) -> None:
        self.server_name = server_name
        self._database = database
        self._events = events

    def is_own(self, user_id: str) -> bool:
        """Whether it is a user of this server."""
        return server_name_of(user_id) == self.server_name

    def is_told(self, event: Event) -> bool:
        """Whether it is this server that sends the event to others.

        A membership that another server's user asked this one for (`send_join`, `send_leave`, `send_knock`) bears
        this server's signature: it goes from here to all others in the room.
        """
        if self.is_own(event.sender):
            return True
        return (
            event.type == MEMBER
            and event.content.get("membership") in _PASSED_ON
            and self.server_name in (event.pdu.get("signatures") or {})
        )

    async def enters(self, kept: StoredEvent, item: TimelineItem | None) -> bool:
        """Whether by this membership event a user of this server is joined to the room who was not before.

        `item` is its place in the timeline, where that is at hand.
        """
        event = kept.event
        user_id = event.state_key or ""
        if event.content.get("membership") != "join" or not self.is_own(user_id):
            return False
        if item is not None and not item.tangled:
            return item.replaced is None or item.replaced.event.content.get("membership") != "join"
        root = Root(kept.state_line, kept.state_version)
        found = await state_store.keys_at(self._database, root, [(MEMBER, user_id)])
        before = await self._events.by_nids(list(found.values()))
        return all(one.event.content.get("membership") != "join" for one in before.values())

    async def devices_changed_while_partial(self, room: int, version: int) -> list[str]:
        """This server's users whose devices changed while a room lacked the members that came with this version."""
        changed = await store.read_devices_changed_while_partial(self._database, room, version)
        return [user_id for user_id in changed if self.is_own(user_id)]

    async def at(self, versions: Sequence[tuple[int, int]]) -> dict[tuple[int, int], StoredEvent]:
        """Those that made these versions of rooms' timelines, each (room, version); memberships of others too."""
        numbers = await store.read_events_to_tell(self._database, versions, self.server_name)
        found = await self._events.by_nids(list(numbers.values()))
        return {place: found[nid] for place, nid in numbers.items() if nid in found}

    async def of_timeline(self, room: int, after: int, limit: int) -> list[tuple[int, StoredEvent]]:
        """The same of one room after a version, oldest first, each with its version."""
        rows = await store.read_timeline_to_tell(self._database, room, after, self.server_name, limit)
        found = await self._events.by_nids([row.event for row in rows])
        return [(row.version, found[row.event]) for row in rows if row.event in found]
