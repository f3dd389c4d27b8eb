"""Edits, threads, references and reactions: aggregations, and the pages of related events."""

from typing import Any

import pytest
from tests.http_client import path_of
from tests.rooms.reading import ids, messages, room_path
from tests.server import Server, UserClient

V1 = "_matrix/client/v1/rooms"


def edit_of(event_id: str, text: str) -> dict[str, Any]:
    return {
        "msgtype": "m.text",
        "body": f"* {text}",
        "m.new_content": {"msgtype": "m.text", "body": text},
        "m.relates_to": {"rel_type": "m.replace", "event_id": event_id},
    }


def related(event_id: str, rel_type: str, text: str = "child", **more: Any) -> dict[str, Any]:
    relates_to = {"rel_type": rel_type, "event_id": event_id, **more}
    return {"msgtype": "m.text", "body": text, "m.relates_to": relates_to}


async def bundle(user: UserClient, room_id: str, event_id: str) -> Any:
    event = (await user.get(room_path(room_id, "event", event_id))).ok()
    return event["unsigned"].get("m.relations", {})


async def children(user: UserClient, room_id: str, event_id: str, *parts: str, **query: Any) -> Any:
    if "start" in query:
        query["from"] = query.pop("start")
    return (await user.get(path_of(V1, room_id, "relations", event_id, *parts), query=query)).ok()


async def test_the_latest_edit_of_the_sender_is_bundled(server: Server) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    original = await alice.send(room_id, "helo")
    await alice.send(room_id, edit_of(original, "hallo"))
    second = await alice.send(room_id, edit_of(original, "hello"))
    await bob.send(room_id, edit_of(original, "not yours to edit"))
    bundled = (await bundle(bob, room_id, original))["m.replace"]
    assert bundled["event_id"] == second
    assert bundled["content"]["m.new_content"]["body"] == "hello"
    (await alice.put(room_path(room_id, "redact", second, "1"), json={})).ok()
    assert (await bundle(bob, room_id, original))["m.replace"]["content"]["body"] == "* hallo"
    (await alice.put(room_path(room_id, "redact", original, "2"), json={})).ok()
    assert "m.replace" not in await bundle(bob, room_id, original)


async def test_a_thread_is_summarised_on_its_root(server: Server) -> None:
    alice, bob, carol = [await server.register(name) for name in ("alice", "bob", "carol")]
    room_id = await alice.create_room(preset="public_chat")
    for user in (bob, carol):
        await user.join(room_id)
    root = await alice.send(room_id, "root")
    await bob.send(room_id, related(root, "m.thread", "one"))
    last = await bob.send(room_id, related(root, "m.thread", "two"))
    newer = await bob.send(room_id, edit_of(last, "three"))
    thread = (await bundle(bob, room_id, root))["m.thread"]
    assert (thread["count"], thread["current_user_participated"]) == (2, True)
    assert thread["latest_event"]["event_id"] == last
    assert thread["latest_event"]["unsigned"]["m.relations"]["m.replace"]["event_id"] == newer
    assert (await bundle(carol, room_id, root))["m.thread"]["current_user_participated"] is False
    assert (await bundle(alice, room_id, root))["m.thread"]["current_user_participated"] is True
    [page] = [e for e in (await messages(carol, room_id, "b", limit=50))["chunk"] if e["event_id"] == root]
    assert page["unsigned"]["m.relations"]["m.thread"]["count"] == 2


async def test_a_thread_cannot_start_from_a_child(server: Server) -> None:
    alice = await server.register("alice")
    room_id = await alice.create_room()
    root = await alice.send(room_id, "root")
    child = await alice.send(room_id, related(root, "m.thread"))
    reply = await alice.send(
        room_id, {"msgtype": "m.text", "body": "re", "m.relates_to": {"m.in_reply_to": {"event_id": root}}}
    )
    path = room_path(room_id, "send", "m.room.message", "thread")
    answer = await alice.put(path, json=related(child, "m.thread"))
    assert (answer.status, answer.errcode) == (400, "M_UNKNOWN")
    await alice.send(room_id, related(reply, "m.thread"))


async def test_references_are_listed_in_their_order(server: Server) -> None:
    alice = await server.register("alice")
    room_id = await alice.create_room()
    parent = await alice.send(room_id, "parent")
    sent = [await alice.send(room_id, related(parent, "m.reference")) for _ in range(3)]
    chunk = (await bundle(alice, room_id, parent))["m.reference"]["chunk"]
    assert [entry["event_id"] for entry in chunk] == sent


async def test_children_in_another_room_count_for_nothing(server: Server) -> None:
    alice = await server.register("alice")
    one, other = await alice.create_room(), await alice.create_room()
    parent = await alice.send(one, "parent")
    await alice.send(other, edit_of(parent, "from afar"))
    await alice.send(other, related(parent, "m.thread"))
    assert await bundle(alice, one, parent) == {}
    assert (await children(alice, one, parent))["chunk"] == []


