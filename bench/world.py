"""The users and rooms that pieces of work share, made when first asked for, and the sizes of everything."""

import hashlib
import hmac
from dataclasses import dataclass, replace
from typing import Any

import orjson

from bench import requests
from bench.connection import Connection
from bench.load import connections, drive
from bench.progress import Bars
from bench.servers import Server

SETUP_IN_FLIGHT = 8
REGISTER = "/_synapse/admin/v1/register"
PASSWORD = "a long bench password"


@dataclass(frozen=True)
class Sizes:
    """How much of each piece of work is done."""

    starts: int = 3
    registrations: int = 40
    logins: int = 40
    sequential_sends: int = 300
    concurrent_sends: int = 2_000
    in_flight: int = 32
    crowd_users: int = 20
    crowd_rooms: int = 10
    waiting_clients: int = 100
    delivered_messages: int = 40
    synced_rooms: int = 200
    synced_messages: int = 10
    first_syncs: int = 5
    cold_syncs: int = 3
    quiet_syncs: int = 300
    one_event_syncs: int = 100
    history_events: int = 500
    history_passes: int = 20
    created_rooms: int = 100
    joins: int = 200
    mixed_users: int = 50
    mixed_rooms: int = 10
    mixed_operations: int = 60


FULL = Sizes()
QUICK = replace(
    FULL,
    starts=1,
    registrations=10,
    logins=10,
    sequential_sends=100,
    concurrent_sends=400,
    waiting_clients=25,
    delivered_messages=15,
    synced_rooms=40,
    first_syncs=3,
    cold_syncs=1,
    quiet_syncs=100,
    one_event_syncs=30,
    history_events=200,
    history_passes=10,
    created_rooms=20,
    joins=25,
    mixed_users=20,
    mixed_rooms=4,
    mixed_operations=25,
)


@dataclass(frozen=True)
class User:
    """An account with one device."""

    localpart: str
    user_id: str
    token: str


@dataclass(frozen=True)
class Room:
    """A room and its members; the first one made it."""

    room_id: str
    members: tuple[User, ...]


@dataclass(frozen=True)
class FilledRoom:
    """A room and what was sent to it: event id and text, oldest first."""

    room: Room
    sent: tuple[tuple[str, str], ...]


