"""Coming and going, with what is refused on the way."""

import asyncio
from typing import Any

import pytest
from tests.http_client import path_of
from tests.rooms.reading import bodies, ids, room_path, state_content, walk
from tests.server import Server, UserClient


async def act(user: UserClient, room_id: str, action: str, target: UserClient | str, **body: Any) -> Any:
    """Do something to another user; answers (status, errcode)."""
    user_id = target if isinstance(target, str) else target.user_id
    answer = await user.post(room_path(room_id, action), json={"user_id": user_id, **body}, valid=False)
    return answer.status, answer.errcode


async def membership(user: UserClient, room_id: str, of: UserClient) -> str:
    content = await state_content(user, room_id, "m.room.member", of.user_id)
    found: str = content["membership"]
    return found


async def people(server: Server, *names: str) -> list[UserClient]:
    return [await server.register(name) for name in names]


DONE = (200, None)
FORBIDDEN = (403, "M_FORBIDDEN")


async def test_a_kick_takes_power_and_a_member(server: Server) -> None:
    alice, bob, carol = await people(server, "alice", "bob", "carol")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    assert await act(bob, room_id, "kick", alice) == FORBIDDEN
    assert await act(alice, room_id, "kick", carol) == FORBIDDEN
    assert await act(carol, room_id, "kick", bob) == FORBIDDEN
    assert await act(alice, room_id, "kick", bob, reason="noise") == DONE
    content = await state_content(alice, room_id, "m.room.member", bob.user_id)
    assert content == {"membership": "leave", "reason": "noise"}
    await bob.join(room_id)


