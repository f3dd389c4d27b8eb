"""What users on other servers do at this moment: typing, and reading.

Source: Server-Server API, "Typing Notifications", "Receipts".
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from ranvier.federation.peer_rooms import PeerRooms
from ranvier.protocol.identifiers import BadIdentifier, server_name_of
from ranvier.protocol.refusal import Refusal, bad_json, forbidden
from ranvier.rooms.heads import MEMBER, Heads, Room
from ranvier.rooms.receipts import READ, Receipts
from ranvier.rooms.typing import Typing

TYPING_MS: Final = 30_000
"""How long somebody types whose server says no more of it."""
MAX_RECEIPTS: Final = 1_000
"""Receipts that are taken from one unit."""

Content = Mapping[str, Any]


class RemoteEphemera:
    """Takes units of the types `m.typing` and `m.receipt`."""

    def __init__(
        self, peers: PeerRooms, heads: Heads, typing: Typing, receipts: Receipts, now: Callable[[], int]
    ) -> None:
        self._peers = peers
        self._heads = heads
        self._typing = typing
        self._receipts = receipts
        self._now = now

    async def take_typing(self, origin: str, content: Content) -> None:
        """Somebody begins or ends to type."""
        room_id, user_id, starts = content.get("room_id"), content.get("user_id"), content.get("typing")
        if not isinstance(room_id, str) or not isinstance(user_id, str) or not isinstance(starts, bool):
            raise bad_json("An m.typing unit has a room_id, a user_id, and typing as true or false.")
        room = await self._room_of(origin, room_id, user_id)
        if starts:
            self._typing.begin(room.nid, user_id, TYPING_MS)
        else:
            self._typing.end(room.nid, user_id)

    async def take_receipts(self, origin: str, content: Content) -> None:
        """People have read up to somewhere; what can't be used of it is passed over."""
        for number, (room_id, user_id, receipt) in enumerate(_receipts(content)):
            if number == MAX_RECEIPTS:
                return
            try:
                room = await self._room_of(origin, room_id, user_id)
            except Refusal:
                continue
            event_id, thread, ts = receipt
            await self._receipts.receive_from_peer(
                room, user_id, event_id, thread, ts if ts is not None else self._now()
            )

    async def _room_of(self, origin: str, room_id: str, user_id: str) -> Room:
        """The room, if the user is of that server and in it. Raises `Refusal`."""
        try:
            is_theirs = server_name_of(user_id) == origin
        except BadIdentifier:
            is_theirs = False
        if not is_theirs:
            raise forbidden("A server can only speak for its own users.")
        room = await self._peers.known_room(origin, room_id)
        member = (await self._heads.fault_in(room, [user_id])).state.get((MEMBER, user_id))
        if member is None or member.event.content.get("membership") != "join":
            raise forbidden("The user is not in that room.")
        return room


_Receipt = tuple[str, str | None, int | None]


def _receipts(content: Content) -> Iterator[tuple[str, str, _Receipt]]:
    """(room id, user, (event id, thread, time in ms)) of each public receipt that is well formed."""
    for room_id, by_type in content.items():
        by_user = by_type.get(READ) if isinstance(by_type, dict) else None
        for user_id, told in by_user.items() if isinstance(by_user, dict) else ():
            receipt = _receipt(told)
            if receipt is not None:
                yield room_id, user_id, receipt


def _receipt(told: Any) -> _Receipt | None:
    event_ids = told.get("event_ids") if isinstance(told, dict) else None
    if not isinstance(event_ids, list) or not event_ids or not isinstance(event_ids[0], str):
        return None
    data = told.get("data")
    data = data if isinstance(data, dict) else {}
    thread, ts = data.get("thread_id"), data.get("ts")
    is_time = isinstance(ts, int) and not isinstance(ts, bool) and 0 <= ts < 2**53
    return event_ids[0], thread if isinstance(thread, str) else None, ts if is_time else None
