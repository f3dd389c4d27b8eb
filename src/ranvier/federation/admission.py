"""What other servers' users get when they have come in, knocked, or left.

Source: Server-Server API, "Joining Rooms"; `omit_members`: MSC3706.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import orjson

from ranvier.federation.admitting import Admitting
from ranvier.protocol.events import Event
from ranvier.rooms.events import Events
from ranvier.rooms.heads import MEMBER, Room
from ranvier.rooms.peer_history import PeerHistory
from ranvier.rooms.servers import Servers
from ranvier.store import rooms as store
from ranvier.store.database import Database

HEROES: Final = 6
"""Members who show a room without a name: five, and the one who asks may be among them."""

Pdu = Mapping[str, Any]


class Admission:
    """Takes memberships in and answers what their makers need to know."""

    def __init__(
        self,
        database: Database,
        admitting: Admitting,
        events: Events,
        history: PeerHistory,
        servers: Servers,
    ) -> None:
        self._database = database
        self._admitting = admitting
        self._events = events
        self._history = history
        self._servers = servers

    async def join(self, origin: str, room_id: str, pdu: Pdu, omit_members: bool) -> bytes:
        """Take a join in; answers the room's state before it, as JSON. Raises `Refusal`.

        With `omit_members` only those memberships are told that clients show the room by.
        """
        room, event = await self._admitting.admit(origin, room_id, pdu, "join")
        before = await self._history.state_ids(room, event.event_id)
        assert before is not None, "an event that was appended has a state before it"
        state = await self._whole(before.state)
        chain_ids: Iterable[str] = before.auth_chain
        if omit_members:
            state = await self._without_members(room, state)
            told = {one.event_id for one in state}
            ids = await self._history.auth_chain(room, [*told, event.event_id])
            chain_ids = [event_id for event_id in ids if event_id not in told]
        servers = await self._servers_before(room, event) if omit_members else None
        return _answer(event, state, await self._whole(list(chain_ids)), servers, omit_members)

    async def knock(self, origin: str, room_id: str, pdu: Pdu) -> list[dict[str, Any]]:
        """Take a knock in; answers what the room shows of itself. Raises `Refusal`."""
        room, _ = await self._admitting.admit(origin, room_id, pdu, "knock")
        return await self._admitting.face(room)

    async def leave(self, origin: str, room_id: str, pdu: Pdu) -> None:
        """Take a leave in. Raises `Refusal`."""
        await self._admitting.admit(origin, room_id, pdu, "leave")

    async def _whole(self, event_ids: Sequence[str]) -> list[Event]:
        found = await self._events.by_ids(event_ids)
        return [found[event_id].event for event_id in event_ids if event_id in found]

    async def _without_members(self, room: Room, state: Sequence[Event]) -> list[Event]:
        named = any(e.type in ("m.room.name", "m.room.canonical_alias") for e in state)
        heroes = [] if named else await store.heroes(self._database, room.nid, ("join", "invite"), HEROES)
        return [e for e in state if e.type != MEMBER or e.state_key in heroes]

    async def _servers_before(self, room: Room, event: Event) -> list[str]:
        kept = await self._events.by_id(event.event_id)
        return sorted(await self._servers.at(room, kept)) if kept is not None else []


def _answer(
    event: Event,
    state: Sequence[Event],
    chain: Sequence[Event],
    servers: Sequence[str] | None,
    members_omitted: bool,
) -> bytes:
    """The answer as JSON, of events that are JSON already: there may be a hundred thousand."""
    parts = [
        b'{"state":[%b]' % b",".join(one.pdu_json for one in state),
        b',"auth_chain":[%b]' % b",".join(one.pdu_json for one in chain),
        b',"event":%b' % event.pdu_json,
        b',"members_omitted":%b' % (b"true" if members_omitted else b"false"),
    ]
    if servers is not None:
        parts.append(b',"servers_in_room":%b' % orjson.dumps(list(servers)))
    return b"".join([*parts, b"}"])
