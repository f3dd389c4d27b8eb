"""Coming and going, wherever the room is: here, or with other servers' help.

Source: Client-Server API, "Room membership"; Server-Server API, "Joining Rooms" and what follows it.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ranvier.federation.afar import Afar
from ranvier.federation.inviting import Inviting
from ranvier.federation.joining import Joining
from ranvier.federation.peer_rooms import PeerRooms
from ranvier.protocol.identifiers import is_user_id_shaped, server_name_of
from ranvier.protocol.refusal import Refusal, invalid_param
from ranvier.rooms.heads import Room
from ranvier.rooms.membership import Memberships

_ELSEWHERE: Final = frozenset({"M_UNABLE_TO_AUTHORISE_JOIN", "M_UNABLE_TO_GRANT_JOIN"})
"""Refusals of a restricted join that another server of the room may not share."""
_NEWS_S: Final = 1.0
"""How long a join waits, which all who may grant it refused, for events that are on their way between servers."""
_UNKNOWN: Final = Refusal(
    "M_UNKNOWN", "The members of this room are still being fetched; please try again.", status=503
)


class FederatedMemberships:
    """What the client API asks for when a user joins, knocks, leaves, or invites somebody."""

    def __init__(
        self,
        local: Memberships,
        peers: PeerRooms,
        joining: Joining,
        afar: Afar,
        inviting: Inviting,
    ) -> None:
        self._local = local
        self._peers = peers
        self._joining = joining
        self._afar = afar
        self._inviting = inviting
        self._entering: dict[str, asyncio.Lock] = {}

    async def is_here(self, room_id: str) -> bool:
        """Whether this server is in the room, so that joining it costs no other server anything."""
        return await self._peers.own_room(room_id) is not None

    async def join(
        self,
        user_id: str,
        room_id: str,
        via: Sequence[str],
        *,
        reason: str | None = None,
        content: Mapping[str, Any] | None = None,
        is_guest: bool = False,
    ) -> None:
        """Join a room; the first of this server's users gets in through another server. Raises `Refusal`."""
        # Two who join at once would have the room made twice.
        lock = self._entering.setdefault(room_id, asyncio.Lock())
        try:
            async with lock:
                room = await self._peers.own_room(room_id)
                if room is None:
                    await self._enter(user_id, room_id, via, reason, content, is_guest)
                    return
        finally:
            if not lock.locked():
                self._entering.pop(room_id, None)
        if not is_guest and await self._peers.is_unknown_in(room, user_id):
            # Who let us in knows whom we don't know yet.
            await self._be_let_in(room, user_id, via, reason, content, _UNKNOWN)
            return
        try:
            await self._local.join(user_id, room_id, reason=reason, content=content, is_guest=is_guest)
        except Refusal as refusal:
            if refusal.errcode not in _ELSEWHERE:
                raise
            try:
                await self._be_let_in(room, user_id, via, reason, content, refusal)
            except Refusal as second:
                if second.errcode != "M_FORBIDDEN":
                    raise
                # What would allow the join here, or there, may be on its way.
                await asyncio.sleep(_NEWS_S)
                try:
                    await self._local.join(
                        user_id, room_id, reason=reason, content=content, is_guest=is_guest
                    )
                except Refusal:
                    raise second from None

    async def _enter(
        self,
        user_id: str,
        room_id: str,
        via: Sequence[str],
        reason: str | None,
        content: Mapping[str, Any] | None,
        is_guest: bool,
    ) -> None:
        if is_guest:
            raise Refusal("M_GUEST_ACCESS_FORBIDDEN", "Guests can only join rooms that this server is in.")
        invitation = await self._afar.invitation(user_id, room_id)
        known = [invitation.via] if invitation is not None else []
        joined = await self._local.own_content(user_id, "join", content, reason)
        await self._joining.enter(user_id, room_id, self._candidates(room_id, [*via, *known]), joined)

    async def _be_let_in(
        self,
        room: Room,
        user_id: str,
        via: Sequence[str],
        reason: str | None,
        content: Mapping[str, Any] | None,
        refusal: Refusal,
    ) -> None:
        others = await self._peers.others_in(room)
        servers = [*(name for name in via if name in others), *others]
        if not servers:
            raise refusal
        joined = await self._local.own_content(user_id, "join", content, reason)
        await self._joining.be_let_in(room, user_id, list(dict.fromkeys(servers)), joined)

    async def knock(
        self, user_id: str, room_id: str, via: Sequence[str], *, reason: str | None = None
    ) -> None:
        """Knock at a room. Raises `Refusal`."""
        if await self._peers.own_room(room_id) is not None:
            await self._local.knock(user_id, room_id, reason=reason)
            return
        content = await self._local.own_content(user_id, "knock", None, reason)
        await self._afar.knock(user_id, room_id, self._candidates(room_id, via), content)

    async def leave(self, user_id: str, room_id: str, *, reason: str | None = None) -> None:
        """Leave a room, reject an invite, take back a knock. Raises `Refusal`."""
        invitation = await self._afar.invitation(user_id, room_id)
        if invitation is None or await self._peers.own_room(room_id) is not None:
            await self._local.leave(user_id, room_id, reason=reason)
            return
        content = {"membership": "leave", **({"reason": reason} if reason is not None else {})}
        await self._afar.withdraw(invitation, content)
        await self._local.after_leaving(user_id, room_id)

    async def invite(
        self, sender: str, room_id: str, target: str, *, reason: str | None = None, is_direct: bool = False
    ) -> str:
        """Invite a user of any server; answers the invite's id. Raises `Refusal`."""
        if ":" not in target:
            raise invalid_param("A user ID has a server name.")
        if server_name_of(target) == self._peers.server_name:
            return await self._local.invite(sender, room_id, target, reason=reason, is_direct=is_direct)
        room, content = await self._local.invite_content(
            sender, room_id, target, reason=reason, is_direct=is_direct
        )
        return await self._inviting.invite(room, sender, target, content)

    async def set(
        self, sender: str, room_id: str, target: str, content: dict[str, Any], *, is_guest: bool = False
    ) -> str:
        """Set a membership with this content, as a state event of the client's own; answers the event's id."""
        is_invite = content.get("membership") == "invite" and is_user_id_shaped(target) and not is_guest
        if is_invite and server_name_of(target) != self._peers.server_name:
            room, invite = await self._local.invite_content(sender, room_id, target)
            return await self._inviting.invite(room, sender, target, {**content, **invite})
        return await self._local.set(sender, room_id, target, content, is_guest=is_guest)

    def _candidates(self, room_id: str, named: Sequence[str]) -> list[str]:
        """The servers that may help: those that were named, or else the one that made the room."""
        others = [name for name in dict.fromkeys(named) if name != self._peers.server_name]
        if others or ":" not in room_id or server_name_of(room_id) == self._peers.server_name:
            return others
        return [server_name_of(room_id)]
