"""What senders can rely on whose events are committed together with those of others."""

import asyncio

import pytest
from tests.http_client import path_of
from tests.server import Server

from ranvier.protocol.refusal import Refusal
from ranvier.rooms.appending import Appending, Draft, Proposal
from ranvier.rooms.creation import Creation, RoomRequest
from ranvier.rooms.events import Events
from ranvier.rooms.heads import Heads
from ranvier.rooms.sending import Sending
from ranvier.store.rooms import TransactionKey


async def test_a_retry_among_many_sends_is_answered_and_fails_nobody(server: Server) -> None:
    sending = server.composition.parts.get(Sending)
    alice = await server.register("alice")
    rooms = [await alice.create_room() for _ in range(12)]

    def send(place: int, text: str, txn_id: str) -> asyncio.Task[str]:
        key = TransactionKey(alice.user_id, alice.device_id, f"send {rooms[place]}", txn_id)
        return asyncio.create_task(
            sending.send(alice.user_id, rooms[place], "m.room.message", {"body": text}, transaction=key)
        )

    first = await send(0, "once", "again")
    for turn in range(5):
        others = [send(place, f"{turn}", f"t{turn}") for place in range(1, len(rooms))]
        answers = await asyncio.gather(send(0, "once", "again"), *others)
        assert answers[0] == first
        assert len(set(answers)) == len(rooms)


async def test_who_is_refused_beside_others_undoes_nothing_of_theirs(server: Server) -> None:
    parts = server.composition.parts
    sending, creation = parts.get(Sending), parts.get(Creation)
    alice = await server.register("alice")
    room_id = await alice.create_room(room_alias_name="taken")
    requests = [RoomRequest(alice.user_id, alias_localpart="taken") for _ in range(3)]
    sent = []
    for turn in range(5):
        made = [creation.create(request) for request in requests]
        texts = [
            sending.send(alice.user_id, room_id, "m.room.message", {"body": f"{turn} {n}"}) for n in range(10)
        ]
        outcomes = await asyncio.gather(*made, *texts, return_exceptions=True)
        assert all(isinstance(o, Refusal) and o.errcode == "M_ROOM_IN_USE" for o in outcomes[:3])
        sent += outcomes[3:]
    section = (await alice.sync(filter='{"room":{"timeline":{"limit":60,"types":["m.room.message"]}}}'))[
        "rooms"
    ]["join"][room_id]
    assert {event["event_id"] for event in section["timeline"]["events"]} == set(sent)


@pytest.mark.parametrize("version", ["11", "12"])
async def test_rooms_made_in_the_same_moment_are_different_rooms(server: Server, version: str) -> None:
    alice = await server.register("alice")
    creation = server.composition.parts.get(Creation)
    rooms = await asyncio.gather(
        *(creation.create(RoomRequest(alice.user_id, version=version)) for _ in range(20))
    )
    assert len({room.room_id for room in rooms}) == 20


async def test_state_that_differs_only_in_its_types_is_a_change(server: Server) -> None:
    alice = await server.register("alice")
    room_id = await alice.create_room()
    await alice.send_state(room_id, "org.example.switch", {"on": 1})
    await alice.send_state(room_id, "org.example.switch", {"on": True})
    path = path_of("_matrix/client/v3/rooms", room_id, "state", "org.example.switch", "")
    assert (await alice.get(path)).ok()["on"] is True


async def test_state_that_stands_already_is_answered_with_an_event_that_will_stay(server: Server) -> None:
    parts = server.composition.parts
    sending, creation, events = parts.get(Sending), parts.get(Creation), parts.get(Events)
    alice = await server.register("alice")
    room_id = await alice.create_room(room_alias_name="taken")
    for turn in range(5):
        topic = {"topic": f"{turn}"}
        outcomes = await asyncio.gather(
            # Undoes the batch, so that all are tried again.
            creation.create(RoomRequest(alice.user_id, alias_localpart="taken")),
            *(sending.set_state(alice.user_id, room_id, "m.room.topic", "", topic) for _ in range(4)),
            return_exceptions=True,
        )
        assert len(set(outcomes[1:])) == 1
        assert await events.by_id(str(outcomes[1])) is not None


async def test_what_is_refused_as_a_whole_counts_nowhere(server: Server) -> None:
    parts = server.composition.parts
    heads, appending = parts.get(Heads), parts.get(Appending)
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await alice.create_room(invite=[bob.user_id])
    await bob.join(room_id)
    room = await heads.get(room_id)
    assert room is not None
    since = (await alice.sync())["next_batch"]
    message = Draft(bob.user_id, "m.room.message", {"body": "hello", "msgtype": "m.text"})
    forbidden = Draft(bob.user_id, "m.room.name", {"name": "mine"}, "")
    both = Proposal(room, [message, forbidden])
    outcomes = await asyncio.gather(
        appending.append(both), appending.append(Proposal(room, [message])), return_exceptions=True
    )
    assert isinstance(outcomes[0], Refusal)
    section = (await alice.sync(since))["rooms"]["join"][room_id]
    assert section["unread_notifications"]["notification_count"] == 1


async def test_a_room_with_long_messages_weighs_more(server: Server) -> None:
    heads = server.composition.parts.get(Heads)
    alice = await server.register("alice")
    room_id = await alice.create_room()
    room = await heads.get(room_id)
    assert room is not None
    await heads.recent(room)
    before = room.cost()
    for _ in range(30):
        await alice.send(room_id, "x" * 30_000)
    # 24 of them are kept at hand.
    assert 24 * 30_000 < room.cost() - before < 24 * 100_000
    for _ in range(30):
        await alice.send(room_id, "x")
    assert abs(room.cost() - before) < 100_000
