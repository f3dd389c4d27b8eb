"""What guests may do in rooms."""

from tests.rooms.reading import room_path, state_content
from tests.server import Server, UserClient

from ranvier.store.database import Transaction


async def guest_of(server: Server) -> UserClient:
    """An account that the store says is a guest's, logged in since."""
    user_id = (await server.register("visitor")).user_id

    async def write(transaction: Transaction) -> None:
        await transaction.execute("UPDATE users SET guest = $2 WHERE user_id = $1", user_id, True)

    await server.composition.ground.database.commit(write)
    return await server.login("visitor")


async def test_guests_join_where_they_are_welcome_and_leave_when_they_are_not(server: Server) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    guest = await guest_of(server)
    open_rules = [{"type": "m.room.guest_access", "state_key": "", "content": {"guest_access": "can_join"}}]
    room_id = await alice.create_room(preset="public_chat", initial_state=open_rules)
    closed = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    refused = await guest.post(room_path(closed, "join"), json={})
    assert (refused.status, refused.errcode) == (403, "M_GUEST_ACCESS_FORBIDDEN")
    await guest.join(room_id)
    assert (await state_content(alice, room_id, "m.room.member", guest.user_id))["kind"] == "guest"
    await guest.send(room_id, "hello")
    made = await guest.post("/_matrix/client/v3/createRoom", json={})
    assert made.errcode == "M_GUEST_ACCESS_FORBIDDEN"
    invited = await guest.post(room_path(room_id, "invite"), json={"user_id": bob.user_id})
    assert invited.errcode == "M_GUEST_ACCESS_FORBIDDEN"
    await alice.send_state(room_id, "m.room.guest_access", {"guest_access": "forbidden"})
    left = await state_content(alice, room_id, "m.room.member", guest.user_id)
    assert left["membership"] == "leave"
    stayed = await state_content(alice, room_id, "m.room.member", bob.user_id)
    assert stayed["membership"] == "join"
