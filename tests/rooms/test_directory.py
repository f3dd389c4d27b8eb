"""Aliases and the room directory."""

from typing import Any

import pytest
from tests.http_client import path_of
from tests.rooms.reading import room_path, state_content
from tests.server import Server, UserClient

PUBLIC = "/_matrix/client/v3/publicRooms"


def alias_path(alias: str) -> str:
    return path_of("_matrix/client/v3/directory/room", alias)


async def names(user: UserClient, **body: Any) -> list[str]:
    return [room["name"] for room in (await user.post(PUBLIC, json=body)).ok()["chunk"]]


async def test_an_alias_is_given_found_listed_and_taken(server: Server) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await alice.create_room(preset="public_chat")
    alias = "#tee trinken/ä:ranvier.test".replace(" ", "-")
    assert (await bob.put(alias_path(alias), json={"room_id": room_id})).errcode == "M_FORBIDDEN"
    (await alice.put(alias_path(alias), json={"room_id": room_id})).ok()
    taken = await alice.put(alias_path(alias), json={"room_id": room_id})
    assert taken.status == 409
    found = (await server.client.get(alias_path(alias))).ok()
    assert found == {"room_id": room_id, "servers": [server.server_name]}
    assert await bob.join(alias) == room_id
    assert (await bob.get(room_path(room_id, "aliases"))).ok()["aliases"] == [alias]
    assert (await bob.delete(alias_path(alias))).errcode == "M_FORBIDDEN"
    (await alice.delete(alias_path(alias))).ok()
    assert (await server.client.get(alias_path(alias))).status == 404
    assert (await alice.delete(alias_path(alias))).status == 404


async def test_a_deleted_alias_leaves_the_rooms_state(server: Server) -> None:
    alice = await server.register("alice")
    room_id = await alice.create_room(room_alias_name="tea")
    (await alice.delete(alias_path("#tea:ranvier.test"))).ok()
    assert await state_content(alice, room_id, "m.room.canonical_alias") == {}


@pytest.mark.parametrize(
    "alias", ["#tea:elsewhere.test", "#:ranvier.test", "#a b:ranvier.test", "#" + "x" * 255 + ":ranvier.test"]
)
async def test_an_alias_that_cannot_be_is_refused(server: Server, alias: str) -> None:
    alice = await server.register("alice")
    room_id = await alice.create_room()
    answer = await alice.put(alias_path(alias), json={"room_id": room_id})
    assert (answer.status, answer.errcode) == (400, "M_INVALID_PARAM")


async def test_aliases_are_shown_to_members_and_of_open_rooms_to_all(server: Server) -> None:
    alice, eve = await server.register("alice"), await server.register("eve")
    room_id = await alice.create_room(room_alias_name="tea", preset="public_chat")
    path = room_path(room_id, "aliases")
    assert (await eve.get(path)).errcode == "M_FORBIDDEN"
    await eve.join(room_id)
    assert (await eve.get(path)).ok()["aliases"] == ["#tea:ranvier.test"]
    await eve.leave(room_id)
    assert (await eve.get(path)).errcode == "M_FORBIDDEN"
    await alice.send_state(room_id, "m.room.history_visibility", {"history_visibility": "world_readable"})
    assert (await eve.get(path)).status == 200


async def test_the_directory_shows_what_is_published_as_it_is_now(server: Server) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await alice.create_room(visibility="public", name="Tea", topic="Hot", room_alias_name="tea")
    await alice.create_room(name="Hidden")
    [shown] = (await bob.get(PUBLIC)).ok()["chunk"]
    assert shown == {
        "room_id": room_id,
        "name": "Tea",
        "topic": "Hot",
        "canonical_alias": "#tea:ranvier.test",
        "join_rule": "public",
        "num_joined_members": 1,
        "world_readable": False,
        "guest_can_join": False,
    }
    await bob.join(room_id)
    await alice.send_state(room_id, "m.room.name", {"name": "Green tea"})
    [shown] = (await bob.get(PUBLIC)).ok()["chunk"]
    assert (shown["name"], shown["num_joined_members"]) == ("Green tea", 2)
    path = path_of("_matrix/client/v3/directory/list/room", room_id)
    assert (await bob.put(path, json={"visibility": "private"})).errcode == "M_FORBIDDEN"
    (await alice.put(path, json={"visibility": "private"})).ok()
    assert (await server.client.get(path)).ok() == {"visibility": "private"}
    assert (await bob.get(PUBLIC)).ok()["chunk"] == []
    unknown = path_of("_matrix/client/v3/directory/list/room", "!none:ranvier.test")
    assert (await server.client.get(unknown)).status == 404
    assert (await server.client.get(PUBLIC)).errcode == "M_MISSING_TOKEN"


async def test_the_directory_is_searched_and_paged_from_large_to_small(server: Server) -> None:
    alice = await server.register("alice")
    others = [await server.register(f"user{n}") for n in range(3)]
    for n in range(5):
        room_id = await alice.create_room(visibility="public", name=f"Room {n}", topic="Tea" if n % 2 else "")
        for other in others[: max(0, n - 1)]:
            await other.join(room_id)
    space = {"type": "m.space"}
    await alice.create_room(visibility="public", name="Space", creation_content=space)
    everything = await names(alice)
    assert everything[:3] == ["Room 4", "Room 3", "Room 2"]
    assert set(everything) == {"Space", *(f"Room {n}" for n in range(5))}
    paged: list[str] = []
    since = None
    while True:
        page = (await alice.get(PUBLIC, query={"limit": 2, **({"since": since} if since else {})})).ok()
        paged += [room["name"] for room in page["chunk"]]
        since = page.get("next_batch")
        if since is None:
            break
        last = page
    assert paged == everything
    assert "prev_batch" in page
    back = (await alice.get(PUBLIC, query={"limit": 2, "since": page["prev_batch"]})).ok()
    assert back["chunk"] == last["chunk"]
    assert set(await names(alice, filter={"generic_search_term": "TEA"})) == {"Room 1", "Room 3"}
    assert await names(alice, filter={"room_types": ["m.space"]}) == ["Space"]
    assert "Space" not in await names(alice, filter={"room_types": [None]})
    assert (await alice.get(PUBLIC, query={"since": "x"})).errcode == "M_INVALID_PARAM"
