"""The history of rooms, page by page, and who sees what of it."""

import asyncio

import pytest
from tests.http_client import path_of
from tests.rooms.reading import bodies, ids, messages, room_path, state_content, walk
from tests.server import PASSWORD, Server


@pytest.mark.parametrize("limit", [1, 3, 7, 100])
async def test_pages_lose_and_repeat_nothing_in_either_direction(server: Server, limit: int) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    sent = [await (alice, bob)[n % 2].send(room_id, f"message {n}") for n in range(20)]
    back = await walk(alice, room_id, "b", limit)
    forth = await walk(alice, room_id, "f", limit)
    assert ids(back) == ids(forth)[::-1]
    assert len(set(ids(back))) == len(back)
    assert [e for e in ids(forth) if e in set(sent)] == sent
    assert forth[0]["type"] == "m.room.create"
    assert all(event["room_id"] == room_id for event in back)


async def test_pages_are_stable_while_others_write(server: Server) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    sent = [await alice.send(room_id, f"before {n}") for n in range(30)]

    async def chatter() -> None:
        for n in range(30):
            await bob.send(room_id, f"meanwhile {n}")

    task = asyncio.create_task(chatter())
    back = await walk(alice, room_id, "b", 4)
    await task
    assert [e for e in ids(back) if e in set(sent)] == sent[::-1]
    assert len(set(ids(back))) == len(back)


async def test_a_page_ends_where_it_is_told_to(server: Server) -> None:
    alice = await server.register("alice")
    room_id = await alice.create_room()
    sent = [await alice.send(room_id, str(n)) for n in range(10)]
    newest = await messages(alice, room_id, "b", limit=3)
    assert ids(newest["chunk"]) == sent[:-4:-1]
    further = await messages(alice, room_id, "b", limit=4, start=newest["end"])
    assert ids(further["chunk"]) == sent[-4:-8:-1]
    between = await messages(alice, room_id, "f", limit=50, start=further["end"], to=newest["end"])
    assert ids(between["chunk"]) == sent[3:7]


async def test_history_goes_on_from_a_sync_token(server: Server) -> None:
    alice = await server.register("alice")
    room_id = await alice.create_room()
    before = await alice.send(room_id, "before")
    token = (await alice.sync())["next_batch"]
    after = await alice.send(room_id, "after")
    back = await messages(alice, room_id, "b", limit=1, start=token)
    forth = await messages(alice, room_id, "f", limit=10, start=token)
    assert ids(back["chunk"]) == [before]
    assert ids(forth["chunk"]) == [after]


async def test_prev_batch_of_a_limited_sync_joins_the_history_without_a_seam(server: Server) -> None:
    alice = await server.register("alice")
    room_id = await alice.create_room()
    sent = [await alice.send(room_id, str(n)) for n in range(30)]
    timeline = (await alice.sync())["rooms"]["join"][room_id]["timeline"]
    assert timeline["limited"]
    rest = await walk(alice, room_id, "b", 5, start=timeline["prev_batch"])
    joined = ids(rest)[::-1] + ids(timeline["events"])
    assert joined[-30:] == sent
    assert len(set(joined)) == len(joined)


@pytest.mark.parametrize("token", ["nonsense", "t1", "t99999999999999999999-1", "s1", "t-1-2"])
async def test_a_token_that_never_was_one_is_refused(server: Server, token: str) -> None:
    alice = await server.register("alice")
    room_id = await alice.create_room()
    answer = await alice.get(room_path(room_id, "messages"), query={"dir": "b", "from": token})
    assert (answer.status, answer.errcode) == (400, "M_INVALID_PARAM")


async def test_who_was_never_there_reads_nothing(server: Server) -> None:
    alice, eve = await server.register("alice"), await server.register("eve")
    room_id = await alice.create_room()
    event_id = await alice.send(room_id, "secret")
    for path in ("messages", "state", "members", "joined_members"):
        answer = await eve.get(room_path(room_id, path), query={"dir": "b"} if path == "messages" else None)
        assert (answer.status, answer.errcode) == (403, "M_FORBIDDEN"), path
    for parts in (("event", event_id), ("context", event_id)):
        assert (await eve.get(room_path(room_id, *parts))).status == 404
    answer = await eve.get(room_path(room_id, "state", "m.room.create", ""))
    assert answer.errcode == "M_FORBIDDEN"
    unknown = await eve.get(room_path("!nowhere:ranvier.test", "messages"), query={"dir": "b"})
    assert unknown.errcode == "M_FORBIDDEN"


