"""Invites across servers: of others' users into our rooms, and of our users into others'.

Source: Server-Server API, "Inviting to a room"; Client-Server API, "Invite permission", "Stripped state".
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ranvier.federation.afar import Afar
from ranvier.federation.peer_rooms import PeerRooms
from ranvier.protocol import client_format
from ranvier.protocol.events import BadEvent, Event, cosigned
from ranvier.protocol.identifiers import server_name_of
from ranvier.protocol.membership_events import check_invite, read_invite_state
from ranvier.protocol.refusal import Refusal, forbidden, invalid_param
from ranvier.protocol.room_versions import ROOM_VERSIONS, RoomVersion
from ranvier.protocol.signing import SigningKey, signatures_of
from ranvier.remote.client import FederationClient
from ranvier.remote.failure import RemoteFailure
from ranvier.remote.invites_v2 import send_invite_v2
from ranvier.remote.verifying import Verifying
from ranvier.rooms.appending import Appending, Draft
from ranvier.rooms.heads import MEMBER, Head, Heads, Room
from ranvier.rooms.profiles import MemberProfiles
from ranvier.rooms.receiving import Receiving
from ranvier.store import accounts
from ranvier.store.database import Database


class Inviting:
    """Sends invites to other servers."""

    def __init__(
        self,
        client: FederationClient,
        verifying: Verifying,
        heads: Heads,
        appending: Appending,
        receiving: Receiving,
    ) -> None:
        self._client = client
        self._verifying = verifying
        self._heads = heads
        self._appending = appending
        self._receiving = receiving

    async def invite(self, room: Room, sender: str, target: str, content: Mapping[str, Any]) -> str:
        """Invite a user of another server, which signs the invite before it becomes one; answers its id.

        Raises `Refusal`, also where that server can't be reached: an invite that nobody hears of is none.
        """
        event = await self._appending.propose(room, Draft(sender, MEMBER, dict(content), target))
        head = await self._heads.fault_in(room, [sender])
        server = server_name_of(target)
        try:
            signed = await send_invite_v2(
                self._client,
                server,
                room.room_id,
                event.event_id,
                event.pdu,
                room.version.identifier,
                _face(room, head, event),
            )
            event = await self._as_signed(event, signed, server)
        except RemoteFailure as failure:
            raise _refusal(failure) from failure
        await self._receiving.append_signed(room, event)
        return event.event_id

    async def _as_signed(self, event: Event, signed: Mapping[str, Any], server: str) -> Event:
        """Our event with the other server's signature; nothing else of what it answered is used."""
        theirs = signatures_of(signed, server)
        ours = event.pdu["signatures"]
        both = Event(
            event.event_id,
            event.room_version,
            {**event.pdu, "signatures": {**ours, server: {**theirs, **ours.get(server, {})}}},
        )
        if not theirs or not await self._verifying.is_signed_by(both, server):
            raise RemoteFailure(server, "It did not sign the invite.", status=200)
        return both


class Invited:
    """Takes other servers' invites of our users."""

    def __init__(
        self,
        signer: SigningKey,
        database: Database,
        verifying: Verifying,
        peers: PeerRooms,
        profiles: MemberProfiles,
        afar: Afar,
    ) -> None:
        self._signer = signer
        self._database = database
        self._verifying = verifying
        self._peers = peers
        self._profiles = profiles
        self._afar = afar

    async def take(
        self,
        origin: str,
        room_id: str,
        pdu: Mapping[str, Any],
        room_version: str,
        room_state: Any,
    ) -> Event:
        """Sign an invite and tell the user; answers it as signed. Raises `Refusal`."""
        version = ROOM_VERSIONS.get(room_version)
        if version is None:
            raise Refusal(
                "M_INCOMPATIBLE_ROOM_VERSION",
                f"This server knows no room version {room_version[:32]!r}.",
                status=400,
                room_version=room_version[:32],
            )
        event = (await self._verifying.check([pdu], version))[0]
        if isinstance(event, BadEvent):
            raise invalid_param(f"The invite can't be trusted: {event}")
        check_invite(event, room_id=room_id, origin=origin, server_name=self._signer.server_name)
        await self._check_user(event.state_key or "", event.sender)
        state = await self._read_state(room_state, version, room_id)
        signed = cosigned(event, self._signer)
        if await self._peers.own_room(room_id) is None:
            await self._afar.keep(signed, origin, state)
        else:
            # The invite comes in the room's timeline, too.
            await self._peers.known_room(origin, room_id)
        return signed

    async def _check_user(self, user_id: str, inviter: str) -> None:
        """Whether there is such a user, who takes invites. Raises `Refusal`."""
        account = await accounts.find(self._database, user_id)
        if account is None or account.deactivated:
            raise forbidden(f"There is no user {user_id} on this server.")
        await self._profiles.of_invited(user_id, inviter)

    async def _read_state(self, told: Any, version: RoomVersion, room_id: str) -> Sequence[Mapping[str, Any]]:
        """What the room shows of itself. Rooms before version 12 may still send stripped state, unsigned."""
        try:
            events = read_invite_state(told, version, room_id)
            outcomes = await self._verifying.check([event.pdu for event in events], version)
        except Refusal:
            if version.room_id_is_create_event_id:
                raise
            return [one for one in told if isinstance(one, dict)] if isinstance(told, list) else []
        bad = [one for one in outcomes if isinstance(one, BadEvent)]
        if bad and version.room_id_is_create_event_id:
            raise invalid_param(f"The room's state can't be trusted: {bad[0]}")
        return [client_format.strip_state(event) for event in events]


def _face(room: Room, head: Head, invite: Event) -> list[dict[str, Any]]:
    """The state that shows the room to who is invited, as whole events: the receiver checks them (v1.16)."""
    kinds = [(kind, "") for kind in client_format.STRIPPED_STATE_TYPES]
    kept = [head.state.get(key) for key in (*kinds, (MEMBER, invite.sender))]
    return [one.event.pdu for one in kept if one is not None]


def _refusal(failure: RemoteFailure) -> Refusal:
    if failure.refused and failure.errcode in (
        "M_FORBIDDEN",
        "M_INVITE_BLOCKED",
        "M_INCOMPATIBLE_ROOM_VERSION",
    ):
        return Refusal(
            failure.errcode, f"{failure.destination} refused: {failure.reason}", status=failure.status
        )
    return Refusal("M_UNKNOWN", f"The invite could not be delivered: {failure}", status=502)