async def test_a_ban_holds_until_it_is_lifted(server: Server) -> None:
    alice, bob = await people(server, "alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    assert await act(alice, room_id, "ban", bob, reason="rude") == DONE
    assert await act(alice, room_id, "ban", bob) == DONE
    assert (await bob.post(path_of("_matrix/client/v3/join", room_id), json={})).errcode == "M_FORBIDDEN"
    assert await act(alice, room_id, "invite", bob) == FORBIDDEN
    assert await act(alice, room_id, "kick", bob) == FORBIDDEN
    assert await act(bob, room_id, "unban", bob) == FORBIDDEN
    assert await act(alice, room_id, "unban", bob) == DONE
    assert await membership(alice, room_id, bob) == "leave"
    assert await act(alice, room_id, "unban", bob) == (403, "M_BAD_STATE")
    await bob.join(room_id)


async def test_somebody_who_was_never_there_can_be_banned(server: Server) -> None:
    alice, bob = await people(server, "alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    assert await act(alice, room_id, "ban", bob) == DONE
    assert (await bob.post(path_of("_matrix/client/v3/join", room_id), json={})).errcode == "M_FORBIDDEN"


async def test_invites_are_for_those_outside(server: Server) -> None:
    alice, bob, carol = await people(server, "alice", "bob", "carol")
    room_id = await alice.create_room()
    assert await act(alice, room_id, "invite", alice) == FORBIDDEN
    assert await act(bob, room_id, "invite", carol) == FORBIDDEN
    assert await act(alice, room_id, "invite", "not a user") == (400, "M_INVALID_PARAM")
    assert await act(alice, room_id, "invite", bob, reason="come") == DONE
    assert await act(alice, room_id, "invite", bob) == DONE
    await bob.join(room_id)
    assert await act(alice, room_id, "invite", bob) == FORBIDDEN
    answer = await alice.post(room_path(room_id, "invite"), json={}, valid=False)
    assert (answer.status, answer.errcode) == (400, "M_MISSING_PARAM")


async def test_leaving_is_for_those_inside_and_can_be_repeated(server: Server) -> None:
    alice, bob = await people(server, "alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    leave = room_path(room_id, "leave")
    assert (await bob.post(leave, json={})).errcode == "M_FORBIDDEN"
    await bob.join(room_id)
    (await bob.post(leave, json={"reason": "tea"})).ok()
    (await bob.post(leave, body=b"", valid=False)).ok()
    assert (await state_content(alice, room_id, "m.room.member", bob.user_id))["reason"] == "tea"
    sent = await bob.put(room_path(room_id, "send", "m.room.message", "1"), json={"body": "still here"})
    assert sent.errcode == "M_FORBIDDEN"


async def test_only_a_room_that_was_left_can_be_forgotten(server: Server) -> None:
    alice, bob = await people(server, "alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    forget = room_path(room_id, "forget")
    assert (await alice.post(forget)).status == 400
    assert (await bob.post(forget)).status == 404
    await bob.join(room_id)
    await bob.leave(room_id)
    (await bob.post(forget)).ok()
    (await bob.post(forget)).ok()
    await bob.join(room_id)
    assert (await bob.get("/_matrix/client/v3/joined_rooms")).ok()["joined_rooms"] == [room_id]


async def test_joining_by_alias_answers_the_room(server: Server) -> None:
    alice, bob = await people(server, "alice", "bob")
    room_id = await alice.create_room(preset="public_chat", room_alias_name="tea/time?1")
    assert await bob.join(f"#tea/time?1:{server.server_name}") == room_id
    unknown = await bob.post(path_of("_matrix/client/v3/join", "#none:ranvier.test"), json={})
    assert (unknown.status, unknown.errcode) == (404, "M_NOT_FOUND")
    neither = await bob.post(path_of("_matrix/client/v3/join", "tea"), json={}, valid=False)
    assert (neither.status, neither.errcode) == (400, "M_INVALID_PARAM")


async def test_joining_twice_makes_one_event(server: Server) -> None:
    alice, bob = await people(server, "alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    path = room_path(room_id, "state", "m.room.member", bob.user_id)
    first = (await bob.get(path, query={"format": "event"})).ok()["event_id"]
    await bob.join(room_id)
    assert (await bob.get(path, query={"format": "event"})).ok()["event_id"] == first


async def test_a_knock_is_answered_by_an_invite(server: Server) -> None:
    alice, bob, carol = await people(server, "alice", "bob", "carol")
    rules = {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}
    room_id = await alice.create_room(initial_state=[rules])
    knock = path_of("_matrix/client/v3/knock", room_id)
    assert (await bob.post(knock, json={"reason": "please"})).ok()["room_id"] == room_id
    assert (await state_content(alice, room_id, "m.room.member", bob.user_id))["reason"] == "please"
    assert (await bob.post(path_of("_matrix/client/v3/join", room_id), json={})).errcode == "M_FORBIDDEN"
    await alice.invite(room_id, bob.user_id)
    assert (await bob.post(knock, json={})).errcode == "M_FORBIDDEN"
    await bob.join(room_id)
    (await carol.post(knock, json={})).ok()
    assert await act(alice, room_id, "kick", carol) == DONE
    (await carol.post(knock, json={})).ok()
    await carol.leave(room_id)
    assert await membership(alice, room_id, carol) == "leave"
    closed = await alice.create_room()
    assert (await bob.post(path_of("_matrix/client/v3/knock", closed), json={})).errcode == "M_FORBIDDEN"
    unknown = await bob.post(path_of("_matrix/client/v3/knock", "#none:ranvier.test"), json={})
    assert (unknown.status, unknown.errcode) == (404, "M_NOT_FOUND")


@pytest.mark.parametrize(
    ("version", "rule"), [("9", "restricted"), ("12", "restricted"), ("12", "knock_restricted")]
)
async def test_a_restricted_room_lets_members_of_another_in(server: Server, version: str, rule: str) -> None:
    alice, bob, carol = await people(server, "alice", "bob", "carol")
    club = await alice.create_room(preset="public_chat")
    allow = [{"type": "m.room_membership", "room_id": club}, {"type": "org.example.other"}, "nonsense"]
    rules = {
        "type": "m.room.join_rules",
        "state_key": "",
        "content": {"join_rule": rule, "allow": allow},
    }
    room_id = await alice.create_room(room_version=version, initial_state=[rules])
    join = path_of("_matrix/client/v3/join", room_id)
    assert (await bob.post(join, json={})).errcode == "M_FORBIDDEN"
    await bob.join(club)
    await bob.join(room_id)
    content = await state_content(alice, room_id, "m.room.member", bob.user_id)
    assert content["join_authorised_via_users_server"] == alice.user_id
    await alice.invite(room_id, carol.user_id)
    await carol.join(room_id)
    content = await state_content(alice, room_id, "m.room.member", carol.user_id)
    assert "join_authorised_via_users_server" not in content


async def test_a_restricted_room_whose_inviters_are_gone_takes_nobody(server: Server) -> None:
    alice, bob, carol = await people(server, "alice", "bob", "carol")
    club = await alice.create_room(preset="public_chat")
    rules = {
        "type": "m.room.join_rules",
        "state_key": "",
        "content": {"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": club}]},
    }
    room_id = await alice.create_room(
        initial_state=[rules], power_level_content_override={"invite": 50}, invite=[carol.user_id]
    )
    await carol.join(room_id)
    await bob.join(club)
    await alice.leave(room_id)
    answer = await bob.post(path_of("_matrix/client/v3/join", room_id), json={})
    assert answer.errcode == "M_UNABLE_TO_GRANT_JOIN"


async def test_memberships_are_state_like_any_other(server: Server) -> None:
    alice, bob, carol = await people(server, "alice", "bob", "carol")
    room_id = await alice.create_room(preset="public_chat")

    async def put(user: UserClient, of: UserClient, **content: Any) -> tuple[int, str | None]:
        path = room_path(room_id, "state", "m.room.member", of.user_id)
        answer = await user.put(path, json=content, valid=False)
        return answer.status, answer.errcode

    assert await put(bob, bob, membership="join", displayname="Bobby") == DONE
    assert (await state_content(alice, room_id, "m.room.member", bob.user_id))["displayname"] == "Bobby"
    assert await put(bob, bob, membership="join", displayname="Bob", **{"org.example": 1}) == DONE
    assert (await state_content(bob, room_id, "m.room.member", bob.user_id))["org.example"] == 1
    assert await put(alice, carol, membership="invite") == DONE
    assert await put(alice, carol, membership="join") == FORBIDDEN
    assert await put(carol, carol, membership="leave") == DONE
    assert await put(alice, bob, membership="ban", reason="x") == DONE
    assert await put(bob, bob, membership="join") == FORBIDDEN
    assert await put(alice, bob, membership="leave") == DONE
    assert await put(alice, alice, membership="dancing") == FORBIDDEN
    assert await put(alice, alice, membership=["join"]) == FORBIDDEN
    path = room_path(room_id, "state", "m.room.member", "nobody")
    assert (await alice.put(path, json={"membership": "invite"})).errcode == "M_INVALID_PARAM"


async def test_state_needs_power_and_keeps_what_is_said_twice(server: Server) -> None:
    alice, bob = await people(server, "alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    path = room_path(room_id, "state", "m.room.topic")
    assert (await bob.put(path, json={"topic": "mine"})).errcode == "M_FORBIDDEN"
    first = (await alice.put(path, json={"topic": "tea"})).ok()["event_id"]
    assert (await alice.put(path + "/", json={"topic": "tea"})).ok()["event_id"] == first
    assert (await alice.put(path, json={"topic": "coffee"})).ok()["event_id"] != first
    own = room_path(room_id, "state", "org.example.mood", bob.user_id)
    assert (await alice.put(own, json={})).errcode == "M_FORBIDDEN"
    create = await alice.put(room_path(room_id, "state", "m.room.create", ""), json={})
    assert create.errcode == "M_INVALID_PARAM"


async def test_a_canonical_alias_must_point_to_the_room(server: Server) -> None:
    alice = await server.register("alice")
    room_id, other = await alice.create_room(room_alias_name="tea"), await alice.create_room()
    path = room_path(other, "state", "m.room.canonical_alias", "")
    assert (await alice.put(path, json={"alias": "#tea:ranvier.test"})).errcode == "M_BAD_ALIAS"
    assert (await alice.put(path, json={"alt_aliases": ["#none:ranvier.test"]})).errcode == "M_BAD_ALIAS"
    for content in ({"alias": "tea"}, {"alias": 1}, {"alt_aliases": "#tea:ranvier.test"}, {"alias": "#a:\0"}):
        assert (await alice.put(path, json=content, valid=False)).errcode == "M_INVALID_PARAM"
    own = room_path(room_id, "state", "m.room.canonical_alias", "")
    (await alice.put(own, json={"alias": "#tea:ranvier.test", "alt_aliases": ["#tea:ranvier.test"]})).ok()


@pytest.mark.parametrize("size", [0, 256])
async def test_a_transaction_id_has_bounds(server: Server, size: int) -> None:
    alice = await server.register("alice")
    room_id = await alice.create_room()
    path = room_path(room_id, "send", "m.room.message", "x" * size)
    answer = await alice.put(path, json={"body": "x"})
    assert answer.status in (400, 404)


async def test_events_that_are_too_large_are_refused(server: Server) -> None:
    alice = await server.register("alice")
    room_id = await alice.create_room()
    path = room_path(room_id, "send", "m.room.message", "1")
    answer = await alice.put(path, json={"body": "x" * 70_000})
    assert (answer.status, answer.errcode) == (413, "M_TOO_LARGE")
    long = room_path(room_id, "send", "x" * 256, "2")
    assert (await alice.put(long, json={})).errcode == "M_TOO_LARGE"
    for body in (b"[]", b"{", b'{"a": NaN}', b'{"a":1,"a":2}', b'{"a": 9007199254740993}', b'{"a": 1.5}'):
        bad = await alice.request("PUT", room_path(room_id, "send", "m.test", "3"), body=body, valid=False)
        assert bad.status == 400, body


async def test_a_retry_is_answered_even_by_a_room_that_was_left(server: Server) -> None:
    alice = await server.register("alice")
    room_id = await alice.create_room(preset="public_chat")
    first = await alice.send(room_id, "goodbye", txn_id="once")
    await alice.leave(room_id)
    assert await alice.send(room_id, "goodbye", txn_id="once") == first


async def test_many_retries_at_once_make_one_event(server: Server) -> None:
    alice = await server.register("alice")
    room_id = await alice.create_room()
    sent = await asyncio.gather(
        *(alice.send(room_id, f"{n % 5}", txn_id=f"same {n % 5}") for n in range(40)),
        *(alice.send(room_id, f"own {n}", txn_id=f"own {n}") for n in range(20)),
    )
    assert len(set(sent)) == 25
    events = await walk(alice, room_id, "f", 10)
    assert len(bodies(events)) == 25
    assert set(ids(events)) >= set(sent)
