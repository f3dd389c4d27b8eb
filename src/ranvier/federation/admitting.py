"""Helping other servers' users in and out of rooms that this server is in.

A template is the event that a peer asks for, as this server would make it; the peer completes, signs and hands it in.

Source: Server-Server API, "Joining Rooms", "Restricted rooms", "Knocking upon a room", "Leaving Rooms".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ranvier.federation.peer_rooms import PeerRooms
from ranvier.protocol import client_format
from ranvier.protocol.events import BadEvent, Event, cosigned, parse
from ranvier.protocol.identifiers import BadIdentifier, check_user_id, server_name_of
from ranvier.protocol.membership_events import check_handed_in
from ranvier.protocol.refusal import Refusal, forbidden, invalid_param, not_found
from ranvier.protocol.signing import SigningKey
from ranvier.remote.verifying import Verifying
from ranvier.rooms.appending import Appending, Draft
from ranvier.rooms.heads import MEMBER, Heads, Room
from ranvier.rooms.receiving import Receiving
from ranvier.rooms.restrictions import AUTHORISER, Restrictions

_MADE_HERE: Final = ("hashes", "signatures", "event_id", "unsigned")
"""What of a template the peer makes itself."""


@dataclass(frozen=True, slots=True)
class Template:
    """A membership for a peer to complete, and the room's version."""

    event: dict[str, Any]
    room_version: str


class Templates:
    """Makes templates."""

    def __init__(
        self, peers: PeerRooms, heads: Heads, appending: Appending, restrictions: Restrictions
    ) -> None:
        self._peers = peers
        self._heads = heads
        self._appending = appending
        self._restrictions = restrictions

    async def join(self, origin: str, room_id: str, user_id: str, versions: Sequence[str]) -> Template:
        """A join of a user of `origin`, which knows these room versions. Raises `Refusal`."""
        room = await self._room(origin, room_id, user_id)
        check_whole(room)
        _check_version(room, versions)
        content: dict[str, Any] = {"membership": "join"}
        head = await self._heads.fault_in(room, [user_id])
        authoriser = await self._restrictions.authoriser(room, head, user_id)
        if authoriser is not None:
            content[AUTHORISER] = authoriser
        return await self._template(room, user_id, content)

    async def knock(self, origin: str, room_id: str, user_id: str, versions: Sequence[str]) -> Template:
        """A knock of a user of `origin`, which knows these room versions. Raises `Refusal`."""
        room = await self._room(origin, room_id, user_id)
        check_whole(room)
        _check_version(room, versions)
        return await self._template(room, user_id, {"membership": "knock"})

    async def leave(self, origin: str, room_id: str, user_id: str) -> Template:
        """A leave of a user of `origin`. Raises `Refusal`."""
        room = await self._room(origin, room_id, user_id)
        return await self._template(room, user_id, {"membership": "leave"})

    async def _room(self, origin: str, room_id: str, user_id: str) -> Room:
        try:
            check_user_id(user_id)
        except BadIdentifier as error:
            raise invalid_param(f"This is no user ID: {error}") from None
        if server_name_of(user_id) != origin:
            raise forbidden("A server can only ask for its own users.")
        return await self._peers.known_room(origin, room_id)

    async def _template(self, room: Room, user_id: str, content: dict[str, Any]) -> Template:
        event = await self._appending.propose(room, Draft(user_id, MEMBER, content, user_id))
        pdu = {key: value for key, value in event.pdu.items() if key not in _MADE_HERE}
        # The specification wants it there; the peer puts its own name in its place.
        return Template({**pdu, "origin": self._peers.server_name}, room.version.identifier)


class Admitting:
    """Takes completed memberships in, and passes them on."""

    def __init__(
        self,
        signer: SigningKey,
        peers: PeerRooms,
        heads: Heads,
        verifying: Verifying,
        receiving: Receiving,
        restrictions: Restrictions,
    ) -> None:
        self._signer = signer
        self._peers = peers
        self._heads = heads
        self._verifying = verifying
        self._receiving = receiving
        self._restrictions = restrictions

    async def admit(
        self, origin: str, room_id: str, pdu: Mapping[str, Any], membership: str
    ) -> tuple[Room, Event]:
        """A join, knock or leave that `origin` hands in, once it is in the room; as this server signed it too.

        Its signature also tells that it is this server that sends the event to all others. Raises `Refusal`.
        """
        room = await self._peers.known_room(origin, room_id)
        if membership != "leave":
            check_whole(room)
        try:
            event = parse(dict(pdu), room.version)
            check_handed_in(event, membership, room_id=room_id, origin=origin)
            if membership == "join":
                await self._check_authoriser(room, event)
            event = cosigned(event, self._signer)
        except (BadEvent, BadIdentifier) as error:
            raise Refusal("M_BAD_JSON", f"This is no event of the room: {error}", status=400) from None
        checked = (await self._verifying.check([event.pdu], room.version))[0]
        if isinstance(checked, BadEvent):
            raise forbidden(f"The event can't be trusted: {checked}")
        await self._receiving.append_signed(room, checked)
        return room, checked

    async def _check_authoriser(self, room: Room, event: Event) -> None:
        """Whether we let in whom the event says that we do: our signature is what the others go by."""
        named = event.content.get(AUTHORISER)
        if named is None:
            return
        if not isinstance(named, str) or server_name_of(named) != self._signer.server_name:
            raise Refusal(
                "M_BAD_JSON",
                "The event names somebody of another server as who lets the user in.",
                status=400,
            )
        head = await self._heads.fault_in(room, [event.sender, named])
        await self._restrictions.authoriser(room, head, event.sender)

    async def face(self, room: Room) -> list[dict[str, Any]]:
        """The stripped state that shows the room to who knocks."""
        head = await self._heads.fault_in(room, ())
        kept = [head.state.get((kind, "")) for kind in client_format.STRIPPED_STATE_TYPES]
        return [client_format.strip_state(one.event) for one in kept if one is not None]


def check_whole(room: Room) -> None:
    """Refuse as long as the room's members are still to come: nobody can be told what we don't know (MSC3902)."""
    if room.head is not None and room.head.partial:
        raise not_found(
            "This server has joined the room a moment ago and does not know all of its members yet."
        )


def _check_version(room: Room, versions: Sequence[str]) -> None:
    """Refuse a server that doesn't know the room's version; who names none knows the first."""
    version = room.version.identifier
    if version not in (versions or ("1",)):
        raise Refusal(
            "M_INCOMPATIBLE_ROOM_VERSION",
            f"The room is of version {version}, which your server says that it does not know.",
            status=400,
            room_version=version,
        )
