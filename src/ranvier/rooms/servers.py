"""Which servers are in a room: those that its events go to, and may be asked about it."""

import asyncio
from collections.abc import Sequence
from typing import Final

from ranvier.rooms.events import Events
from ranvier.rooms.heads import MEMBER, Heads, Room, TimelineItem
from ranvier.store import log
from ranvier.store import rooms as rooms_store
from ranvier.store import state as state_store
from ranvier.store.database import Database
from ranvier.store.events import StoredEvent
from ranvier.store.state import Root
from ranvier.store.writer import Writer

_TRIES: Final = 50


class Servers:
    """Counts joined members by server; in memory with the room's head."""

    def __init__(self, database: Database, writer: Writer, heads: Heads, events: Events) -> None:
        self._database = database
        self._writer = writer
        self._heads = heads
        self._events = events

    async def in_room(self, room: Room) -> frozenset[str]:
        """The servers with joined members, ours included if it has any.

        While the room's state is partial, also those that the peer named through which we joined.
        """
        return frozenset(await self._counts(room)) | room.named_servers

    async def at(self, room: Room, kept: StoredEvent) -> frozenset[str]:
        """The servers with joined members before an event of the live timeline: who is to be sent it."""
        while True:
            counts = dict(await self._counts(room))
            head = room.head
            if head is None:
                await self._heads.fault_in(room, ())
                continue
            root = Root(kept.state_line, kept.state_version)
            if root == head.root:
                return frozenset(counts) | room.named_servers
            # What happened since is taken back; mostly that is nothing, or the event itself.
            since = _since(await self._heads.recent(room), kept)
            if room.head is not head or room.servers is None:
                continue
            if since is not None:
                _take_back(counts, since)
                return _present(counts) | room.named_servers
            changed = await state_store.changes_from(self._database, root, head.root)
            members = [key for key in changed if key[0] == MEMBER]
            if not members:
                return frozenset(counts) | room.named_servers
            if room.head is not head or room.servers is None:
                continue
            before = await state_store.keys_at(self._database, root, members)
            events = await self._events.by_nids(
                [*before.values(), *(nid for key in members if (nid := changed[key]) is not None)]
            )
            for key in members:
                server = key[1].partition(":")[2]
                now = changed[key]
                counts[server] = (
                    counts.get(server, 0)
                    - (now is not None and _is_join(events[now]))
                    + (key in before and _is_join(events[before[key]]))
                )
            return _present(counts) | room.named_servers

    async def _counts(self, room: Room) -> dict[str, int]:
        for attempt in range(_TRIES):
            if room.servers is not None:
                break
            members, moves = await self._heads.counts(room), room.moves
            servers = await rooms_store.joined_servers(self._database, room.nid)
            # The store may be ahead of memory by a commit that would then be counted twice.
            await self._writer.reach(await log.read_tip(self._database))
            agrees = room.moves == moves and sum(servers.values()) == members.get("join", 0)
            if agrees or attempt == _TRIES - 1:
                room.servers = servers
            else:
                await asyncio.sleep(0)
        return room.servers or {}


def _since(recent: Sequence[TimelineItem], kept: StoredEvent) -> Sequence[TimelineItem] | None:
    """The event and what came after it; None if some of that is not at hand, or moved state otherwise."""
    since = [item for item in recent if item.version >= kept.timeline_version]
    if not since or since[0].kept.nid != kept.nid:
        return None
    # What came from a branch has another state before it than the timeline.
    follows = since[0].root_after == (kept.state_line, kept.state_version + kept.event.is_state)
    is_gapless = since[-1].version - since[0].version + 1 == len(since)
    return since if follows and is_gapless and not any(item.tangled for item in since) else None


def _take_back(counts: dict[str, int], items: Sequence[TimelineItem]) -> None:
    """Make the numbers of joined members by server what they were before these."""
    for item in items:
        event = item.kept.event
        if event.type != MEMBER or event.state_key is None:
            continue
        server = event.state_key.partition(":")[2]
        before = item.replaced is not None and _is_join(item.replaced)
        counts[server] = counts.get(server, 0) + before - _is_join(item.kept)


def _present(counts: dict[str, int]) -> frozenset[str]:
    return frozenset(server for server, number in counts.items() if number > 0)


def _is_join(kept: StoredEvent) -> bool:
    return kept.event.content.get("membership") == "join"
