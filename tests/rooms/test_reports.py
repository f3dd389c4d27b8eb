"""Reports of events, rooms and users reach the administrators' list."""

from typing import Any

from tests.http_client import path_of
from tests.server import Server


async def kept(server: Server) -> list[tuple[Any, ...]]:
    rows = await server.composition.ground.database.fetch(
        "SELECT user_id, room_id, event_id, target_user_id, reason, score FROM reports ORDER BY id"
    )
    return [tuple(row) for row in rows]


async def test_what_is_reported_is_kept(server: Server):
    alice, bob = await server.register("alice"), await server.register("bob")
    carol = await server.register("carol")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    event_id = await alice.send(room_id, "rude")
    event = path_of("_matrix/client/v3/rooms", room_id, "report", event_id)
    room = path_of("_matrix/client/v3/rooms", room_id, "report")
    user = path_of("_matrix/client/v3/users", alice.user_id, "report")
    (await bob.post(event, json={"reason": "rude", "score": -200})).ok()
    (await bob.post(event, json={})).ok()
    (await carol.post(room, json={"reason": ""})).ok()
    (await carol.post(user, json={"reason": "unkind"})).ok()
    assert await kept(server) == [
        (bob.user_id, room_id, event_id, None, "rude", -100),
        (bob.user_id, room_id, event_id, None, None, None),
        (carol.user_id, room_id, None, None, "", None),
        (carol.user_id, None, None, alice.user_id, "unkind", None),
    ]
    # Only members report events, and only what there is is reported.
    assert (await carol.post(event, json={"reason": "rude"})).status == 404
    assert (await bob.post(event + "x", json={"reason": "rude"})).status == 404
    nowhere = path_of("_matrix/client/v3/rooms", "!nowhere:ranvier.test", "report")
    assert (await bob.post(nowhere, json={"reason": "x"})).status == 404
    nobody = path_of("_matrix/client/v3/users", "@nobody:ranvier.test", "report")
    assert (await bob.post(nobody, json={"reason": "x"})).status == 404
    assert (await bob.post(user, json={}, valid=False)).status == 400
    assert (await bob.post(user, json={"reason": "x" * 5000})).status == 413
    assert len(await kept(server)) == 4
