"""What counts as unread, for whom."""

import asyncio
from typing import Any

import pytest
from tests.http_client import path_of
from tests.server import Server, UserClient

from ranvier.rooms.sending import Sending


async def counts(client: UserClient, room_id: str) -> tuple[int, int]:
    section = (await client.sync())["rooms"]["join"][room_id]["unread_notifications"]
    return section["notification_count"], section["highlight_count"]


async def put_rule(client: UserClient, kind: str, name: str, **rule: Any) -> None:
    path = path_of("_matrix/client/v3/pushrules/global", kind, name)
    (await client.put(path, json=rule)).ok()


async def receipt(client: UserClient, room_id: str, event_id: str, thread: str | None = None) -> Any:
    body = {"thread_id": thread} if thread is not None else {}
    path = path_of("_matrix/client/v3/rooms", room_id, "receipt", "m.read", event_id)
    return await client.post(path, json=body)


@pytest.fixture
async def pair(server: Server) -> tuple[UserClient, UserClient, str]:
    """Alice and Bob in a room that Alice made."""
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await alice.create_room(preset="private_chat", invite=[bob.user_id])
    await bob.join(room_id)
    return alice, bob, room_id


async def test_a_muted_room_counts_nothing_and_only_for_whom_it_is_muted(pair, server: Server) -> None:
    alice, bob, room_id = pair
    carol = await server.register("carol")
    await alice.invite(room_id, carol.user_id)
    await carol.join(room_id)
    await alice.send(room_id, "one")
    await put_rule(bob, "room", room_id, actions=[])
    await alice.send(room_id, "two")
    assert await counts(bob, room_id) == (1, 0)
    assert await counts(carol, room_id) == (2, 0)
    event_id = await alice.send(room_id, "three")
    (await receipt(bob, room_id, event_id)).ok()
    await alice.send(room_id, "four")
    assert await counts(bob, room_id) == (0, 0)
    (await bob.delete(path_of("_matrix/client/v3/pushrules/global/room", room_id))).ok()
    await alice.send(room_id, "five")
    assert await counts(bob, room_id) == (1, 0)


async def test_who_has_wishes_is_heeded_in_the_room_that_they_join(pair, server: Server) -> None:
    alice, _, room_id = pair
    carol = await server.register("carol")
    await put_rule(
        carol, "content", "keyword", pattern="lighthouse", actions=["notify", {"set_tweak": "highlight"}]
    )
    await alice.send(room_id, "before")
    await alice.invite(room_id, carol.user_id)
    await carol.join(room_id)
    await alice.send(room_id, "to the lighthouse")
    assert await counts(carol, room_id) == (1, 1)
    await carol.leave(room_id)
    await alice.invite(room_id, carol.user_id)
    await carol.join(room_id)
    await alice.send(room_id, "another lighthouse")
    assert await counts(carol, room_id) == (1, 1)


async def test_wishes_hold_while_others_come_and_go(pair, server: Server) -> None:
    alice, bob, _ = pair
    sending = server.composition.parts.get(Sending)
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    await put_rule(bob, "room", room_id, actions=[])
    others = [await server.register(f"user{number}") for number in range(6)]

    async def talk() -> None:
        for number in range(30):
            await sending.send(
                alice.user_id, room_id, "m.room.message", {"body": f"{number}", "msgtype": "m.text"}
            )

    await asyncio.gather(talk(), talk(), *(other.join(room_id) for other in others))
    assert await counts(bob, room_id) == (0, 0)


async def test_a_threaded_receipt_names_the_thread_of_its_event(pair) -> None:
    alice, bob, room_id = pair
    root = await alice.send(room_id, "root")
    other = await alice.send(room_id, "other")
    relation = {"rel_type": "m.thread", "event_id": root}
    child = await alice.send(room_id, {"msgtype": "m.text", "body": "child", "m.relates_to": relation})
    for event_id, thread in (
        (child, "main"),
        (child, other),
        (other, root),
        (other, "$nowhere"),
        (other, "x"),
    ):
        answer = await receipt(bob, room_id, event_id, thread)
        assert (answer.status, answer.json["errcode"]) == (400, "M_INVALID_PARAM")
    for event_id, thread in ((child, root), (root, "main"), (root, root), (other, "main")):
        (await receipt(bob, room_id, event_id, thread)).ok()
    (await alice.put(path_of("_matrix/client/v3/rooms", room_id, "redact", child, "r"), json={})).ok()
    (await receipt(bob, room_id, child, root)).ok()
