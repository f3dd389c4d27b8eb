"""The checks on another server's events that come before any of them is kept.

Source: Server-Server API, "Checks performed on receipt of a PDU" (1 to 3), "Server Access Control Lists (ACLs)".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ranvier.federation.afar import Afar
from ranvier.federation.peer_rooms import PeerRooms
from ranvier.protocol.events import BadEvent, Event, parse
from ranvier.protocol.identifiers import server_name_of
from ranvier.protocol.refusal import Refusal
from ranvier.protocol.room_versions import ROOM_VERSIONS, RoomVersion
from ranvier.remote.verifying import Verifying
from ranvier.rooms.heads import Room
from ranvier.store import inbox as store
from ranvier.store.database import Database

MOST_WAITING: Final = 5_000
"""Events that may wait for one room; an origin that sends more is asked to come back later."""
_NAME_BYTES: Final = 255
_LATER_MS: Final = 10_000

Pdu = Mapping[str, Any]


@dataclass(slots=True)
class Checked:
    """What became of PDUs: `results` as the origin is told them, and the events that their rooms may take in."""

    results: dict[str, dict[str, str]] = field(default_factory=dict)
    events: list[tuple[Room, Event]] = field(default_factory=list)


class Checking:
    """Checks PDUs by room."""

    def __init__(self, database: Database, peers: PeerRooms, verifying: Verifying, afar: Afar) -> None:
        self._database = database
        self._peers = peers
        self._verifying = verifying
        self._afar = afar

    async def check(self, origin: str, pdus: Sequence[Pdu]) -> Checked:
        """What may be used of the PDUs that `origin` sends.

        Raises `Refusal` where a room has too much to do already: then nothing of the PDUs is used.
        """
        checked = Checked()
        open_rooms: list[tuple[Room, list[Pdu]]] = []
        for room_id, of_room in _by_room(pdus).items():
            room = await self._peers.own_room(room_id)
            if room is None:
                for pdu in of_room:
                    await self._turn_away(origin, pdu, checked)
            elif not self._peers.lets_in(origin, room):
                for pdu in of_room:
                    _note(
                        checked, _name_of(pdu, room.version), "The room's server ACL keeps your server out."
                    )
            else:
                open_rooms.append((room, of_room))
        await self._refuse_too_many([room.nid for room, _ in open_rooms])
        await self._verify(open_rooms, checked)
        return checked

    async def _refuse_too_many(self, rooms: Sequence[int]) -> None:
        waiting = await store.waiting(self._database, rooms) if rooms else {}
        if max(waiting.values(), default=0) >= MOST_WAITING:
            raise Refusal(
                "M_LIMIT_EXCEEDED",
                "Too many events wait for one of the rooms; please send the transaction again later.",
                retry_after_ms=_LATER_MS,
            )

    async def _verify(self, rooms: Sequence[tuple[Room, list[Pdu]]], checked: Checked) -> None:
        """Check all rooms' PDUs together: in threads, where they are many."""
        for version in {room.version.identifier: room.version for room, _ in rooms}.values():
            of_version = [
                (room, pdu) for room, of_room in rooms if room.version is version for pdu in of_room
            ]
            outcomes = await self._verifying.check([pdu for _, pdu in of_version], version)
            known: set[tuple[int, str]] = set()
            for (room, pdu), outcome in zip(of_version, outcomes, strict=True):
                if not isinstance(outcome, Event):
                    _note(checked, _name_of(pdu, version), str(outcome))
                    continue
                _note(checked, outcome.event_id, None)
                if (room.nid, outcome.event_id) not in known:
                    known.add((room.nid, outcome.event_id))
                    checked.events.append((room, outcome))

    async def _turn_away(self, origin: str, pdu: Pdu, checked: Checked) -> None:
        """Of a room that this server is not in, the end of an invite or a knock is all that concerns it."""
        user_id, room_id = pdu.get("state_key"), pdu.get("room_id")
        invitation = None
        if pdu.get("type") == "m.room.member" and isinstance(user_id, str) and isinstance(room_id, str):
            invitation = await self._afar.invitation(user_id, room_id)
        if invitation is None:
            _note(checked, _name_of(pdu, None), "This server is not in that room.")
            return
        version = ROOM_VERSIONS[invitation.room_version]
        event = (await self._verifying.check([pdu], version))[0]
        if isinstance(event, BadEvent):
            _note(checked, _name_of(pdu, version), str(event))
            return
        if (
            event.content.get("membership") in ("leave", "ban")
            and server_name_of(event.sender) == origin
            and await self._afar.may_turn_away(event)
        ):
            await self._afar.turn_away(event)
        _note(checked, event.event_id, None)


def _by_room(pdus: Sequence[Pdu]) -> dict[str, list[Pdu]]:
    """The PDUs by the room that they name, in their order; those that name none are dropped."""
    rooms: dict[str, list[Pdu]] = {}
    for pdu in pdus:
        room_id = pdu.get("room_id")
        if isinstance(room_id, str) and len(room_id.encode(errors="replace")) <= _NAME_BYTES:
            rooms.setdefault(room_id, []).append(pdu)
    return rooms


def _name_of(pdu: Pdu, version: RoomVersion | None) -> str | None:
    """The id of a PDU that is not taken, as far as one can say it."""
    if version is not None:
        try:
            return parse(pdu, version).event_id
        except BadEvent:
            pass
    event_id = pdu.get("event_id")
    is_name = isinstance(event_id, str) and event_id.startswith("$") and len(event_id) <= _NAME_BYTES
    return event_id if is_name else None


def _note(checked: Checked, event_id: str | None, error: str | None) -> None:
    if event_id is not None:
        checked.results[event_id] = {"error": error} if error is not None else {}
