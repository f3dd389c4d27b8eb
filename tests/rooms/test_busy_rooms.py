"""Rooms into which many send at once, by a server that has just been started."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.server import Server, UserClient, start_server

from ranvier.rooms.appending import Appending, Draft, Proposal
from ranvier.rooms.heads import Heads

SENDERS = 12


@pytest.fixture
async def restarted(
    database_settings: dict[str, Any], tmp_path: Path
) -> AsyncIterator[tuple[Server, list[UserClient], str]]:
    """A server that was started again after a dozen users met in a room and each sent ten messages, t1 to t10."""
    server = await start_server(tmp_path, database=database_settings)
    users = [await server.register(f"user{n}") for n in range(SENDERS)]
    room_id = await users[0].create_room(preset="public_chat")
    for user in users[1:]:
        await user.join(room_id)
    for _ in range(10):
        await asyncio.gather(*(user.send(room_id, "before") for user in users))
    await server.close()
    server = await start_server(tmp_path, database=database_settings)
    logins = [{"access_token": u.token, "user_id": u.user_id, "device_id": u.device_id} for u in users]
    again = [UserClient(server.base_url, login) for login in logins]
    yield server, again, room_id
    for client in again:
        await client.close()
    await server.close()


async def test_all_who_repeat_their_last_requests_at_once_get_the_first_answers(restarted):
    _, users, room_id = restarted
    first = await asyncio.gather(
        *(user.send(room_id, "again", txn_id=f"t{n}") for user in users for n in range(1, 11))
    )
    second = await asyncio.gather(
        *(user.send(room_id, "again", txn_id=f"t{n}") for user in users for n in range(1, 11))
    )
    assert first == second
    assert len(set(first)) == SENDERS * 10
    shown = await users[0].get(
        f"/_matrix/client/v3/rooms/{room_id}/messages", query={"dir": "b", "limit": 500}
    )
    assert [e for e in shown.ok()["chunk"] if e["content"].get("body") == "again"] == []


async def test_members_who_have_not_spoken_yet_get_a_word_in(restarted):
    _, users, room_id = restarted
    loud, quiet = users[: SENDERS // 2], users[SENDERS // 2 :]
    talking = True

    async def talk(user: UserClient, lane: int) -> None:
        number = 0
        while talking:
            number += 1
            await user.send(room_id, "loud", txn_id=f"{lane}.{number}")

    talks = [asyncio.create_task(talk(user, lane)) for user in loud for lane in range(4)]
    await asyncio.sleep(0.2)
    for user in quiet:
        await user.send(room_id, "quiet", txn_id="once")
    talking = False
    await asyncio.gather(*talks)


@pytest.fixture
async def forgetful(database_settings: dict[str, Any], tmp_path: Path) -> AsyncIterator[Server]:
    """A server whose memory holds hardly a room."""
    made = await start_server(tmp_path, database=database_settings, caches={"global_factor": 0.0001})
    yield made
    await made.close()


async def test_what_was_set_is_read_at_once_where_memory_holds_hardly_a_room(forgetful: Server):
    alice = await forgetful.register("alice")
    rooms = [await alice.create_room() for _ in range(10)]

    async def set_and_read(room_id: str) -> None:
        for number in range(20):
            await alice.send_state(room_id, "m.room.topic", {"topic": f"{number}"})
            path = f"/_matrix/client/v3/rooms/{room_id}/state/m.room.topic"
            assert (await alice.get(path)).ok() == {"topic": f"{number}"}

    async def push_out() -> None:
        for _ in range(140):
            await alice.create_room()

    await asyncio.gather(push_out(), *(set_and_read(room_id) for room_id in rooms))


async def test_a_room_that_was_pushed_out_of_memory_is_read_anew_when_an_old_request_appends_to_it(
    forgetful: Server,
):
    parts = forgetful.composition.parts
    heads, appending = parts.get(Heads), parts.get(Appending)
    alice = await forgetful.register("alice")
    room_id = await alice.create_room()
    held = await heads.get(room_id)
    for _ in range(150):
        await alice.create_room()
    assert heads.at_hand(room_id) is None
    await alice.get(f"/_matrix/client/v3/rooms/{room_id}/state/m.room.topic")
    assert held is not None and heads.at_hand(room_id) not in (None, held)
    await appending.append(Proposal(held, [Draft(alice.user_id, "m.room.topic", {"topic": "new"}, "")]))
    shown = await alice.get(f"/_matrix/client/v3/rooms/{room_id}/state/m.room.topic")
    assert shown.ok() == {"topic": "new"}
