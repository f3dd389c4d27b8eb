"""The list of what a user was notified of."""

from tests.http_client import path_of
from tests.server import Server

PATH = "/_matrix/client/v3/notifications"


async def test_what_notified_is_listed_newest_first_and_told_to_be_read(server: Server):
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await alice.create_room(preset="public_chat")
    muted = await alice.create_room(preset="public_chat")
    for room in (room_id, muted):
        await bob.join(room)
    rule = path_of("_matrix/client/v3/pushrules/global/override", muted)
    conditions = [{"kind": "event_match", "key": "room_id", "pattern": muted}]
    (await bob.put(rule, json={"actions": [], "conditions": conditions})).ok()
    sent = [await alice.send(room_id, f"{n}") for n in range(3)]
    await bob.send(room_id, "own")
    await alice.send(muted, "unheard")
    mention = {"msgtype": "m.text", "body": "Bob!", "m.mentions": {"user_ids": [bob.user_id]}}
    highlight = await alice.send(room_id, mention)
    first = (await bob.get(PATH, query={"limit": 2})).ok()
    rest = (await bob.get(PATH, query={"limit": 10, "from": first["next_token"]})).ok()
    listed = first["notifications"] + rest["notifications"]
    assert [one["event"]["event_id"] for one in listed] == [highlight, *reversed(sent)]
    assert "next_token" not in rest
    assert {one["room_id"] for one in listed} == {room_id}
    # Whoever sends has read what came before.
    assert [one["read"] for one in listed] == [False, True, True, True]
    only = (await bob.get(PATH, query={"only": "highlight"})).ok()["notifications"]
    assert [one["event"]["event_id"] for one in only] == [highlight]
    assert {"set_tweak": "highlight"} in only[0]["actions"]
    (
        await bob.post(path_of("_matrix/client/v3/rooms", room_id, "receipt", "m.read", highlight), json={})
    ).ok()
    assert (await bob.get(PATH, query={"limit": 1})).ok()["notifications"][0]["read"] is True
    await bob.leave(room_id)
    assert (await bob.get(PATH)).ok() == {"notifications": []}
    assert (await bob.get(PATH, query={"from": "nonsense"})).status == 400
