"""Which rooms two users share."""

from tests.server import Server

from ranvier.client_api import mutual_rooms

PATH = "/_matrix/client/v1/mutual_rooms"


async def test_rooms_that_both_are_in_are_told_page_by_page(server: Server, monkeypatch):
    monkeypatch.setattr(mutual_rooms, "MAX_ROOMS", 2)
    alice, bob = await server.register("alice"), await server.register("bob")
    rooms = [await alice.create_room(preset="public_chat") for _ in range(4)]
    for room_id in rooms[:3]:
        await bob.join(room_id)
    await alice.invite(rooms[3], bob.user_id)
    query = {"user_id": bob.user_id}
    first = (await alice.get(PATH, query=query)).ok()
    second = (await alice.get(PATH, query={**query, "from": first["next_batch"]})).ok()
    assert first["joined"] + second["joined"] == sorted(rooms[:3])
    assert first["count"] == 3
    assert "next_batch" not in second
    await bob.leave(rooms[0])
    assert (await alice.get(PATH, query=query)).ok()["count"] == 2
    assert (await alice.get(PATH, query={"user_id": "@nobody:elsewhere.example"})).ok()["joined"] == []
    for bad in ({"user_id": alice.user_id}, {"user_id": "nonsense"}, {}, {**query, "from": "x"}):
        assert (await alice.get(PATH, query=bad, valid=False)).status == 400
