"""Guests leave when a room no longer takes them.

Source: Client-Server API, "Guest Access", "Server behaviour".
"""

import asyncio
import contextlib
from typing import Final

from ranvier.protocol.refusal import Refusal
from ranvier.rooms.appending import Appending, Draft, Proposal
from ranvier.rooms.heads import MEMBER, Head, Room
from ranvier.store import accounts as store
from ranvier.store.database import Database

GUEST_ACCESS: Final = "m.room.guest_access"
_AT_ONCE: Final = 64


def takes_guests(head: Head) -> bool:
    """Whether guests may be in the room."""
    return head.content(GUEST_ACCESS).get("guest_access") == "can_join"


class Guests:
    """Sees to it that guests are only where they may be."""

    def __init__(self, database: Database, appending: Appending) -> None:
        self._database = database
        self._appending = appending

    async def expel(self, room: Room) -> None:
        """Let all guests leave, on their own behalf, unless the room takes them."""
        if room.head is not None and takes_guests(room.head):
            return
        guests = await store.guests_in(self._database, room.nid)
        for start in range(0, len(guests), _AT_ONCE):
            await asyncio.gather(*(self._leave(room, guest) for guest in guests[start : start + _AT_ONCE]))

    async def _leave(self, room: Room, guest: str) -> None:
        # Who left by themselves meanwhile can't leave again.
        with contextlib.suppress(Refusal):
            await self._appending.append(
                Proposal(room, [Draft(guest, MEMBER, {"membership": "leave"}, guest)])
            )
