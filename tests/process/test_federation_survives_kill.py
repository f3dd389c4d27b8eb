"""What servers answered each other and their clients survives kill -9 of either."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from bench.federation.authority import Authority
from bench.federation.played import PlayedServer
from bench.servers import Secure
from tests.http_client import path_of
from tests.server import ServerProcess, UserClient, free_port, register

ROOMS = "_matrix/client/v3/rooms"
PER_TRANSACTION = 10


class PeerProcess(ServerProcess):
    """A server in a process of its own that others reach over TLS."""

    def __init__(self, folder: Path, secure: Secure) -> None:
        self.server_name = secure.server_name
        plain = {
            "port": free_port(),
            "bind_addresses": ["127.0.0.1"],
            "type": "http",
            "resources": [{"names": ["client"]}],
        }
        soon = {
            "destination_min_retry_interval": "1s",
            "destination_max_retry_interval": "2s",
            "max_short_retries": 1,
        }
        super().__init__(
            folder, **{**secure.settings(), "listeners": [plain, secure.listener()], "federation": soon}
        )
        self.port = int(str(plain["port"]))

    async def user(self, localpart: str) -> UserClient:
        """A new account, and a client that is logged in with it."""
        async with self.client() as nobody:
            return UserClient(self.base_url, await register(nobody, localpart))


@pytest.fixture
def secured(tmp_path: Path) -> Authority:
    """What all servers of a test trust."""
    return Authority(tmp_path)


@pytest.fixture
async def alpha(tmp_path: Path, secured: Authority) -> AsyncIterator[PeerProcess]:
    """A running process."""
    made = PeerProcess(tmp_path / "alpha", secured.secure())
    await made.start()
    yield made
    await made.kill()


@pytest.fixture
async def beta(tmp_path: Path, secured: Authority) -> AsyncIterator[PeerProcess]:
    """Another one."""
    made = PeerProcess(tmp_path / "beta", secured.secure())
    await made.start()
    yield made
    await made.kill()


async def _join(user: UserClient, room_id: str, via: str) -> None:
    (await user.post(path_of("_matrix/client/v3/join", room_id), json={}, query={"via": via})).ok()


async def _messages(user: UserClient, room_id: str) -> list[str]:
    """The ids of all messages of a room, oldest first."""
    found: list[str] = []
    query = {"dir": "b", "limit": "100"}
    while True:
        page = (await user.get(path_of(ROOMS, room_id, "messages"), query=query)).ok()
        found += [event["event_id"] for event in page["chunk"] if event["type"] == "m.room.message"]
        # Where the rest of the past can't be had there is an end, though nothing comes.
        if "end" not in page or not page["chunk"]:
            return found[::-1]
        query["from"] = page["end"]


async def _until_there(user: UserClient, room_id: str, sent: list[str], seconds: float = 60) -> None:
    """Wait until these are the room's messages, each once and in this order."""
    found: list[str] = []
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while found != sent:
                await asyncio.sleep(0.2)
                found = await _messages(user, room_id)
    lacking = [event_id for event_id in sent if event_id not in found]
    assert found == sent, f"{len(lacking)} of {len(sent)} are missing, {len(found)} are there"


async def test_every_event_of_an_answered_transaction_is_taken_in_after_a_kill(
    secured: Authority, alpha: PeerProcess
) -> None:
    """The peer is asked for nothing that is missing: it would not give it."""
    played = PlayedServer(secured)
    await played.start()
    async with await alpha.user("alice") as alice:
        room = played.room("tea", "11")
        await _join(alice, room.room_id, played.server_name)
        events, sent = [], []
        enough = asyncio.Event()

        async def send_for_ever() -> None:
            for number in range(10_000):
                said = [room.say(f"{number}.{place}") for place in range(PER_TRANSACTION)]
                events.append((f"t{number}", said))
                await played.send(alpha.server_name, f"t{number}", [event.pdu for event in said])
                sent.extend(event.event_id for event in said)
                if len(sent) >= 12 * PER_TRANSACTION:
                    enough.set()

        sending = asyncio.create_task(send_for_ever())
        async with asyncio.timeout(60):
            await enough.wait()
        await alpha.kill()
        with pytest.raises(aiohttp.ClientError):
            await sending
        await alpha.start()
        # What was not answered is sent again, as it was.
        txn_id, said = events[-1]
        if said[0].event_id not in sent:
            await played.send(alpha.server_name, txn_id, [event.pdu for event in said])
            sent.extend(event.event_id for event in said)
        await _until_there(alice, room.room_id, sent)
    await played.stop()


class Speaker:
    """Speaks without a pause until the connection breaks, or for a number of messages; `sent` are those answered."""

    def __init__(self, user: UserClient, room_id: str) -> None:
        self.sent: list[str] = []
        self._user = user
        self._room_id = room_id

    async def say(self, messages: int) -> None:
        """Say something so many times."""
        async with asyncio.timeout(120):
            for _ in range(messages):
                self.sent.append(await self._user.send(self._room_id, f"{len(self.sent)}"))


@pytest.mark.parametrize("killed", ["sender", "receiver"])
async def test_what_a_client_was_answered_for_reaches_the_other_server_once_and_in_order(
    alpha: PeerProcess, beta: PeerProcess, killed: str
) -> None:
    async with await alpha.user("alice") as alice, await beta.user("bob") as bob:
        room_id = await alice.create_room(preset="public_chat")
        await _join(bob, room_id, alpha.server_name)
        speaker = Speaker(alice, room_id)
        await speaker.say(60)
        if killed == "sender":
            # While it speaks: the last thing said may count or not.
            saying = asyncio.create_task(speaker.say(10_000))
            await asyncio.sleep(0.3)
            await alpha.kill()
            with pytest.raises(aiohttp.ClientError):
                await saying
            await alpha.start()
        else:
            await beta.kill()
            await speaker.say(60)
            await beta.start()
        answered = list(speaker.sent)
        last = await alice.send(room_id, "the last one")
        at_home = await _messages(alice, room_id)
        assert [event_id for event_id in at_home if event_id in {*answered, last}] == [*answered, last]
        await _until_there(bob, room_id, at_home)
