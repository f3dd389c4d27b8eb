"""What servers tell each other of rooms that their users are not in: directories, spaces."""

from typing import Any

import pytest
from tests.federated import Federated
from tests.http_client import path_of
from tests.rooms.test_hierarchy import hierarchy, put_in, space, summary

from ranvier.remote.failure import RemoteFailure
from ranvier.remote.public_rooms import get_public_rooms
from ranvier.remote.space_hierarchy import get_space_hierarchy


async def test_a_space_of_one_server_is_seen_from_another(alpha: Federated, beta: Federated):
    alice, bob = await alpha.register("alice"), await beta.register("bob")
    via = [beta.server_name]
    root = await space(bob, "Root")
    sub = await space(bob, "Sub")
    leaf = await bob.create_room(name="Leaf", preset="public_chat")
    secret = await bob.create_room(name="Secret", preset="private_chat")
    for parent, child in ((root, sub), (sub, leaf), (root, secret)):
        await put_in(bob, parent, child, via=via)
    told = await get_space_hierarchy(alpha.remote, beta.server_name, root)
    assert [room["room_id"] for room in told.children] == [sub]
    assert told.inaccessible_children == [secret]
    with pytest.raises(RemoteFailure) as failure:
        await get_space_hierarchy(alpha.remote, beta.server_name, secret)
    assert failure.value.status == 404
    mine = await space(alice, "Mine")
    await put_in(alice, mine, root, via=via)
    rooms = (await hierarchy(alice, mine)).ok()["rooms"]
    assert [room["name"] for room in rooms] == ["Mine", "Root", "Sub", "Leaf"]
    assert (await summary(alice, leaf, query={"via": beta.server_name})).ok()["name"] == "Leaf"
    assert (await summary(alice, secret, query={"via": beta.server_name})).status == 404


async def test_the_directory_of_one_server_is_read_through_another(alpha: Federated, beta: Federated):
    alice, bob = await alpha.register("alice"), await beta.register("bob")
    for name in ("Garden", "Kitchen"):
        await bob.create_room(name=name, preset="public_chat", visibility="public")
    query = {"server": beta.server_name}
    rooms = "/_matrix/client/v3/publicRooms"
    page = (await alice.get(rooms, query={**query, "limit": 1})).ok()
    rest = (await alice.get(rooms, query={**query, "since": page["next_batch"]})).ok()
    assert {room["name"] for room in page["chunk"] + rest["chunk"]} == {"Garden", "Kitchen"}
    found = (await alice.post(rooms, json={"filter": {"generic_search_term": "kit"}}, query=query)).ok()
    assert [room["name"] for room in found["chunk"]] == ["Kitchen"]


@pytest.mark.parametrize("federation_overrides", [{"allow_public_rooms_over_federation": False}])
async def test_a_directory_that_is_not_for_others_is_not_shown(
    alpha: Federated, beta: Federated, federation_overrides: dict[str, Any]
):
    alice = await alpha.register("alice")
    with pytest.raises(RemoteFailure) as failure:
        await get_public_rooms(alpha.remote, beta.server_name)
    assert (failure.value.status, failure.value.errcode) == (403, "M_FORBIDDEN")
    answer = await alice.get("/_matrix/client/v3/publicRooms", query={"server": beta.server_name})
    assert answer.status == 502
    assert (await alice.get(path_of("_matrix/client/v3/publicRooms"))).ok()["chunk"] == []
