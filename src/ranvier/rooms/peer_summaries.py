"""Summaries of rooms for other servers, which have to ask again for the user that they ask for.

Source: Server-Server API, "Spaces".
"""

from typing import Any

from ranvier.protocol.identifiers import server_name_of
from ranvier.protocol.join_rules import allowed_rooms, is_restricted
from ranvier.protocol.refusal import not_found
from ranvier.protocol.room_summaries import may_be_shown_to_server
from ranvier.protocol.space_hierarchy import MAX_CHILDREN, in_order
from ranvier.rooms.heads import Heads, Room
from ranvier.rooms.servers import Servers
from ranvier.rooms.summaries import RoomFacts, Summaries
from ranvier.store import rooms as store
from ranvier.store.database import Database


class PeerSummaries:
    """What other servers may know of rooms that this one is in."""

    def __init__(self, database: Database, heads: Heads, servers: Servers, summaries: Summaries) -> None:
        self._database = database
        self._heads = heads
        self._servers = servers
        self._summaries = summaries

    async def hierarchy(self, origin: str, room_id: str, *, suggested_only: bool) -> dict[str, Any]:
        """A room and its children, one level deep, as far as they are for users of that server."""
        known = await self._summaries.facts(room_id)
        if known is None or not await self._is_for(origin, known):
            raise not_found("There is no such room here, or it is not for your server.")
        children = in_order(known.children(), suggested_only=suggested_only)[:MAX_CHILDREN]
        shown, hidden = [], []
        for child in children:
            facts = await self._summaries.facts(child.room_id)
            if facts is not None and await self._is_for(origin, facts):
                shown.append(_with_children(facts, suggested_only))
            elif facts is not None:
                hidden.append(child.room_id)
        room = _with_children(known, suggested_only)
        return {"room": room, "children": shown, "inaccessible_children": hidden}

    async def _is_for(self, origin: str, known: RoomFacts) -> bool:
        rules = known.contents.get("m.room.join_rules")
        if may_be_shown_to_server(
            known.room.version, known.contents, has_member_or_invited=False, is_in_allowed_room=False
        ):
            return True
        if origin in await self._servers.in_room(known.room) or await self._is_invited(origin, known.room):
            return True
        if not is_restricted(rules, known.room.version):
            return False
        for room_id in allowed_rooms(rules):
            allowed = await self._heads.get(room_id)
            if allowed is not None and origin in await self._servers.in_room(allowed):
                return True
        return False

    async def _is_invited(self, server: str, room: Room) -> bool:
        invited = await store.members(self._database, room.nid, "invite")
        return any(server_name_of(user_id) == server for user_id in invited)


def _with_children(facts: RoomFacts, suggested_only: bool) -> dict[str, Any]:
    children = in_order(facts.children(), suggested_only=suggested_only)[:MAX_CHILDREN]
    return {**facts.summary(), "children_state": [child.stripped for child in children]}
