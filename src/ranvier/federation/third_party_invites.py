"""Invites of whoever has an e-mail address: they become invites of users once an identity server knows whose it is.

The server of who invited makes the invite; the room's authorisation rules check what the identity server signed.
Source: Server-Server API, "Third-party invites".
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ranvier.federation.memberships import FederatedMemberships
from ranvier.federation.peer_rooms import PeerRooms
from ranvier.protocol.identifiers import BadIdentifier, check_user_id, server_name_of
from ranvier.protocol.refusal import Refusal, bad_json, forbidden
from ranvier.remote.client import FederationClient
from ranvier.remote.failure import RemoteFailure
from ranvier.remote.third_party_invite import exchange_third_party_invite

MAX_INVITES: Final = 20
"""Invites that one notice of an identity server may bring."""
_INVITE: Final = "m.room.third_party_invite"

_log = logging.getLogger("ranvier.federation")


class ThirdPartyInvites:
    """Makes such invites, here or at the server of who invited."""

    def __init__(self, peers: PeerRooms, memberships: FederatedMemberships, client: FederationClient) -> None:
        self._peers = peers
        self._memberships = memberships
        self._client = client

    async def exchange(self, origin: str, room_id: str, event: Mapping[str, Any]) -> None:
        """A server asks to have the invite made of which it knows the user now. Raises `Refusal`."""
        if event.get("type") != "m.room.member" or event.get("room_id") != room_id:
            raise bad_json("The event is an m.room.member event of this room.")
        content = event.get("content")
        if not isinstance(content, dict) or content.get("membership") != "invite":
            raise bad_json("The membership is an invite.")
        room = await self._peers.known_room(origin, room_id)
        sender, target = _user(event.get("sender")), _user(event.get("state_key"))
        if server_name_of(sender) != self._peers.server_name:
            raise forbidden("Who invites is not a user of this server.")
        signed = _signed(content.get("third_party_invite"), target)
        head = await self._peers.head_of(room)
        kept = head.state.get((_INVITE, signed["token"]))
        if kept is None:
            raise forbidden("The room has no such invite, or it was taken back.")
        name = kept.event.content.get("display_name")
        invite = {"signed": signed, **({"display_name": name} if isinstance(name, str) else {})}
        made = {"membership": "invite", "third_party_invite": invite}
        await self._memberships.set(sender, room_id, target, made)

    async def bound(self, user_id: str, invites: Sequence[Mapping[str, Any]]) -> None:
        """An identity server says that a user of this server has an address that was invited into rooms."""
        if server_name_of(_user(user_id)) != self._peers.server_name:
            raise forbidden("This is not a user of this server.")
        for told in invites[:MAX_INVITES]:
            try:
                await self._pass_on(user_id, told)
            except (Refusal, RemoteFailure) as failure:
                _log.info("an invite by address was not made", extra={"user": user_id, "why": str(failure)})

    async def _pass_on(self, user_id: str, told: Mapping[str, Any]) -> None:
        sender, room_id = _user(told.get("sender")), told.get("room_id")
        if not isinstance(room_id, str) or not room_id.startswith("!"):
            raise bad_json("An invite has a room_id.")
        event = {
            "type": "m.room.member",
            "room_id": room_id,
            "sender": sender,
            "state_key": user_id,
            "content": {
                "membership": "invite",
                "third_party_invite": {"signed": _signed(told, user_id), "display_name": ""},
            },
        }
        server = server_name_of(sender)
        if server == self._peers.server_name:
            await self.exchange(server, room_id, event)
        else:
            await exchange_third_party_invite(self._client, server, room_id, event)


def _user(given: Any) -> str:
    if not isinstance(given, str):
        raise bad_json("A user ID is missing.")
    try:
        check_user_id(given)
    except BadIdentifier as error:
        raise bad_json(f"This is no user ID: {error}") from None
    return given


def _signed(invite: Any, target: str) -> dict[str, Any]:
    """What the identity server signed: that the address which the token stands for is this user's."""
    signed = invite.get("signed") if isinstance(invite, dict) else None
    if not isinstance(signed, dict) or not isinstance(signed.get("token"), str):
        raise bad_json("The invite lacks what the identity server signed.")
    if signed.get("mxid") != target:
        raise forbidden("The identity server signed this for another user.")
    return signed
