"""What goes with a user from a room into the one that takes its place: how it notifies, its tags, that it is a chat
with one person.

It goes when both rooms name each other (the old one by its tombstone, the new one as its predecessor), whoever
upgraded the room and wherever, and whatever came first, that or the join. Source: Client-Server API, "Room Upgrades".
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

import orjson

from ranvier.protocol.identifiers import server_name_of
from ranvier.protocol.push_rule_changes import put_rule
from ranvier.protocol.push_rules import changes_json, parse_changes
from ranvier.protocol.refusal import Refusal
from ranvier.rooms.events import Events
from ranvier.rooms.following import Write, events_of
from ranvier.rooms.heads import Heads
from ranvier.store import account_data, push_rules
from ranvier.store import rooms as rooms_store
from ranvier.store.database import Database, Entry, Transaction
from ranvier.store.log import Kind

_TOMBSTONE: Final = "m.room.tombstone"
_DIRECT: Final = "m.direct"
_TAGS: Final = "m.tag"


class Succession:
    """Follows joins and tombstones."""

    name = "succession"

    def __init__(self, server_name: str, database: Database, heads: Heads, events: Events) -> None:
        self._server_name = server_name
        self._database = database
        self._heads = heads
        self._events = events

    async def all(self) -> AsyncIterator[Write]:
        """Nothing is made up for what happened before this was followed."""
        nothing: tuple[Write, ...] = ()
        for write in nothing:
            yield write

    async def take(self, entries: Sequence[Entry]) -> Sequence[Write]:
        """Who came into a room's successor, or was there already when the old room pointed to it."""
        moves: dict[tuple[str, str, str], None] = {}
        for user_id, new in [(one.audience, one.ref) for one in entries if one.kind == Kind.MEMBERSHIP]:
            old = await self._predecessor(new)
            if old is None or await self._successor(old) != new:
                continue
            standing = await rooms_store.membership(self._database, user_id, new)
            if standing is not None and standing.membership == "join":
                moves[user_id, old, new] = None
        for kept in await events_of(self._database, self._events, entries):
            if kept.event.type == _TOMBSTONE and kept.event.state_key == "":
                moves |= dict.fromkeys(await self._all_local(kept.event.room_id))
        return [_moving(*move) for move in moves]

    async def _all_local(self, old: str) -> list[tuple[str, str, str]]:
        new = await self._successor(old)
        if new is None or await self._predecessor(new) != old:
            return []
        room = await self._heads.get(new)
        members = await rooms_store.members(self._database, room.nid, "join") if room is not None else []
        return [(user, old, new) for user in members if server_name_of(user) == self._server_name]

    async def _predecessor(self, room_id: str) -> str | None:
        named = (await self._content(room_id, "m.room.create")).get("predecessor")
        old = named.get("room_id") if isinstance(named, dict) else None
        return old if isinstance(old, str) else None

    async def _successor(self, room_id: str) -> str | None:
        new = (await self._content(room_id, _TOMBSTONE)).get("replacement_room")
        return new if isinstance(new, str) else None

    async def _content(self, room_id: str, kind: str) -> Mapping[str, object]:
        room = await self._heads.get(room_id) if "\0" not in room_id else None
        return room.head.content(kind) if room is not None and room.head is not None else {}


def _moving(user_id: str, old: str, new: str) -> Write:
    async def write(transaction: Transaction) -> None:
        await _copy_push_rule(transaction, user_id, old, new)
        tags = await account_data.find(transaction, user_id, old, _TAGS)
        if tags is not None and await account_data.find(transaction, user_id, new, _TAGS) is None:
            await _keep(transaction, user_id, new, _TAGS, tags)
        await _copy_direct(transaction, user_id, old, new)

    return write


async def _copy_push_rule(transaction: Transaction, user_id: str, old: str, new: str) -> None:
    stored = await push_rules.of(transaction, user_id)
    if stored is None:
        return
    rules = parse_changes(orjson.loads(stored))
    was = rules.find("room", old)
    if was is None or rules.find("room", new) is not None:
        return
    try:
        changed = put_rule(rules, "room", new, {"actions": list(was.actions)})
    except Refusal:
        # Who has as many rules as there may be goes without one more.
        return
    await push_rules.write(transaction, user_id, orjson.dumps(changes_json(changed)).decode())
    transaction.announce(Entry(Kind.PUSH_RULES, user_id, ""))


async def _copy_direct(transaction: Transaction, user_id: str, old: str, new: str) -> None:
    stored = await account_data.find(transaction, user_id, None, _DIRECT)
    direct: dict[str, Any] = orjson.loads(stored) if stored is not None else {}
    changed = {
        person: [*rooms, new] if isinstance(rooms, list) and old in rooms and new not in rooms else rooms
        for person, rooms in direct.items()
    }
    if changed != direct:
        await _keep(transaction, user_id, None, _DIRECT, orjson.dumps(changed).decode())


async def _keep(transaction: Transaction, user_id: str, room_id: str | None, kind: str, content: str) -> None:
    await account_data.write(transaction, user_id, room_id, kind, content)
    transaction.announce(Entry(Kind.ACCOUNT_DATA, user_id, orjson.dumps([room_id, kind]).decode()))
