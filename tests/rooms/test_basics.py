"""The first things that people do with rooms, through the server."""

from tests.http_client import path_of
from tests.server import Server

ROOMS = "_matrix/client/v3/rooms"


async def test_a_room_is_made_and_answers_with_its_id(server: Server) -> None:
    alice = await server.register("alice")
    room_id = await alice.create_room(name="Tea")
    joined = await alice.get("/_matrix/client/v3/joined_rooms")
    assert joined.ok()["joined_rooms"] == [room_id]


async def test_an_invited_user_joins_and_both_send(server: Server) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await alice.create_room(preset="private_chat")
    refused = await bob.post(path_of(ROOMS, room_id, "join"), json={})
    assert (refused.status, refused.errcode) == (403, "M_FORBIDDEN")
    await alice.invite(room_id, bob.user_id)
    assert await bob.join(room_id) == room_id
    first = await alice.send(room_id, {"msgtype": "m.text", "body": "hello"})
    second = await bob.send(room_id, {"msgtype": "m.text", "body": "hello yourself"})
    assert first != second


async def test_a_retry_of_a_transaction_is_answered_with_the_first_event(server: Server) -> None:
    alice = await server.register("alice")
    room_id = await alice.create_room()
    path = path_of(ROOMS, room_id, "send", "m.room.message", "a transaction/of 1")
    content = {"msgtype": "m.text", "body": "once"}
    first = (await alice.put(path, json=content)).ok()["event_id"]
    assert (await alice.put(path, json=content)).ok()["event_id"] == first
    other = await server.login("alice")
    assert (await other.put(path, json=content)).ok()["event_id"] != first
