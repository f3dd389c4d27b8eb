"""What is told of rooms to those who are not in them, and who may hear it.

Source: Client-Server API, "Spaces", `GET /room_summary`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ranvier.protocol.join_rules import allowed_rooms, is_restricted
from ranvier.protocol.room_summaries import SUMMARY_TYPES, Contents, may_be_shown, room_summary
from ranvier.protocol.space_hierarchy import Child, child_of
from ranvier.rooms.elsewhere import Described, Elsewhere
from ranvier.rooms.heads import Heads, Room
from ranvier.rooms.joined import UserMemberships, UserRooms
from ranvier.rooms.servers import Servers

SPACE: Final = "m.space"
_CHILD: Final = "m.space.child"


@dataclass(frozen=True, slots=True)
class RoomFacts:
    """A room that this server is in, as summaries need it."""

    room: Room
    contents: Contents
    joined: int

    def summary(self) -> dict[str, Any]:
        """What is told of the room."""
        return room_summary(self.room.room_id, self.room.version, self.contents, self.joined)

    def children(self) -> list[Child]:
        """The children of a space, none of another room."""
        head = self.room.head
        if head is None or self.contents.get("m.room.create", {}).get("type") != SPACE:
            return []
        found = (
            child_of(kept.event) for key, kept in head.state.items() if key[0] == _CHILD and kept is not None
        )
        return [child for child in found if child is not None]


class Summaries:
    """Summaries of rooms, for one reader each."""

    def __init__(
        self, server_name: str, heads: Heads, servers: Servers, user_rooms: UserRooms, elsewhere: Elsewhere
    ) -> None:
        self._server_name = server_name
        self._heads = heads
        self._servers = servers
        self._user_rooms = user_rooms
        self._elsewhere = elsewhere

    async def facts(self, room_id: str) -> RoomFacts | None:
        """What this server knows of a room, None where it is not in it."""
        if "\0" in room_id:
            return None
        room = self._heads.at_hand(room_id) or await self._heads.get(room_id)
        # What is known of a room that all have left is of the past.
        if room is None or self._server_name not in await self._servers.in_room(room):
            return None
        joined = (await self._heads.counts(room)).get("join", 0)
        head = await self._heads.fault_in(room, ())
        found = {kind: head.get(kind) for kind in SUMMARY_TYPES}
        contents = {kind: kept.event.content for kind, kept in found.items() if kept is not None}
        return RoomFacts(room, contents, joined)

    async def memberships(self, user_id: str | None) -> UserMemberships:
        """What a user is in which rooms; nothing for nobody."""
        return await self._user_rooms.of(user_id) if user_id is not None else UserMemberships({})

    async def of(self, user_id: str | None, room_id: str, servers: list[str]) -> dict[str, Any] | None:
        """A room's summary with the reader's membership (nobody: None); asked of `servers` where this one is not in
        the room. None if there is no such room, or it is not for the reader."""
        rooms = await self.memberships(user_id)
        known = await self.facts(room_id)
        if known is not None:
            if not may_see(rooms, known):
                return None
            summary = known.summary()
        elif user_id is None:
            # Those who are not logged in don't make this server ask others.
            return None
        else:
            told = await self._elsewhere.neighbourhood(room_id, [*servers, *hosts(rooms, room_id)])
            if told is None or not may_see_described(rooms, told.room):
                return None
            summary = dict(told.room.summary)
        membership = rooms.by_room.get(room_id)
        if membership is not None:
            summary["membership"] = membership.membership
        return summary


def hosts(rooms: UserMemberships, room_id: str) -> list[str]:
    """Servers that should know a room, by the reader's invite and by the room's id."""
    membership = rooms.by_room.get(room_id)
    inviters = [membership.sender.partition(":")[2]] if membership is not None else []
    maker = room_id.partition(":")[2]
    return [*inviters, *([maker] if maker else [])]


def may_see(rooms: UserMemberships, known: RoomFacts) -> bool:
    """Whether the summary of a room that this server is in is for a user with these memberships."""
    membership = rooms.by_room.get(known.room.room_id)
    rules = known.contents.get("m.room.join_rules")
    is_allowed = is_restricted(rules, known.room.version) and _is_in_one(rooms, allowed_rooms(rules))
    return may_be_shown(
        known.room.version,
        known.contents,
        membership.membership if membership is not None else None,
        is_in_allowed_room=is_allowed,
    )


def may_see_described(rooms: UserMemberships, told: Described) -> bool:
    """Whether the summary that another server gave, for any of our users, is for a user with these memberships."""
    membership = rooms.by_room.get(told.room_id)
    standing = membership.membership if membership is not None else None
    summary = told.summary
    if standing in ("join", "invite") or summary["world_readable"]:
        return True
    if standing == "ban":
        return False
    rule = summary.get("join_rule", "public")
    if rule in ("public", "knock", "knock_restricted"):
        return True
    return rule == "restricted" and _is_in_one(rooms, summary.get("allowed_room_ids", ()))


def _is_in_one(rooms: UserMemberships, room_ids: Mapping[str, Any] | list[str] | tuple[str, ...]) -> bool:
    found = (rooms.by_room.get(room_id) for room_id in room_ids)
    return any(one is not None and one.membership == "join" for one in found)