class World:
    """One server with whoever lives on it."""

    def __init__(self, server: Server, sizes: Sizes, bars: Bars, first_start_seconds: float) -> None:
        self.server = server
        self.first_start_seconds = first_start_seconds
        self.sizes = sizes
        self.bars = bars
        self._users: list[User] = []
        self._rooms: dict[tuple[str, int], list[Room]] = {}
        self._filled: dict[str, list[FilledRoom]] = {}
        self._names = 0

    async def users(self, count: int) -> list[User]:
        """The first `count` users, registered when there are fewer."""
        missing = count - len(self._users)
        if missing > 0:
            self.welcome(await self.newcomers(missing))
        return self._users[:count]

    async def newcomers(self, count: int) -> list[User]:
        """Fresh accounts that no other piece of work gets to see."""
        with (
            connections(self.server.address, SETUP_IN_FLIGHT) as lines,
            self.bars.step("registering users", count) as step,
        ):
            nonces = await drive(lines, [requests.build("GET", REGISTER)] * count, step)
            step.done = 0
            return users_of(await drive(lines, [self.registration(nonce) for nonce in nonces], step))

    def welcome(self, users: list[User]) -> None:
        """From now on these are among the users that pieces of work share."""
        self._users.extend(users)

    def registration(self, nonce_body: bytes) -> bytes:
        """The request that registers a new account with the nonce that was handed out."""
        nonce = str(orjson.loads(nonce_body)["nonce"])
        self._names += 1
        name = f"user{self._names:04}"
        content: dict[str, Any] = {
            "nonce": nonce,
            "username": name,
            "password": PASSWORD,
            "admin": False,
            "mac": registration_mac(self.server.registration_secret, nonce, name, PASSWORD),
        }
        return requests.build("POST", REGISTER, body=content)

    async def public_rooms(self, purpose: str, memberships: list[list[User]]) -> list[Room]:
        """Rooms with these members each, made once for each purpose and count."""
        key = (purpose, len(memberships))
        if key not in self._rooms:
            self._rooms[key] = await self._make_rooms(purpose, memberships)
        return self._rooms[key]

    async def crowd(self) -> list[Room]:
        """The rooms in which all of a small crowd are members."""
        users = await self.users(self.sizes.crowd_users)
        return await self.public_rooms("crowd", [users] * self.sizes.crowd_rooms)

    async def filled_rooms(self, purpose: str, rooms: int, messages: int) -> list[FilledRoom]:
        """So many rooms of one newcomer, with so many messages each; made once for each purpose."""
        if purpose not in self._filled:
            owner = (await self.newcomers(1))[0]
            made = await self.public_rooms(purpose, [[owner]] * rooms)
            self._filled[purpose] = await self._fill(purpose, made, messages)
        return self._filled[purpose]

    async def _fill(self, purpose: str, rooms: list[Room], messages: int) -> list[FilledRoom]:
        texts = [f"{purpose} message {number}" for number in range(messages)]
        filled = []
        with (
            connections(self.server.address, 1) as lines,
            self.bars.step(f"filling rooms ({purpose})", len(rooms) * messages) as step,
        ):
            for room in rooms:  # one after the other, so that their order is known
                token = room.members[0].token
                sends = [
                    requests.send_message(token, room.room_id, f"f{n}", text) for n, text in enumerate(texts)
                ]
                event_ids = event_ids_of(await drive(lines, sends, step))
                filled.append(FilledRoom(room, tuple(zip(event_ids, texts, strict=True))))
        return filled

    async def _make_rooms(self, purpose: str, memberships: list[list[User]]) -> list[Room]:
        total = sum(map(len, memberships))
        with (
            connections(self.server.address, SETUP_IN_FLIGHT) as lines,
            self.bars.step(f"making rooms ({purpose})", total) as step,
        ):
            creations = [
                requests.create_room(members[0].token, preset="public_chat", name=f"{purpose} {number}")
                for number, members in enumerate(memberships)
            ]
            room_ids = room_ids_of(await drive(lines, creations, step))
            joins = [
                requests.join(user.token, room_id)
                for room_id, members in zip(room_ids, memberships, strict=True)
                for user in members[1:]
            ]
            await drive(lines, joins, step)
        return [Room(room_id, tuple(members)) for room_id, members in zip(room_ids, memberships, strict=True)]


def registration_mac(secret: str, nonce: str, name: str, password: str) -> str:
    """The proof of the shared secret that the registration asks for."""
    parts = (nonce, name, password, "notadmin")
    return hmac.new(secret.encode(), b"\0".join(part.encode() for part in parts), hashlib.sha1).hexdigest()


def users_of(registrations: list[bytes]) -> list[User]:
    """The accounts that these answers to registrations (or log-ins) speak of."""
    answers = [orjson.loads(body) for body in registrations]
    return [User(a["user_id"][1:].partition(":")[0], a["user_id"], a["access_token"]) for a in answers]


def room_ids_of(creations: list[bytes]) -> list[str]:
    return [str(orjson.loads(body)["room_id"]) for body in creations]


def event_ids_of(sends: list[bytes]) -> list[str]:
    return [str(orjson.loads(body)["event_id"]) for body in sends]


async def room_messages(line: Connection, token: str, room_id: str) -> list[tuple[str, str]]:
    """Id and text of every message of a room, newest first, paged until nothing older is left."""
    found: list[tuple[str, str]] = []
    start: str | None = None
    for _page in range(1_000):
        answer = await line.expect(requests.messages(token, room_id, limit=100, start=start))
        page = orjson.loads(answer.body)
        found += [
            (e["event_id"], e["content"]["body"]) for e in page["chunk"] if e["type"] == "m.room.message"
        ]
        start = page.get("end")
        if start is None:
            return found
    raise RuntimeError(f"/messages of {room_id} never comes to an end")
