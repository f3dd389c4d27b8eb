"""Rooms that have a policy server: it is asked to sign each event before it is sent, and what it refuses is not sent.

Source: server-server API, "Policy Servers" (v1.18).
"""

from typing import Final

from ranvier.protocol.events import Event
from ranvier.protocol.policy_server import PolicyServer, policy_server_of, recommends, signed_by
from ranvier.protocol.refusal import Refusal
from ranvier.remote.client import FederationClient
from ranvier.remote.failure import RemoteFailure
from ranvier.remote.room_policy import ask_policy_server_to_sign
from ranvier.rooms.heads import Head, Room
from ranvier.rooms.servers import Servers

POLICY: Final = "m.room.policy"


class Policies:
    """Knows which policy server a room uses, and asks it."""

    def __init__(self, client: FederationClient, servers: Servers) -> None:
        self._client = client
        self._servers = servers

    async def in_use(self, room: Room, head: Head) -> PolicyServer | None:
        """The room's policy server, while a user of it is in the room; this server is none."""
        kept = head.get(POLICY)
        named = policy_server_of(kept.event if kept is not None else None)
        if named is None or named.via == self._client.server_name:
            return None
        return named if named.via in await self._servers.in_room(room) else None

    async def recommended(self, event: Event, policy_server: PolicyServer) -> Event:
        """The event with the policy server's signature. Raises `Refusal`, with its own words if it said no."""
        if recommends(policy_server, event):
            return event
        try:
            signatures = await ask_policy_server_to_sign(self._client, policy_server.via, dict(event.pdu))
        except RemoteFailure as failure:
            if failure.refused and failure.concerns_what_was_asked:
                assert failure.errcode is not None
                raise Refusal(
                    failure.errcode, failure.error or failure.reason, status=failure.status
                ) from None
            raise Refusal("M_FORBIDDEN", f"The room's policy server could not be asked: {failure}") from None
        signed = signed_by(policy_server, event, signatures)
        if not recommends(policy_server, signed):
            raise Refusal(
                "M_FORBIDDEN", "The room's policy server did not sign with the key that the room names."
            )
        return signed