async def test_who_left_reads_up_to_their_leaving(server: Server) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await alice.create_room(preset="public_chat", name="Old name")
    await bob.join(room_id)
    await alice.send(room_id, "while bob is there")
    await bob.leave(room_id)
    hidden = await alice.send(room_id, "without bob")
    await alice.send_state(room_id, "m.room.name", {"name": "New name"})
    seen = await walk(bob, room_id, "b", 5)
    assert bodies(seen) == ["while bob is there"]
    assert seen[0]["content"]["membership"] == "leave"
    assert (await state_content(bob, room_id, "m.room.name")) == {"name": "Old name"}
    assert (await bob.get(room_path(room_id, "event", hidden))).status == 404
    members = (await bob.get(room_path(room_id, "members"))).ok()["chunk"]
    assert {m["state_key"]: m["content"]["membership"] for m in members} == {
        alice.user_id: "join",
        bob.user_id: "leave",
    }
    (await bob.post(room_path(room_id, "forget"))).ok()
    assert (await bob.get(room_path(room_id, "messages"), query={"dir": "b"})).errcode == "M_FORBIDDEN"


async def test_who_was_banned_after_leaving_sees_nothing_of_the_time_between(server: Server) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await alice.create_room(preset="public_chat", topic="first")
    await bob.join(room_id)
    await bob.leave(room_id)
    await alice.send_state(room_id, "m.room.topic", {"topic": "second"})
    (await alice.post(room_path(room_id, "ban"), json={"user_id": bob.user_id})).ok()
    assert (await state_content(bob, room_id, "m.room.topic"))["topic"] == "first"


async def test_an_invite_that_was_refused_opens_nothing(server: Server) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await alice.create_room()
    await alice.invite(room_id, bob.user_id)
    await bob.leave(room_id)
    assert (await bob.get(room_path(room_id, "state"))).errcode == "M_FORBIDDEN"


@pytest.mark.parametrize(
    ("visibility", "seen"), [("shared", ["early", "late"]), ("joined", ["late"]), ("invited", ["late"])]
)
async def test_history_visibility_holds_for_those_who_come_later(
    server: Server, visibility: str, seen: list[str]
) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    content = {"history_visibility": visibility}
    room_id = await alice.create_room(
        preset="public_chat",
        initial_state=[{"type": "m.room.history_visibility", "state_key": "", "content": content}],
    )
    await alice.send(room_id, "early")
    await bob.join(room_id)
    await alice.send(room_id, "late")
    assert bodies(await walk(bob, room_id, "f", 3)) == seen


async def test_a_world_readable_room_is_open_to_all(server: Server) -> None:
    alice, eve = await server.register("alice"), await server.register("eve")
    content = {"history_visibility": "world_readable"}
    room_id = await alice.create_room(
        initial_state=[{"type": "m.room.history_visibility", "state_key": "", "content": content}]
    )
    await alice.send(room_id, "hello world")
    assert bodies(await walk(eve, room_id, "b", 10)) == ["hello world"]
    assert (await eve.get(room_path(room_id, "state"))).status == 200
    assert (await eve.get(room_path(room_id, "joined_members"))).errcode == "M_FORBIDDEN"


