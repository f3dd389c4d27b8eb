"""Joining rooms through servers that are in them.

Source: Server-Server API, "Joining Rooms", "Restricted rooms"; joins with partial state: MSC3706, MSC3902.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from ranvier.federation.handshakes import completed, through
from ranvier.federation.missing import MissingEvents
from ranvier.federation.resyncing import Resyncing
from ranvier.protocol.events import Event
from ranvier.protocol.room_versions import ROOM_VERSIONS, RoomVersion
from ranvier.protocol.signing import SigningKey
from ranvier.remote.client import FederationClient
from ranvier.remote.failure import RemoteFailure
from ranvier.remote.joins_v1 import make_join
from ranvier.remote.joins_v2 import Joined, send_join_v2
from ranvier.remote.verifying import Verifying
from ranvier.rooms.founding import Founding
from ranvier.rooms.heads import Room
from ranvier.store.events import Judgement

_VERSIONS = tuple(ROOM_VERSIONS)


class Joining:
    """Gets this server's users into rooms with other servers' help. `quickly`: without waiting for all members."""

    def __init__(
        self,
        signer: SigningKey,
        client: FederationClient,
        verifying: Verifying,
        founding: Founding,
        missing: MissingEvents,
        resyncing: Resyncing,
        now: Callable[[], int],
        *,
        quickly: bool = True,
    ) -> None:
        self._signer = signer
        self._client = client
        self._verifying = verifying
        self._founding = founding
        self._missing = missing
        self._resyncing = resyncing
        self._now = now
        self._quickly = quickly

    async def enter(
        self, user_id: str, room_id: str, servers: Sequence[str], content: Mapping[str, Any]
    ) -> None:
        """Join a room that this server is not in. Raises `Refusal`."""
        await through(servers, partial(self._enter, user_id, room_id, content), room_id=room_id)

    async def be_let_in(
        self, room: Room, user_id: str, servers: Sequence[str], content: Mapping[str, Any]
    ) -> None:
        """Join a room that this server is in, where only another server can grant it. Raises `Refusal`."""
        await through(servers, partial(self._be_let_in, room, user_id, content), room_id=room.room_id)

    async def _enter(self, user_id: str, room_id: str, content: Mapping[str, Any], server: str) -> None:
        join, version, joined = await self._shake_hands(user_id, room_id, content, server, self._quickly)
        state, chain = await asyncio.gather(
            self._trusted(joined.state, version, room_id), self._trusted(joined.auth_chain, version, room_id)
        )
        room = await self._founding.found(
            version,
            room_id,
            join,
            state,
            chain,
            servers=[server, *(joined.servers_in_room or ())],
            partial=joined.members_omitted,
        )
        if joined.members_omitted:
            self._resyncing.begin(room)

    async def _be_let_in(self, room: Room, user_id: str, content: Mapping[str, Any], server: str) -> None:
        join, _, _ = await self._shake_hands(user_id, room.room_id, content, server, quickly=True)
        outcome = await self._missing.receive(room, join, server)
        if outcome is not Judgement.ACCEPTED:
            raise RemoteFailure(server, "What it says of the room does not allow the join here.", status=200)

    async def _shake_hands(
        self, user_id: str, room_id: str, content: Mapping[str, Any], server: str, quickly: bool
    ) -> tuple[Event, RoomVersion, Joined]:
        """The join as the room has it now, and what the peer says of the room. Raises RemoteFailure."""
        template = await make_join(self._client, server, room_id, user_id, _VERSIONS)
        event = completed(
            template,
            server,
            self._signer,
            room_id=room_id,
            user_id=user_id,
            content=content,
            now=self._now(),
        )
        joined = await send_join_v2(
            self._client, server, room_id, event.event_id, event.pdu, omit_members=quickly
        )
        version = ROOM_VERSIONS[template.room_version]
        return await self._as_signed(event, joined, version, server), version, joined

    async def _as_signed(self, event: Event, joined: Joined, version: RoomVersion, server: str) -> Event:
        """Our event as the peer signed it, where others will ask for that signature."""
        if joined.event is None:
            return event
        signed = (await self._verifying.check([joined.event], version))[0]
        if isinstance(signed, Event) and signed.event_id == event.event_id:
            return signed
        if event.content.get("join_authorised_via_users_server") is None:
            return event
        raise RemoteFailure(server, "It did not sign the join as the one who lets us in.", status=200)

    async def _trusted(
        self, pdus: Sequence[Mapping[str, Any]], version: RoomVersion, room_id: str
    ) -> list[Event]:
        """The events that are signed and of the room; what can't be trusted is left out, as if it had never been."""
        outcomes = await self._verifying.check(pdus, version)
        return [one for one in outcomes if isinstance(one, Event) and one.room_id == room_id]
