"""Coming and going: invite, join, knock, leave, kick, ban, unban, forget.

Source: Client-Server API, "Room membership". Rooms that only other servers know need federation, and are refused.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ranvier.protocol.identifiers import BadIdentifier, check_user_id
from ranvier.protocol.refusal import Refusal, forbidden, invalid_param, not_found
from ranvier.rooms.appending import Appending, Draft, Proposal
from ranvier.rooms.guests import takes_guests
from ranvier.rooms.heads import MEMBER, Head, Heads, Room
from ranvier.rooms.profiles import MemberProfiles
from ranvier.rooms.restrictions import AUTHORISER, Restrictions
from ranvier.store import rooms as store
from ranvier.store.database import Database, Entry, Transaction
from ranvier.store.events import StoredEvent
from ranvier.store.log import Kind
from ranvier.store.writer import Writer

_AT_ONCE: Final = 64


class Memberships:
    """Changes who is in a room. With `leaving_forgets`, a room that a user leaves is forgotten at once."""

    def __init__(
        self,
        server_name: str,
        database: Database,
        writer: Writer,
        heads: Heads,
        appending: Appending,
        profiles: MemberProfiles,
        restrictions: Restrictions,
        *,
        leaving_forgets: bool = False,
    ) -> None:
        self._server_name = server_name
        self._database = database
        self._writer = writer
        self._heads = heads
        self._appending = appending
        self._profiles = profiles
        self._restrictions = restrictions
        self._leaving_forgets = leaving_forgets

    async def join(
        self,
        user_id: str,
        room_id: str,
        *,
        reason: str | None = None,
        content: Mapping[str, Any] | None = None,
        is_guest: bool = False,
    ) -> str:
        """Join a room that this server is in; one who is in it stays in it. Answers the membership's event.

        `content` is what else the membership shall say; the user's profile stands in where it is silent.
        """
        room, head = await self._room(room_id, [user_id])
        standing = head.state.get((MEMBER, user_id))
        if standing is not None and _membership(head, user_id) == "join" and content is None:
            return standing.event.event_id
        joined = await self.own_content(user_id, "join", content)
        if is_guest:
            _refuse_guest(head)
            joined["kind"] = "guest"
        authoriser = await self._restrictions.authoriser(room, head, user_id)
        if authoriser is not None:
            joined[AUTHORISER] = authoriser
        return await self._change(room, user_id, user_id, joined, reason)

    async def own_content(
        self,
        user_id: str,
        membership: str,
        content: Mapping[str, Any] | None = None,
        reason: str | None = None,
    ) -> dict[str, Any]:
        """The content of a membership that a user gives themselves: their profile, and what else it shall say."""
        said = {**await self._profiles.of(user_id), **(content or {}), "membership": membership}
        said.pop(AUTHORISER, None)
        if reason is not None:
            said["reason"] = reason
        return said

    async def invite(
        self, sender: str, room_id: str, target: str, *, reason: str | None = None, is_direct: bool = False
    ) -> str:
        """Invite a user of this server. One who is invited already gets the newer invite."""
        room, content = await self.invite_content(sender, room_id, target, reason=reason, is_direct=is_direct)
        return await self._change(room, sender, target, content, None)

    async def invite_content(
        self, sender: str, room_id: str, target: str, *, reason: str | None = None, is_direct: bool = False
    ) -> tuple[Room, dict[str, Any]]:
        """The room, and what the invite of a user of any server says. Raises `Refusal` if they can't be invited."""
        room, head = await self._room(room_id, [sender, target])
        self._refuse_outsider(head, sender, room_id)
        standing = _membership(head, target)
        if standing in ("join", "ban"):
            raise forbidden(f"{target} is {'in' if standing == 'join' else 'banned from'} the room.")
        content = {"membership": "invite", **await self._profiles.of_invited(target, sender)}
        if is_direct:
            content["is_direct"] = True
        if reason is not None:
            content["reason"] = reason
        return room, content

    async def knock(
        self,
        user_id: str,
        room_id: str,
        *,
        reason: str | None = None,
        content: Mapping[str, Any] | None = None,
    ) -> str:
        """Ask to be let in; one who has asked and gives no new reason has asked once."""
        room, head = await self._room(room_id, [user_id])
        standing = head.state.get((MEMBER, user_id))
        if standing is not None and _stands(standing, "knock", reason):
            return standing.event.event_id
        knocking = await self.own_content(user_id, "knock", content)
        return await self._change(room, user_id, user_id, knocking, reason)

    async def leave(self, user_id: str, room_id: str, *, reason: str | None = None) -> str:
        """Leave a room, reject an invite or take back a knock; one who has left stays away."""
        room, head = await self._room(room_id, [user_id])
        standing = head.state.get((MEMBER, user_id))
        if standing is not None and _membership(head, user_id) == "leave":
            return standing.event.event_id
        if standing is None:
            raise forbidden(f"You are not in the room {room_id}, nor invited to it.")
        event_id = await self._change(room, user_id, user_id, {"membership": "leave"}, reason)
        await self.after_leaving(user_id, room_id)
        return event_id

    async def after_leaving(self, user_id: str, room_id: str) -> None:
        """A user has left a room: forget it, where the configuration says so."""
        if self._leaving_forgets:
            await self.forget(user_id, room_id)

    async def kick(self, sender: str, room_id: str, target: str, *, reason: str | None = None) -> str:
        """Make another user leave, or take back their invite or knock."""
        room, head = await self._room(room_id, [sender, target])
        self._refuse_outsider(head, sender, room_id)
        if _membership(head, target) not in ("join", "invite", "knock"):
            raise forbidden(f"{target} is not in the room.")
        return await self._change(room, sender, target, {"membership": "leave"}, reason)

    async def ban(self, sender: str, room_id: str, target: str, *, reason: str | None = None) -> str:
        """Ban a user; one who is banned already stays banned, unless there is a new reason."""
        room, head = await self._room(room_id, [sender, target])
        self._refuse_outsider(head, sender, room_id)
        standing = head.state.get((MEMBER, target))
        if standing is not None and _stands(standing, "ban", reason):
            return standing.event.event_id
        return await self._change(room, sender, target, {"membership": "ban"}, reason)

    async def unban(self, sender: str, room_id: str, target: str, *, reason: str | None = None) -> str:
        """Lift a ban."""
        room, head = await self._room(room_id, [sender, target])
        self._refuse_outsider(head, sender, room_id)
        if _membership(head, target) != "ban":
            raise Refusal("M_BAD_STATE", f"{target} is not banned from the room.", status=403)
        return await self._change(room, sender, target, {"membership": "leave"}, reason)

    async def set(
        self, sender: str, room_id: str, target: str, content: dict[str, Any], *, is_guest: bool = False
    ) -> str:
        """Set a membership with this content, as a state event of the client's own; answers the event's id."""
        try:
            check_user_id(target)
        except BadIdentifier as error:
            raise invalid_param(f"A membership's state key is a user ID: {error}") from error
        membership = content.get("membership")
        if target == sender and membership == "join":
            return await self.join(sender, room_id, content=content, is_guest=is_guest)
        if is_guest and membership != "leave":
            raise Refusal("M_GUEST_ACCESS_FORBIDDEN", "Guests may only join and leave.")
        if target == sender and membership == "knock":
            return await self.knock(sender, room_id, content=content)
        room, head = await self._room(room_id, [sender, target])
        if target != sender:
            self._refuse_outsider(head, sender, room_id)
        if membership == "invite":
            content = {**await self._profiles.of_invited(target, sender), **content}
        content.pop(AUTHORISER, None)
        return await self._append(room, Draft(sender, MEMBER, content, target, unless_same=True))

    async def forget(self, user_id: str, room_id: str) -> None:
        """Keep a room that the user has left out of their sync and history, until they come back."""
        standing = await store.membership(self._database, user_id, room_id)
        if standing is None:
            raise not_found(f"You were never in the room {room_id[:255]}.")
        if standing.membership not in ("leave", "ban"):
            raise Refusal("M_UNKNOWN", "Leave the room first, then forget it.")

        async def write(transaction: Transaction) -> None:
            if await store.forget(transaction, user_id, room_id):
                transaction.announce(Entry(Kind.MEMBERSHIP, user_id, room_id, None))

        await self._writer.run(write)

    async def update_profile(self, user_id: str, changed: Mapping[str, Any]) -> None:
        """Bring a new display name or avatar into the user's memberships, keeping what else these say.

        `changed` maps the membership's keys to their values; None takes a key away.
        """
        rooms = [
            m.room_id for m in await store.memberships_of(self._database, user_id) if m.membership == "join"
        ]
        for start in range(0, len(rooms), _AT_ONCE):
            slice_ = rooms[start : start + _AT_ONCE]
            await asyncio.gather(*(self._update_profile_in(room_id, user_id, changed) for room_id in slice_))

    async def _update_profile_in(self, room_id: str, user_id: str, changed: Mapping[str, Any]) -> None:
        room, head = await self._room(room_id, [user_id])
        standing = head.state.get((MEMBER, user_id))
        if standing is None or _membership(head, user_id) != "join":
            return
        content = {**standing.event.content, **changed}
        content.pop(AUTHORISER, None)
        content = {key: value for key, value in content.items() if value is not None}
        # A room that forbids it (for a power level, say) keeps the old name; the others follow.
        with contextlib.suppress(Refusal):
            await self._append(room, Draft(user_id, MEMBER, content, user_id, unless_same=True))

    async def _room(self, room_id: str, user_ids: Sequence[str]) -> tuple[Room, Head]:
        room = await self._heads.get(room_id) if room_id.startswith("!") else None
        if room is None:
            raise not_found(f"This server knows no room {room_id[:255]}.")
        return room, await self._heads.know(room, user_ids)

    async def _change(
        self, room: Room, sender: str, target: str, content: dict[str, Any], reason: str | None
    ) -> str:
        if reason is not None:
            content["reason"] = reason
        return await self._append(room, Draft(sender, MEMBER, content, target))

    async def _append(self, room: Room, draft: Draft) -> str:
        return (await self._appending.append(Proposal(room, [draft])))[0]

    def _refuse_outsider(self, head: Head, sender: str, room_id: str) -> None:
        if _membership(head, sender) != "join":
            raise forbidden(f"You are not in the room {room_id}.")


def _membership(head: Head, user_id: str) -> str | None:
    kept = head.state.get((MEMBER, user_id))
    return str(kept.event.content.get("membership")) if kept is not None else None


def _stands(kept: StoredEvent, membership: str, reason: str | None) -> bool:
    """Whether the user is that already, and nothing new is said of it."""
    content = kept.event.content
    return content.get("membership") == membership and (reason is None or content.get("reason") == reason)


def _refuse_guest(head: Head) -> None:
    if not takes_guests(head):
        raise Refusal(
            "M_GUEST_ACCESS_FORBIDDEN", "This room does not take guests: register an account first."
        )