async def test_a_filter_finds_the_few_among_the_many(server: Server) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    for n in range(40):
        await alice.send(room_id, str(n))
        if n % 20 == 0:
            await bob.send(room_id, f"bob {n}")
    image = {"msgtype": "m.image", "body": "picture", "url": "mxc://ranvier.test/abc"}
    await alice.send(room_id, image)
    found = await messages(alice, room_id, "b", limit=10, filter={"senders": [bob.user_id]})
    assert bodies(found["chunk"]) == ["bob 20", "bob 0"]
    found = await messages(alice, room_id, "b", limit=10, filter={"contains_url": True})
    assert bodies(found["chunk"]) == ["picture"]
    found = await messages(alice, room_id, "b", limit=10, filter={"types": ["m.room.create"]})
    assert [event["type"] for event in found["chunk"]] == ["m.room.create"]
    nothing = await messages(alice, room_id, "b", limit=10, filter={"not_rooms": [room_id]})
    assert nothing["chunk"] == []


async def test_lazily_loaded_members_are_those_of_the_senders(server: Server) -> None:
    alice, bob, carol = [await server.register(name) for name in ("alice", "bob", "carol")]
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    await carol.join(room_id)
    await bob.send(room_id, "only bob")
    page = await messages(alice, room_id, "b", limit=1, filter={"lazy_load_members": True})
    assert [event["state_key"] for event in page["state"]] == [bob.user_id]
    assert "state" not in await messages(alice, room_id, "b", limit=1)


async def test_an_event_stands_among_its_neighbours(server: Server) -> None:
    alice = await server.register("alice")
    room_id = await alice.create_room(name="Tea")
    sent = [await alice.send(room_id, str(n)) for n in range(9)]
    answer = (await alice.get(room_path(room_id, "context", sent[4]), query={"limit": 5})).ok()
    assert answer["event"]["event_id"] == sent[4]
    assert ids(answer["events_before"]) == [sent[3], sent[2]]
    assert ids(answer["events_after"]) == [sent[5], sent[6], sent[7]]
    assert {"m.room.create", "m.room.name", "m.room.member"} <= {event["type"] for event in answer["state"]}
    older = await messages(alice, room_id, "b", limit=1, start=answer["start"])
    newer = await messages(alice, room_id, "f", limit=5, start=answer["end"])
    assert ids(older["chunk"]) == [sent[1]]
    assert ids(newer["chunk"]) == [sent[8]]
    alone = (await alice.get(room_path(room_id, "context", sent[4]), query={"limit": 0})).ok()
    assert alone["events_before"] == alone["events_after"] == []


async def test_a_redacted_event_is_served_without_its_content(server: Server) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    event_id = await alice.send(room_id, "regret")
    await walk(bob, room_id, "b", 10)
    redact = room_path(room_id, "redact", event_id, "r1")
    assert (await bob.put(redact, json={})).errcode == "M_FORBIDDEN"
    redaction = (await alice.put(redact, json={"reason": "a slip"})).ok()["event_id"]
    assert (await alice.put(redact, json={"reason": "a slip"})).ok()["event_id"] == redaction
    event = (await bob.get(room_path(room_id, "event", event_id))).ok()
    assert event["content"] == {}
    assert event["unsigned"]["redacted_because"]["event_id"] == redaction
    assert event["unsigned"]["redacted_because"]["content"]["reason"] == "a slip"
    [shown] = [e for e in await walk(bob, room_id, "b", 10) if e["event_id"] == event_id]
    assert shown["content"] == {}


@pytest.mark.parametrize("version", ["9", "11"])
async def test_a_redaction_can_be_sent_like_any_event(server: Server, version: str) -> None:
    alice = await server.register("alice")
    room_id = await alice.create_room(room_version=version)
    event_id = await alice.send(room_id, "regret")
    redaction = await alice.send(room_id, {"redacts": event_id}, "m.room.redaction")
    assert (await alice.get(room_path(room_id, "event", event_id))).ok()["content"] == {}
    shown = (await alice.get(room_path(room_id, "event", redaction))).ok()
    assert shown["redacts"] == shown["content"]["redacts"] == event_id


async def test_a_redacted_name_leaves_the_room_without_one(server: Server) -> None:
    alice = await server.register("alice")
    room_id = await alice.create_room()
    event_id = await alice.send_state(room_id, "m.room.name", {"name": "Oops"})
    (await alice.put(room_path(room_id, "redact", event_id, "1"), json={})).ok()
    assert await state_content(alice, room_id, "m.room.name") == {}


