"""Restricted rooms: who of this server's users may let in whom.

Source: Client-Server API, "Restricted rooms"; Server-Server API, "Restricted rooms".
"""

from typing import Final

from ranvier.protocol.identifiers import server_name_of
from ranvier.protocol.join_rules import allowed_rooms, is_restricted
from ranvier.protocol.refusal import Refusal, forbidden
from ranvier.rooms.heads import MEMBER, Head, Heads, Room
from ranvier.rooms.powers import powers_of
from ranvier.rooms.servers import Servers
from ranvier.store import rooms as store
from ranvier.store.database import Database

AUTHORISER: Final = "join_authorised_via_users_server"
"""What a membership's content says of who let the user in."""


class Restrictions:
    """Looks for the member in whose name a join is granted."""

    def __init__(self, server_name: str, database: Database, heads: Heads, servers: Servers) -> None:
        self._server_name = server_name
        self._database = database
        self._heads = heads
        self._servers = servers

    async def authoriser(self, room: Room, head: Head, user_id: str) -> str | None:
        """A user of this server who may let the user in; None if the join needs nobody.

        `head` holds the user's membership. Raises `Refusal`: M_FORBIDDEN if the user is in none of the rooms that
        count, M_UNABLE_TO_AUTHORISE_JOIN if this server can't know that of all of them, M_UNABLE_TO_GRANT_JOIN if
        it has nobody who may invite.
        """
        rules = head.content("m.room.join_rules")
        standing = head.state.get((MEMBER, user_id))
        membership = standing.event.content.get("membership") if standing is not None else None
        if not is_restricted(rules, room.version) or membership in ("join", "invite", "ban"):
            return None
        unknown = False
        for room_id in allowed_rooms(rules):
            other = await self._heads.get(room_id)
            if other is None or self._server_name not in await self._servers.in_room(other):
                unknown = True
                continue
            theirs = await store.membership(self._database, user_id, room_id)
            if theirs is not None and theirs.membership == "join":
                return await self._may_invite(room, head)
        if unknown:
            raise Refusal(
                "M_UNABLE_TO_AUTHORISE_JOIN",
                "This server is not in all of the rooms whose members may join this one.",
                status=400,
            )
        raise forbidden("You are in none of the rooms whose members may join this one.")

    async def _may_invite(self, room: Room, head: Head) -> str:
        power = powers_of(head)
        members = await store.members(self._database, room.nid, "join")
        local = [member for member in members if server_name_of(member) == self._server_name]
        best = max(local, key=lambda member: (power.of_user(member), member), default=None)
        if best is None or power.of_user(best) < power.invite:
            raise Refusal(
                "M_UNABLE_TO_GRANT_JOIN", "Nobody on this server may let you into this room.", status=400
            )
        return best
