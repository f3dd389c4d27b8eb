"""Users find those whom they may know of, by names that are meant for them."""

from typing import Any

import pytest
from tests.http_client import path_of
from tests.server import Server, UserClient, start_server


async def _find(user: UserClient, term: str, **body: Any) -> list[str]:
    answer = await user.post("/_matrix/client/v3/user_directory/search", json={"search_term": term, **body})
    return [one["user_id"] for one in answer.ok()["results"]]


async def _name(user: UserClient, name: str) -> None:
    path = path_of("_matrix/client/v3/profile", user.user_id, "displayname")
    (await user.put(path, json={"displayname": name})).ok()


async def test_a_user_finds_whom_they_share_a_room_with_and_who_is_in_an_open_one(server: Server):
    alice, bob, eve = [await server.register(name) for name in ("alice", "bob", "eve")]
    assert await _find(alice, "bob") == []
    room = await alice.create_room(invite=[bob.user_id])
    assert await _find(alice, "bob") == []
    await bob.join(room)
    assert await _find(alice, "bob") == [bob.user_id]
    assert await _find(eve, "bob") == await _find(bob, "bob") == []
    await eve.create_room(preset="public_chat")
    assert await _find(bob, "eve") == [eve.user_id]
    assert await _find(eve, "eve") == [eve.user_id]
    await bob.leave(room)
    assert await _find(alice, "bob") == []


async def test_names_fit_by_the_beginnings_of_their_words_and_only_the_profile_s_name_counts(server: Server):
    alice, bob = await server.register("alice-1"), await server.register("bob")
    await _name(alice, "Élise Müller 山田太郎")
    room = await alice.create_room(preset="public_chat")
    secret = await alice.create_room(invite=[bob.user_id])
    await bob.join(secret)
    await alice.send_state(
        secret, "m.room.member", {"membership": "join", "displayname": "Freddy"}, alice.user_id
    )
    fitting = ["eli", "MULL elise", "ali", "@alice-1:ranvier.test", "@ali", "太郎", "山田"]
    for term in fitting:
        assert await _find(bob, term) == [alice.user_id], term
    for term in ("lise", "elise schmidt", "freddy", "ranvier", "@lice", "", "*", "%"):
        assert await _find(bob, term) == [], term
    await _name(alice, "Marie")
    assert await _find(bob, "elise") == []
    assert await _find(bob, "marie") == [alice.user_id]
    await alice.send_state(room, "m.room.join_rules", {"join_rule": "invite"})
    eve = await server.register("eve")
    assert await _find(eve, "marie") == []


async def test_the_best_come_first_and_the_answer_says_whether_there_are_more(server: Server):
    alice = await server.register("alice")
    room = await alice.create_room(preset="public_chat")
    for localpart, name in (("u1", "Anna Zed"), ("u2", "Anna"), ("u3", "Annabel"), ("anna", "Zoe")):
        user = await server.register(localpart)
        await _name(user, name)
        await user.join(room)
    assert await _find(alice, "anna") == [server.user_id(name) for name in ("u2", "anna", "u1", "u3")]
    answer = await alice.post(
        "/_matrix/client/v3/user_directory/search", json={"search_term": "anna", "limit": 3}
    )
    assert answer.ok()["limited"] is True
    assert len(answer.ok()["results"]) == 3


async def test_who_leaves_the_server_is_found_no_more(server: Server):
    alice, bob = await server.register("alice"), await server.register("bob")
    await bob.join(await alice.create_room(preset="public_chat"))
    assert await _find(alice, "bob") == [bob.user_id]
    auth = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": "bob"},
        "password": "a long passphrase for tests",
    }
    path = "/_matrix/client/v3/account/deactivate"
    session = (await bob.post(path, json={})).json["session"]
    (await bob.post(path, json={"auth": {**auth, "session": session}})).ok()
    assert await _find(alice, "bob") == []


@pytest.mark.parametrize(("keys", "found"), [({"search_all_users": True}, 1), ({"enabled": False}, 0)])
async def test_the_configuration_says_whom_users_find(tmp_path, keys, found):
    server = await start_server(tmp_path, user_directory=keys)
    alice, _ = await server.register("alice"), await server.register("bob")
    assert len(await _find(alice, "bob")) == found
    await server.close()
