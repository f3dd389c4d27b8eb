"""Events that are sent later, once, whatever happens in between (MSC4140)."""

import asyncio
from typing import Any

import pytest
from tests.http_client import Client, path_of
from tests.server import Server, ServerProcess, UserClient, start_server
from tests.server import login as log_in

DELAYED = "/_matrix/client/unstable/org.matrix.msc4140/delayed_events"
KIND = "org.example.kind"


def _send_path(room: str, txn_id: str) -> str:
    return path_of("_matrix/client/v3/rooms", room, "send", "m.room.message", txn_id)


async def _later(user: UserClient, room: str, delay: object, body: str = "later", txn_id: str = "d1") -> Any:
    query = {"org.matrix.msc4140.delay": str(delay)}
    return await user.put(
        _send_path(room, txn_id), json={"msgtype": "m.text", "body": body}, query=query, valid=False
    )


async def _state_later(user: UserClient, room: str, delay: int, content: Any) -> str:
    answer = await user.put(
        path_of("_matrix/client/v3/rooms", room, "state", KIND, ""),
        json=content,
        query={"org.matrix.msc4140.delay": str(delay)},
        valid=False,
    )
    delay_id: str = answer.ok()["delay_id"]
    return delay_id


async def _act(client: Client, delay_id: str, action: str) -> Any:
    return await client.post(f"{DELAYED}/{delay_id}/{action}", json={})


async def _waiting(user: UserClient, **query: str) -> list[Any]:
    return (await user.get(DELAYED, query=query)).ok()["delayed_events"]


async def _bodies(user: UserClient, room: str) -> list[Any]:
    path = path_of("_matrix/client/v3/rooms", room, "messages")
    chunk = (await user.get(path, query={"dir": "f", "limit": "100"})).ok()["chunk"]
    return [event["content"]["body"] for event in chunk if event["type"] == "m.room.message"]


async def _until_none_waits(user: UserClient) -> None:
    for _ in range(200):
        if not await _waiting(user):
            return
        await asyncio.sleep(0.05)
    raise TimeoutError("an event still waits")


async def test_a_message_is_sent_when_its_time_has_come_and_shows_its_sender_that_it_waited(server: Server):
    alice, bob = await server.register("alice"), await server.register("bob")
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    delay_id = (await _later(alice, room, 400)).ok()["delay_id"]
    assert (await _later(alice, room, 400)).ok()["delay_id"] == delay_id
    [waiting] = await _waiting(alice)
    assert (waiting["delay_id"], waiting["delay"], waiting["content"]["body"]) == (delay_id, 400, "later")
    assert await _waiting(bob) == await _waiting(alice, room_id="!other:x") == []
    assert (await bob.get(f"{DELAYED}/{delay_id}")).status == 404
    assert await _bodies(alice, room) == []
    await _until_none_waits(alice)
    assert await _bodies(bob, room) == ["later"]
    [sent] = await _waiting(alice, status="finalised")
    for user, expected in ((alice, delay_id), (bob, None)):
        event = (await user.get(path_of("_matrix/client/v3/rooms", room, "event", sent["event_id"]))).ok()
        assert event["unsigned"].get("org.matrix.msc4140.delay_id") == expected
        timeline = (await user.sync())["rooms"]["join"][room]["timeline"]["events"]
        assert timeline[-1]["unsigned"].get("org.matrix.msc4140.delay_id") == expected
    assert (await _act(server.client, delay_id, "send")).status == 200
    assert (await _act(server.client, delay_id, "cancel")).status == 409
    assert await _bodies(bob, room) == ["later"]


async def test_whoever_knows_its_id_cancels_restarts_or_sends_an_event(server: Server):
    alice = await server.register("alice")
    room = await alice.create_room()
    cancelled = await _state_later(alice, room, 300, {"is": "never"})
    assert (await _act(server.client, cancelled, "cancel")).status == 200
    assert (await _act(server.client, cancelled, "cancel")).status == 200
    assert (await _act(server.client, cancelled, "restart")).status == 409
    sent = await _state_later(alice, room, 1_000_000, {"is": "now"})
    older = await server.client.post(f"{DELAYED}/{sent}", json={"action": "restart"})
    assert older.status == 200
    assert (await _act(server.client, sent, "send")).status == 200
    path = path_of("_matrix/client/v3/rooms", room, "state", KIND, "")
    assert (await alice.get(path)).ok() == {"is": "now"}
    await asyncio.sleep(0.4)
    assert (await alice.get(path)).ok() == {"is": "now"}
    for action in ("send", "cancel", "restart"):
        assert (await _act(server.client, "nothing", action)).errcode == "M_NOT_FOUND"
    assert (await server.client.post(f"{DELAYED}/{sent}/oops", json={}, valid=False)).status == 404


async def test_an_event_that_may_not_be_sent_when_its_time_has_come_is_dropped_with_the_reason(
    server: Server,
):
    alice, bob = await server.register("alice"), await server.register("bob")
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    delay_id = (await _later(bob, room, 300)).ok()["delay_id"]
    await bob.leave(room)
    assert (await _act(server.client, delay_id, "send")).status == 403
    await _until_none_waits(bob)
    [failed] = await _waiting(bob, status="finalised")
    assert failed["error"]["errcode"] == "M_FORBIDDEN"
    assert await _bodies(alice, room) == []


@pytest.mark.parametrize("delay", ["0", "-1", "soon", str(25 * 3_600_000)])
async def test_a_delay_is_a_number_within_the_server_s_bound(server: Server, delay: str):
    alice = await server.register("alice")
    room = await alice.create_room()
    answer = await _later(alice, room, delay)
    assert answer.status == 400
    assert await _waiting(alice) == []


async def test_nobody_lets_more_than_a_hundred_events_wait(server: Server):
    alice = await server.register("alice")
    room = await alice.create_room()
    answers = [await _later(alice, room, 60_000, txn_id=f"d{number}") for number in range(101)]
    assert [answer.status for answer in answers] == [200] * 100 + [429]
    assert 55_000 < answers[-1].json["retry_after_ms"] <= 60_000


async def test_a_server_may_offer_none(tmp_path):
    server = await start_server(tmp_path, max_event_delay_duration=None)
    alice = await server.register("alice")
    room = await alice.create_room()
    assert (await _later(alice, room, 100)).status == 400
    await server.close()


async def test_what_waits_survives_a_kill_and_is_sent_once(server_process: ServerProcess):
    from tests.server import register

    alice = UserClient(server_process.base_url, await register(server_process.client(), "alice"))
    room = await alice.create_room()
    await _later(alice, room, 300, "due meanwhile", "d1")
    await _later(alice, room, 3_000, "due after", "d2")
    await server_process.kill()
    await asyncio.sleep(0.4)
    await server_process.start()
    again = UserClient(server_process.base_url, await log_in(server_process.client(), "alice"))
    await _until_none_waits(again)
    assert await _bodies(again, room) == ["due meanwhile", "due after"]
    await alice.close()
    await again.close()
