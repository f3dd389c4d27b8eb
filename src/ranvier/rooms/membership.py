"""Coming and going: invite, join, knock, leave, kick, ban, unban, forget.

Source: Client-Server API, "Room membership". Rooms that only other servers know need federation, and are refused.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ranvier.protocol.identifiers import server_name_of
from ranvier.protocol.power_levels import power_levels_of
from ranvier.protocol.refusal import Refusal, forbidden, not_found
from ranvier.rooms.appending import Appending, Draft, Proposal
from ranvier.rooms.creation import Profile
from ranvier.rooms.heads import MEMBER, Head, Heads, Room
from ranvier.store import rooms as store
from ranvier.store.database import Database, Entry, Transaction
from ranvier.store.log import Kind
from ranvier.store.writer import Writer


class Memberships:
    """Changes who is in a room."""

    def __init__(
        self, server_name: str, database: Database, writer: Writer, heads: Heads, appending: Appending, profile: Profile
    ) -> None:
        self._server_name = server_name
        self._database = database
        self._writer = writer
        self._heads = heads
        self._appending = appending
        self._profile = profile

    async def resolve(self, room_id_or_alias: str) -> str:
        """The room id that an id or a local alias means."""
        if room_id_or_alias.startswith("!"):
            return room_id_or_alias
        if not room_id_or_alias.startswith("#"):
            raise Refusal("M_INVALID_PARAM", f"'{room_id_or_alias}' is neither a room id nor a room alias.")
        found = await store.alias(self._database, room_id_or_alias)
        if found is None:
            raise not_found(f"There is no room with the alias {room_id_or_alias}.")
        return found[0]

    async def join(
        self, user_id: str, room_id: str, *, reason: str | None = None, content: Mapping[str, Any] | None = None
    ) -> None:
        """Join a room that this server is in; one who is in it stays in it."""
        room, head = await self._room(room_id, [user_id])
        if _membership(head, user_id) == "join" and content is None:
            return
        joined: dict[str, Any] = {**(content or {}), "membership": "join", **await self._profile(user_id)}
        if reason is not None:
            joined["reason"] = reason
        authoriser = await self._authoriser(room, head, user_id)
        if authoriser is not None:
            joined["join_authorised_via_users_server"] = authoriser
        await self._append(room, Draft(user_id, MEMBER, joined, user_id))

    async def invite(
        self, sender: str, room_id: str, target: str, *, reason: str | None = None, is_direct: bool = False
    ) -> None:
        """Invite a user of this server."""
        self._refuse_remote(target)
        room, head = await self._room(room_id, [sender, target])
        self._refuse_outsider(head, sender, room_id)
        standing = _membership(head, target)
        if standing in ("join", "ban"):
            raise forbidden(f"{target} is {'in' if standing == 'join' else 'banned from'} the room.")
        content = {"membership": "invite", **await self._profile(target)}
        if is_direct:
            content["is_direct"] = True
        await self._change(room, sender, target, content, reason)

    async def knock(self, user_id: str, room_id: str, *, reason: str | None = None) -> None:
        """Ask to be let in."""
        room, head = await self._room(room_id, [user_id])
        if _membership(head, user_id) == "knock":
            return
        content = {"membership": "knock", **await self._profile(user_id)}
        await self._change(room, user_id, user_id, content, reason)

    async def leave(self, user_id: str, room_id: str, *, reason: str | None = None) -> None:
        """Leave a room, reject an invite or take back a knock; one who has left stays away."""
        room, head = await self._room(room_id, [user_id])
        standing = _membership(head, user_id)
        if standing == "leave" and head.state.get((MEMBER, user_id)) is not None:
            return
        await self._change(room, user_id, user_id, {"membership": "leave"}, reason)

    async def kick(self, sender: str, room_id: str, target: str, *, reason: str | None = None) -> None:
        """Make another user leave, or take back their invite or knock."""
        room, head = await self._room(room_id, [sender, target])
        self._refuse_outsider(head, sender, room_id)
        if _membership(head, target) not in ("join", "invite", "knock"):
            raise forbidden(f"{target} is not in the room.")
        await self._change(room, sender, target, {"membership": "leave"}, reason)

    async def ban(self, sender: str, room_id: str, target: str, *, reason: str | None = None) -> None:
        """Ban a user; one who is banned already stays banned."""
        room, head = await self._room(room_id, [sender, target])
        self._refuse_outsider(head, sender, room_id)
        if _membership(head, target) == "ban" and reason is None:
            return
        await self._change(room, sender, target, {"membership": "ban"}, reason)

    async def unban(self, sender: str, room_id: str, target: str, *, reason: str | None = None) -> None:
        """Lift a ban."""
        room, head = await self._room(room_id, [sender, target])
        self._refuse_outsider(head, sender, room_id)
        if _membership(head, target) != "ban":
            raise Refusal("M_BAD_STATE", f"{target} is not banned.")
        await self._change(room, sender, target, {"membership": "leave"}, reason)

    async def forget(self, user_id: str, room_id: str) -> None:
        """Keep a room that the user has left out of their sync and history for good."""
        standing = await store.membership(self._database, user_id, room_id)
        if standing is None:
            raise not_found(f"You were never in the room {room_id}.")
        if standing.membership not in ("leave", "ban"):
            raise Refusal("M_UNKNOWN", "Leave the room first, then forget it.")

        async def write(transaction: Transaction) -> None:
            await store.forget(transaction, user_id, room_id)
            transaction.announce(Entry(Kind.MEMBERSHIP, user_id, room_id, None))

        await self._writer.run(write)

    async def update_profile(self, user_id: str, changed: Mapping[str, Any]) -> None:
        """Bring a new display name or avatar into the user's memberships, keeping what else these say."""
        for membership in await store.memberships_of(self._database, user_id):
            if membership.membership != "join":
                continue
            room, head = await self._room(membership.room_id, [user_id])
            standing = head.state.get((MEMBER, user_id))
            if standing is None or standing.event.content.get("membership") != "join":
                continue
            kept = {k: v for k, v in standing.event.content.items() if k != "join_authorised_via_users_server"}
            content = {**kept, **changed}
            content = {key: value for key, value in content.items() if value is not None}
            try:
                await self._append(room, Draft(user_id, MEMBER, content, user_id, unless_same=True))
            except Refusal:
                # A room that forbids it (for a power level, say) keeps the old name; the others follow.
                continue

    async def _room(self, room_id: str, user_ids: Sequence[str]) -> tuple[Room, Head]:
        room = await self._heads.get(room_id) if room_id.startswith("!") else None
        if room is None:
            raise not_found(f"This server knows no room {room_id}.")
        return room, await self._heads.fault_in(room, user_ids)

    async def _change(
        self, room: Room, sender: str, target: str, content: dict[str, Any], reason: str | None
    ) -> None:
        if reason is not None:
            content["reason"] = reason
        await self._append(room, Draft(sender, MEMBER, content, target))

    async def _append(self, room: Room, draft: Draft) -> None:
        await self._appending.append(Proposal(room, [draft]))

    async def _authoriser(self, room: Room, head: Head, user_id: str) -> str | None:
        """For a restricted room, a user of this server who may let in one who is in an allowed room."""
        rules = head.content("m.room.join_rules")
        if rules.get("join_rule") not in ("restricted", "knock_restricted") or not room.version.restricted_joins:
            return None
        if _membership(head, user_id) in ("join", "invite"):
            return None
        allowed = rules.get("allow")
        rooms = [
            rule["room_id"]
            for rule in (allowed if isinstance(allowed, list) else [])
            if isinstance(rule, dict)
            and rule.get("type") == "m.room_membership"
            and isinstance(rule.get("room_id"), str)
        ]
        for room_id in rooms:
            standing = await store.membership(self._database, user_id, room_id)
            if standing is not None and standing.membership == "join":
                return await self._may_invite(room, head)
        raise forbidden("You are in none of the rooms whose members may join this one.")

    async def _may_invite(self, room: Room, head: Head) -> str:
        create, levels = head.get("m.room.create"), head.get("m.room.power_levels")
        assert create is not None
        power = power_levels_of(create.event, levels.event if levels is not None else None)
        members = await store.members(self._database, room.nid, "join")
        local = [member for member in members if server_name_of(member) == self._server_name]
        best = max(local, key=lambda member: (power.of_user(member), member), default=None)
        if best is None or power.of_user(best) < power.invite:
            raise Refusal("M_UNABLE_TO_GRANT_JOIN", "Nobody on this server may let you into this room.")
        return best

    def _refuse_outsider(self, head: Head, sender: str, room_id: str) -> None:
        if _membership(head, sender) != "join":
            raise forbidden(f"You are not in the room {room_id}.")

    def _refuse_remote(self, user_id: str) -> None:
        if server_name_of(user_id) != self._server_name:
            raise Refusal("M_UNKNOWN", f"{user_id} is on another server, which this server does not talk to yet.")


def _membership(head: Head, user_id: str) -> str | None:
    kept = head.state.get((MEMBER, user_id))
    return str(kept.event.content.get("membership")) if kept is not None else None