async def test_children_of_ignored_users_are_left_out(server: Server) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    parent = await alice.send(room_id, "parent")
    await bob.send(room_id, related(parent, "m.thread"))
    path = f"/_matrix/client/v3/user/{alice.user_id}/account_data/m.ignored_user_list"
    (await alice.put(path, json={"ignored_users": {bob.user_id: {}}})).ok()
    assert await bundle(alice, room_id, parent) == {}
    assert (await children(alice, room_id, parent))["chunk"] == []
    assert (await bundle(bob, room_id, parent))["m.thread"]["count"] == 1


async def test_a_reaction_counts_once(server: Server) -> None:
    alice = await server.register("alice")
    room_id = await alice.create_room()
    parent = await alice.send(room_id, "parent")
    reaction = {"m.relates_to": {"rel_type": "m.annotation", "event_id": parent, "key": "👍"}}
    first = await alice.send(room_id, reaction, "m.reaction", txn_id="first")
    assert await alice.send(room_id, reaction, "m.reaction", txn_id="first") == first
    again = await alice.put(room_path(room_id, "send", "m.reaction", "again"), json=reaction)
    assert (again.status, again.errcode) == (400, "M_DUPLICATE_ANNOTATION")
    (await alice.put(room_path(room_id, "redact", first, "1"), json={})).ok()
    await alice.send(room_id, reaction, "m.reaction")


@pytest.mark.parametrize("limit", [1, 2, 5, 50])
async def test_pages_of_children_lose_and_repeat_nothing(server: Server, limit: int) -> None:
    alice = await server.register("alice")
    room_id = await alice.create_room()
    parent = await alice.send(room_id, "parent")
    sent = []
    for n in range(11):
        sent.append(await alice.send(room_id, related(parent, ("m.thread", "m.reference")[n % 2])))
        await alice.send(room_id, "something else")
    for direction, expected in (("b", sent[::-1]), ("f", sent)):
        found: list[str] = []
        query: dict[str, Any] = {"dir": direction, "limit": limit}
        while True:
            page = await children(alice, room_id, parent, **query)
            found += ids(page["chunk"])
            if "next_batch" not in page:
                break
            query["start"] = page["next_batch"]
        assert found == expected


async def test_children_are_chosen_by_relation_and_type(server: Server) -> None:
    alice = await server.register("alice")
    room_id = await alice.create_room()
    parent = await alice.send(room_id, "parent")
    thread = await alice.send(room_id, related(parent, "m.thread"))
    other = await alice.send(room_id, related(parent, "m.thread"), "org.example.note")
    reference = await alice.send(room_id, related(parent, "m.reference"))
    assert ids((await children(alice, room_id, parent))["chunk"]) == [reference, other, thread]
    assert ids((await children(alice, room_id, parent, "m.thread"))["chunk"]) == [other, thread]
    [only] = (await children(alice, room_id, parent, "m.thread", "org.example.note"))["chunk"]
    assert only["event_id"] == other
    missing = await alice.get(path_of(V1, room_id, "relations", "$nothing"))
    assert (missing.status, missing.errcode) == (404, "M_NOT_FOUND")


async def test_relations_of_relations_are_followed_if_asked_for(server: Server) -> None:
    alice = await server.register("alice")
    room_id = await alice.create_room()
    chain = [await alice.send(room_id, "parent")]
    for _ in range(5):
        chain.append(await alice.send(room_id, related(chain[-1], "m.reference")))
    direct = await children(alice, room_id, chain[0])
    deep = await children(alice, room_id, chain[0], recurse=True, dir="f", limit=50)
    assert ids(direct["chunk"]) == [chain[1]]
    assert ids(deep["chunk"]) == chain[1 : 1 + deep["recursion_depth"]]
    assert deep["recursion_depth"] >= 3
    filtered = await children(alice, room_id, chain[0], "m.thread", recurse=True)
    assert filtered["chunk"] == []


async def test_threads_are_listed_by_their_newest_event(server: Server) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    roots = [await alice.send(room_id, f"root {n}") for n in range(3)]
    for root in roots:
        await alice.send(room_id, related(root, "m.thread"))
    await bob.send(room_id, related(roots[0], "m.thread"))
    path = path_of(V1, room_id, "threads")
    listed = (await alice.get(path)).ok()
    assert ids(listed["chunk"]) == [roots[0], roots[2], roots[1]]
    assert listed["chunk"][0]["unsigned"]["m.relations"]["m.thread"]["count"] == 2
    assert ids((await bob.get(path, query={"include": "participated"})).ok()["chunk"]) == [roots[0]]
    first = (await alice.get(path, query={"limit": 2})).ok()
    second = (await alice.get(path, query={"limit": 2, "from": first["next_batch"]})).ok()
    assert ids(first["chunk"] + second["chunk"]) == ids(listed["chunk"])
    assert "next_batch" not in second


@pytest.mark.parametrize(
    "relates_to",
    [
        {"rel_type": "m.thread", "event_id": "$\0"},
        {"rel_type": "m\0", "event_id": "$a"},
        {"rel_type": "m.annotation", "event_id": "$a", "key": "\0"},
        {"rel_type": 1, "event_id": []},
        "text",
    ],
)
async def test_a_relation_of_the_wrong_form_is_just_content(server: Server, relates_to: Any) -> None:
    alice = await server.register("alice")
    room_id = await alice.create_room()
    path = room_path(room_id, "send", "org.example.note", "1")
    (await alice.put(path, json={"m.relates_to": relates_to})).ok()
