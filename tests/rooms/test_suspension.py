"""What suspended users may still do in rooms."""

from tests.rooms.reading import room_path
from tests.server import Server

from ranvier.store.database import Transaction


async def test_the_suspended_read_leave_and_take_back_but_say_nothing(server: Server) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await alice.create_room(preset="public_chat", room_version="11")
    await alice.send_state(room_id, "m.room.power_levels", {"users": {alice.user_id: 100, bob.user_id: 50}})
    await bob.join(room_id)
    own, other = await bob.send(room_id, "mine"), await alice.send(room_id, "yours")

    async def write(transaction: Transaction) -> None:
        await transaction.execute("UPDATE users SET suspended = $2 WHERE user_id = $1", bob.user_id, True)

    await server.composition.ground.database.commit(write)
    bob = await server.login("bob")
    refused = [
        await bob.put(room_path(room_id, "send", "m.room.message", "1"), json={"body": "x"}),
        await bob.put(room_path(room_id, "state", "m.room.topic", ""), json={"topic": "x"}),
        await bob.put(room_path(room_id, "redact", other, "2"), json={}),
        await bob.put(room_path(room_id, "send", "m.room.redaction", "3"), json={"redacts": other}),
        await bob.post(room_path(room_id, "invite"), json={"user_id": "@carol:ranvier.test"}),
        await bob.post(room_path(room_id, "ban"), json={"user_id": "@carol:ranvier.test"}),
        await bob.post("/_matrix/client/v3/createRoom", json={}),
        await bob.post(room_path(room_id, "join"), json={}),
    ]
    assert [(answer.status, answer.errcode) for answer in refused] == [(403, "M_USER_SUSPENDED")] * 8
    (await bob.put(room_path(room_id, "redact", own, "4"), json={})).ok()
    assert (await bob.get(room_path(room_id, "messages"), query={"dir": "b"})).status == 200
    await bob.leave(room_id)
