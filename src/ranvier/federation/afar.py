"""Memberships in rooms that this server is not in: invites that came, knocks that were sent, and their end.

Source: Server-Server API, "Inviting to a room", "Knocking upon a room", "Leaving Rooms (Rejecting Invites)".
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from ranvier.federation.handshakes import completed, through
from ranvier.protocol import client_format
from ranvier.protocol.events import Event
from ranvier.protocol.identifiers import server_name_of
from ranvier.protocol.refusal import Refusal
from ranvier.protocol.room_versions import ROOM_VERSIONS
from ranvier.protocol.signing import SigningKey
from ranvier.remote.client import FederationClient
from ranvier.remote.knocks import make_knock, send_knock
from ranvier.remote.leaving_v1 import make_leave
from ranvier.remote.leaving_v2 import send_leave_v2
from ranvier.store import invitations as store
from ranvier.store.database import Database
from ranvier.store.invitations import Invitation
from ranvier.store.rooms import Membership
from ranvier.store.writer import Writer

MAX_STRIPPED = 100
"""State events that are shown of a room that one is not in."""

_VERSIONS = tuple(version.identifier for version in ROOM_VERSIONS.values() if version.knocking)
_log = logging.getLogger("ranvier.federation")


class Afar:
    """Keeps such memberships, and brings them to an end."""

    def __init__(
        self,
        signer: SigningKey,
        database: Database,
        writer: Writer,
        client: FederationClient,
        now: Callable[[], int],
    ) -> None:
        self._signer = signer
        self._database = database
        self._writer = writer
        self._client = client
        self._now = now

    async def invitation(self, user_id: str, room_id: str) -> Invitation | None:
        """The user's invite to the room, or their knock at it."""
        return await store.find(self._database, user_id, room_id)

    async def may_turn_away(self, event: Event) -> bool:
        """Whether the sender of this leave or ban may end the user's invite to the room, or their knock.

        What power anybody has there can't be known here: an invite is taken back by who made it.
        """
        inviter = await store.sender_of(self._database, event.state_key or "", event.room_id)
        return inviter is None or inviter == event.sender

    async def keep(self, event: Event, via: str, state: Sequence[Mapping[str, Any]]) -> None:
        """Keep an invite or a knock with what it shows of the room, and tell the user."""
        user_id = event.state_key or ""
        invitation = Invitation(user_id, event.room_id, event.room_version.identifier, event.event_id, via)
        membership = _membership(event, [*_shown(state), client_format.strip_state(event)])
        await self._writer.run(lambda transaction: store.keep(transaction, invitation, membership))

    async def knock(
        self, user_id: str, room_id: str, servers: Sequence[str], content: Mapping[str, Any]
    ) -> None:
        """Knock at a room. Raises `Refusal`."""
        await through(servers, partial(self._knock, user_id, room_id, content), room_id=room_id)

    async def _knock(self, user_id: str, room_id: str, content: Mapping[str, Any], server: str) -> None:
        template = await make_knock(self._client, server, room_id, user_id, _VERSIONS)
        event = completed(
            template, server, self._signer, room_id=room_id, user_id=user_id, content=content, now=self._now()
        )
        state = await send_knock(self._client, server, room_id, event.event_id, event.pdu)
        await self.keep(event, server, state)

    async def withdraw(self, invitation: Invitation, content: Mapping[str, Any]) -> None:
        """Reject an invite, or take back a knock. It is over for the user also if no server can be told."""
        room_id, user_id = invitation.room_id, invitation.user_id
        servers = list(dict.fromkeys([invitation.via, *_server_in(room_id)]))
        servers = [server for server in servers if server != self._client.server_name]
        try:
            event = await through(servers, partial(self._leave, user_id, room_id, content), room_id=room_id)
        except Refusal as refusal:
            _log.info("no server could be told of a leave", extra={"room_id": room_id, "why": refusal.error})
            shown = _own_leave(invitation, content, self._now())
        else:
            shown = client_format.client_event(event)
        await self._end(user_id, room_id, user_id, shown)

    async def _leave(self, user_id: str, room_id: str, content: Mapping[str, Any], server: str) -> Event:
        template = await make_leave(self._client, server, room_id, user_id)
        event = completed(
            template, server, self._signer, room_id=room_id, user_id=user_id, content=content, now=self._now()
        )
        await send_leave_v2(self._client, server, room_id, event.event_id, event.pdu)
        return event

    async def turn_away(self, event: Event) -> None:
        """A server of the room says that the invite, or the knock, came to nothing (leave or ban)."""
        await self._end(
            event.state_key or "", event.room_id, event.sender, client_format.client_event(event),
            event.content["membership"],
        )  # fmt: skip

    async def _end(
        self, user_id: str, room_id: str, sender: str, shown: dict[str, Any], membership: str = "leave"
    ) -> None:
        left = Membership(user_id, room_id, 0, membership, 0, sender, forgotten=False, stripped_state=[shown])
        await self._writer.run(lambda transaction: store.end(transaction, left))


def _membership(event: Event, state: list[dict[str, Any]]) -> Membership:
    return Membership(
        event.state_key or "",
        event.room_id,
        0,
        event.content["membership"],
        0,
        event.sender,
        forgotten=False,
        stripped_state=state,
    )


def _shown(state: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What of a peer's state may be shown to the user, membership events of others included."""
    pruned = (client_format.prune_stripped_state(one) for one in state[:MAX_STRIPPED])
    return [one for one in pruned if one is not None]


def _server_in(room_id: str) -> list[str]:
    """The server that made the room, where its id says so."""
    return [server_name_of(room_id)] if ":" in room_id else []


def _own_leave(invitation: Invitation, content: Mapping[str, Any], now: int) -> dict[str, Any]:
    """The leave as the user's own clients are told it, if no server of the room has it."""
    return {
        "type": "m.room.member",
        "sender": invitation.user_id,
        "state_key": invitation.user_id,
        "content": dict(content),
        "origin_server_ts": now,
        "event_id": invitation.event_id + "-left",
    }
