"""Spaces: the rooms below one, as somebody sees them who may not see all."""

from typing import Any

from tests.http_client import path_of
from tests.server import Server, UserClient


async def space(client: UserClient, name: str, **body: Any) -> str:
    return await client.create_room(
        name=name, creation_content={"type": "m.space"}, **{"preset": "public_chat", **body}
    )


async def put_in(client: UserClient, parent: str, child: str, **content: Any) -> None:
    await client.send_state(parent, "m.space.child", {"via": ["ranvier.test"], **content}, child)


async def hierarchy(client: UserClient, room_id: str, **query: Any) -> Any:
    return await client.get(path_of("_matrix/client/v1/rooms", room_id, "hierarchy"), query=query)


async def summary(client: Any, room: str, **options: Any) -> Any:
    return await client.get(path_of("_matrix/client/v1/room_summary", room), **options)


def restricted(room_id: str) -> list[dict[str, Any]]:
    allow = [{"type": "m.room_membership", "room_id": room_id}]
    content = {"join_rule": "restricted", "allow": allow}
    return [{"type": "m.room.join_rules", "state_key": "", "content": content}]


async def test_a_space_is_walked_depth_first_and_shows_what_is_for_the_reader(server: Server):
    alice, bob = await server.register("alice"), await server.register("bob")
    root = await space(alice, "Root")
    sub = await space(alice, "Sub")
    leaf = await alice.create_room(name="Leaf", preset="public_chat")
    secret = await alice.create_room(name="Secret", preset="private_chat")
    members = await alice.create_room(name="Members", initial_state=restricted(root))
    await put_in(alice, root, leaf, order="b", suggested=True)
    await put_in(alice, root, sub, order="a")
    await put_in(alice, root, secret)
    await put_in(alice, root, members)
    await put_in(alice, root, "!nowhere:ranvier.test")
    await put_in(alice, sub, leaf)
    # A loop ends.
    await put_in(alice, sub, root)
    await alice.send_state(root, "m.space.child", {}, "!removed:ranvier.test")

    rooms = (await hierarchy(bob, root)).ok()["rooms"]
    assert [room["room_id"] for room in rooms] == [root, sub, leaf]
    first = rooms[0]
    assert first["name"] == "Root"
    assert first["room_type"] == "m.space"
    assert first["num_joined_members"] == 1
    assert [child["state_key"] for child in first["children_state"]][:2] == [sub, leaf]
    assert len(first["children_state"]) == 5
    assert rooms[2]["children_state"] == []
    # A member of the space may join, and so see, what the space's members may join.
    await bob.join(root)
    rooms = (await hierarchy(bob, root)).ok()["rooms"]
    assert [room["room_id"] for room in rooms] == [root, sub, leaf, members]
    assert rooms[3]["allowed_room_ids"] == [root]
    rooms = (await hierarchy(alice, root)).ok()["rooms"]
    assert {room["room_id"] for room in rooms} == {root, sub, leaf, members, secret}

    rooms = (await hierarchy(bob, root, suggested_only="true")).ok()["rooms"]
    assert [room["room_id"] for room in rooms] == [root, leaf]
    rooms = (await hierarchy(bob, root, max_depth=0)).ok()["rooms"]
    assert [room["room_id"] for room in rooms] == [root]
    assert (await hierarchy(bob, secret)).status == 403
    assert (await hierarchy(bob, "!nowhere:ranvier.test")).status == 403


async def test_pages_follow_each_other_and_can_be_asked_for_again(server: Server):
    alice = await server.register("alice")
    bob = await server.register("bob")
    root = await space(alice, "Root")
    children = [await alice.create_room(name=f"{n}", preset="public_chat") for n in range(5)]
    for number, child in enumerate(children):
        await put_in(alice, root, child, order=f"{number}")
    first = (await hierarchy(bob, root, limit=2)).ok()
    second = (await hierarchy(bob, root, limit=2, **{"from": first["next_batch"]})).ok()
    again = (await hierarchy(bob, root, limit=2, **{"from": first["next_batch"]})).ok()
    assert second["rooms"] == again["rooms"]
    third = (await hierarchy(bob, root, limit=2, **{"from": second["next_batch"]})).ok()
    assert "next_batch" not in third
    found = [room["room_id"] for page in (first, second, third) for room in page["rooms"]]
    assert found == [root, *children]
    token = {"from": first["next_batch"]}
    assert (await hierarchy(bob, root, suggested_only="true", **token)).status == 400
    assert (await hierarchy(bob, root, max_depth=1, **token)).status == 400
    assert (await hierarchy(alice, root, **token)).status == 400
    assert (await hierarchy(bob, root, **{"from": "nonsense"})).status == 400
    assert (await hierarchy(bob, root, limit=0)).status == 400


async def test_a_summary_is_for_those_who_may_come_in(server: Server):
    alice, bob = await server.register("alice"), await server.register("bob")
    name = "garden"
    open_room = await alice.create_room(name="Garden", preset="public_chat", room_alias_name=name)
    closed = await alice.create_room(name="Cellar", preset="private_chat")
    told = (await summary(bob, f"#{name}:{server.server_name}")).ok()
    assert (told["room_id"], told["name"], told["join_rule"]) == (open_room, "Garden", "public")
    assert "membership" not in told
    assert (await summary(alice, open_room)).ok()["membership"] == "join"
    assert (await summary(server.client, open_room)).ok()["num_joined_members"] == 1
    assert (await summary(bob, closed)).status == 404
    await alice.invite(closed, bob.user_id)
    assert (await summary(bob, closed)).ok()["membership"] == "invite"
    assert (await summary(bob, "!nowhere:ranvier.test")).status == 404
    assert (await summary(bob, "#nothing:ranvier.test")).status == 404
    assert (await summary(bob, "nonsense", valid=False)).status == 400
    early = path_of("_matrix/client/unstable/im.nheko.summary/summary", open_room)
    assert (await bob.get(early)).ok()["name"] == "Garden"