async def test_unsigned_tells_the_sender_and_nobody_else_of_the_transaction(server: Server) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    event_id = await alice.send(room_id, "hello", txn_id="mine")
    path = room_path(room_id, "event", event_id)
    assert (await alice.get(path)).ok()["unsigned"]["transaction_id"] == "mine"
    other = await server.login("alice")
    for somebody in (bob, other):
        unsigned = (await somebody.get(path)).ok()["unsigned"]
        assert "transaction_id" not in unsigned
        assert unsigned["membership"] == "join"


async def test_state_events_tell_what_they_replaced(server: Server) -> None:
    alice = await server.register("alice")
    room_id = await alice.create_room()
    first = await alice.send_state(room_id, "m.room.topic", {"topic": "one"})
    second = await alice.send_state(room_id, "m.room.topic", {"topic": "two"})
    newest, older = (await messages(alice, room_id, "b", limit=2))["chunk"]
    assert (newest["event_id"], older["event_id"]) == (second, first)
    assert newest["unsigned"]["prev_content"] == {"topic": "one"}
    assert newest["unsigned"]["replaces_state"] == first
    assert "prev_content" not in older["unsigned"]


async def test_ignored_users_are_left_out_of_the_history(server: Server) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    await bob.send(room_id, "unheard")
    await alice.send(room_id, "heard")
    ignored = {"ignored_users": {bob.user_id: {}}}
    path = f"/_matrix/client/v3/user/{alice.user_id}/account_data/m.ignored_user_list"
    (await alice.put(path, json=ignored)).ok()
    seen = await walk(alice, room_id, "b", 2)
    assert bodies(seen) == ["heard"]
    assert bob.user_id in {event.get("state_key") for event in seen}


async def test_a_forgotten_room_is_closed_in_every_way(server: Server) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    event_id = await alice.send(room_id, "hello")
    await bob.leave(room_id)
    assert (await bob.get(room_path(room_id, "event", event_id))).status == 200
    (await bob.post(room_path(room_id, "forget"))).ok()
    assert (await bob.get(room_path(room_id, "event", event_id))).errcode == "M_NOT_FOUND"
    assert (await bob.get(room_path(room_id, "context", event_id))).errcode == "M_NOT_FOUND"
    assert (await bob.get(room_path(room_id, "state"))).errcode == "M_FORBIDDEN"


async def test_messages_of_the_erased_are_hidden_from_those_who_came_later(server: Server) -> None:
    alice, bob, carol = [await server.register(name) for name in ("alice", "bob", "carol")]
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    event_id = await bob.send(room_id, "remember me not")
    password = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": "bob"},
        "password": PASSWORD,
    }
    path = "/_matrix/client/v3/account/deactivate"
    session = (await bob.post(path, json={"erase": True})).json["session"]
    (await bob.post(path, json={"erase": True, "auth": {**password, "session": session}})).ok()
    await carol.join(room_id)
    assert (await alice.get(room_path(room_id, "event", event_id))).ok()["content"]["body"]
    assert (await carol.get(room_path(room_id, "event", event_id))).ok()["content"] == {}


async def test_who_may_not_read_a_room_hears_that_first_whatever_else_is_wrong_with_the_question(
    server: Server,
):
    alice, eve = await server.register("alice"), await server.register("eve")
    path = path_of("_matrix/client/v3/rooms", await alice.create_room(), "messages")
    assert (await eve.get(path, valid=False)).errcode == "M_FORBIDDEN"
    assert (await alice.get(path, valid=False)).errcode == "M_MISSING_PARAM"


async def test_before_the_first_event_the_members_are_those_with_whom_the_room_began(server: Server):
    alice, bob = await server.register("alice"), await server.register("bob")
    room = await alice.create_room(preset="public_chat")
    before = (await alice.sync())["rooms"]["join"][room]["timeline"]["prev_batch"]
    await bob.join(room)
    path = path_of("_matrix/client/v3/rooms", room, "members")
    chunk = (await alice.get(path, query={"at": before})).ok()["chunk"]
    assert [event["state_key"] for event in chunk] == [alice.user_id]
