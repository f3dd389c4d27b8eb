"""A Ranvier and a Synapse, one of which is where a room begins."""

from __future__ import annotations

import itertools
import os
import random
from dataclasses import dataclass
from typing import Any, Protocol

from tests.federation.following import Follower
from tests.http_client import path_of
from tests.server import PASSWORD, UserClient

ROOMS = "_matrix/client/v3/rooms"
SEED = os.environ.get("RANVIER_TEST_SEED") or str(random.randrange(10**6))
"""What a run draws follows from it."""
_NUMBERS = itertools.count(1)


class Side(Protocol):
    """One of the two."""

    @property
    def server_name(self) -> str: ...

    @property
    def base_url(self) -> str: ...

    async def register(self, localpart: str, password: str = PASSWORD) -> UserClient: ...

    async def login(self, localpart: str, password: str = PASSWORD) -> UserClient: ...

    async def away(self) -> None: ...

    async def back(self) -> None: ...


@dataclass(frozen=True)
class Pair:
    """Rooms are made on `home`, in a room version, and entered from `away`."""

    home: Side
    away: Side
    version: str

    async def at_home(self, name: str) -> UserClient:
        """Somebody new at home."""
        return await self.home.register(f"{name}-{next(_NUMBERS)}")

    async def from_away(self, name: str) -> UserClient:
        """Somebody new on the other server."""
        return await self.away.register(f"{name}-{next(_NUMBERS)}")

    async def room(self, owner: UserClient, preset: str = "public_chat", **more: Any) -> str:
        """A new room of the owner's."""
        return await owner.create_room(preset=preset, room_version=self.version, **more)

    async def join(self, user: UserClient, room_id: str) -> None:
        """Join a room by its id, through the server where it began."""
        await self.ask(user, "join", room_id)

    async def ask(self, user: UserClient, verb: str, room: str, **body: Any) -> None:
        """Join or knock; fails the test if that is refused."""
        path = path_of(f"_matrix/client/v3/{verb}", room)
        query = None if room.startswith("#") else self.via
        (await user.post(path, json=body, query=query)).ok()

    @property
    def via(self) -> dict[str, str]:
        """The query that names the server where the room began."""
        return {"via": self.home.server_name}

    async def shared(self, owner: UserClient, guest: UserClient, **more: Any) -> str:
        """A public room that both are in, as the owner's server knows too."""
        room_id = await self.room(owner, **more)
        await self.join(guest, room_id)
        return room_id


async def state_of(user: UserClient, room_id: str) -> dict[tuple[str, str], str]:
    """The ids of the events of a room's state, as the user's server has them."""
    events = (await user.get(path_of(ROOMS, room_id, "state"))).ok()
    return {(event["type"], event["state_key"]): event["event_id"] for event in events}


async def content_of(user: UserClient, room_id: str, kind: str, state_key: str = "") -> Any:
    """The content of one event of the state."""
    return (await user.get(path_of(ROOMS, room_id, "state", kind, state_key))).ok()


async def event_of(user: UserClient, room_id: str, event_id: str) -> Any:
    """An event, as the user's server shows it."""
    return (await user.get(path_of(ROOMS, room_id, "event", event_id))).ok()


async def hears_from_now(user: UserClient) -> Follower:
    """Somebody who has synced once, and follows from there."""
    following = Follower(user)
    await following.next(0)
    return following
