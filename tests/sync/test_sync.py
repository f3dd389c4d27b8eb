"""What a client that syncs can rely on."""

import asyncio
import json
from typing import Any

import pytest
from tests.http_client import path_of
from tests.server import Server, UserClient

from ranvier.sync.waiting import SPACING


def joined(answer: Any, room_id: str) -> Any:
    return answer.get("rooms", {}).get("join", {}).get(room_id, {})


def bodies(section: Any) -> list[str]:
    return [
        e["content"]["body"] for e in section.get("timeline", {}).get("events", []) if "body" in e["content"]
    ]


def ephemeral(section: Any, kind: str) -> Any:
    found = [e["content"] for e in section.get("ephemeral", {}).get("events", []) if e["type"] == kind]
    return found[0] if found else None


async def receipt(client: UserClient, room_id: str, event_id: str, kind: str = "m.read", **body: Any) -> None:
    path = path_of("_matrix/client/v3/rooms", room_id, "receipt", kind, event_id)
    (await client.post(path, json=body)).ok()


@pytest.fixture
async def pair(server: Server) -> tuple[UserClient, UserClient, str]:
    """Alice and Bob in a room that Alice made."""
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await alice.create_room(preset="private_chat", invite=[bob.user_id])
    await bob.join(room_id)
    return alice, bob, room_id


async def test_a_first_sync_shows_the_newest_events_and_the_state_before_them(pair):
    alice, bob, room_id = pair
    for number in range(15):
        await alice.send(room_id, f"message {number}")
    section = joined(await bob.sync(), room_id)
    assert bodies(section) == [f"message {n}" for n in range(5, 15)]
    assert section["timeline"]["limited"] is True
    state = {(e["type"], e["state_key"]) for e in section["state"]["events"]}
    assert {("m.room.create", ""), ("m.room.member", alice.user_id), ("m.room.member", bob.user_id)} <= state
    assert len(state) == len(section["state"]["events"])


async def test_state_in_the_timeline_is_not_in_the_state_before_it(pair):
    alice, bob, room_id = pair
    await alice.send_state(room_id, "m.room.topic", {"topic": "old"})
    for number in range(9):
        await alice.send(room_id, f"{number}")
    await alice.send_state(room_id, "m.room.topic", {"topic": "new"})
    section = joined(await bob.sync(), room_id)
    assert section["timeline"]["events"][-1]["content"]["topic"] == "new"
    assert section["timeline"]["events"][-1]["unsigned"]["prev_content"] == {"topic": "old"}
    topics = [e["content"]["topic"] for e in section["state"]["events"] if e["type"] == "m.room.topic"]
    assert topics == ["old"]


async def test_a_burst_of_messages_takes_few_answers_and_each_arrives_once_in_order(pair):
    alice, bob, room_id = pair
    since = (await bob.sync())["next_batch"]

    async def talk() -> None:
        for number in range(30):
            await alice.send(room_id, f"{number}")

    talking = asyncio.create_task(talk())
    heard: list[str] = []
    answers, began = 0, asyncio.get_running_loop().time()
    # Where the machine is slow, more of them gather than a timeline shows otherwise.
    all_of_them = '{"room":{"timeline":{"limit":100}}}'
    while len(heard) < 30:
        assert not talking.done() or talking.exception() is None
        answer = await bob.sync(since, timeout=20_000, filter=all_of_them)
        since, answers = answer["next_batch"], answers + 1
        heard += bodies(joined(answer, room_id))
    await talking
    assert heard == [str(number) for number in range(30)]
    seconds = asyncio.get_running_loop().time() - began
    assert answers <= 2 + seconds / SPACING


async def test_a_message_wakes_those_who_wait(pair):
    alice, bob, room_id = pair
    since = (await bob.sync())["next_batch"]
    waiting = asyncio.create_task(bob.sync(since, timeout=20_000))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    await alice.send(room_id, "wake up")
    answer = await asyncio.wait_for(waiting, 5)
    assert bodies(joined(answer, room_id)) == ["wake up"]


async def test_a_wait_ends_with_an_empty_answer_that_can_be_continued(pair):
    alice, bob, room_id = pair
    since = (await bob.sync())["next_batch"]
    answer = await bob.sync(since, timeout=50)
    assert "rooms" not in answer
    await alice.send(room_id, "later")
    assert bodies(joined(await bob.sync(answer["next_batch"]), room_id)) == ["later"]


async def test_a_gap_is_marked_and_can_be_filled(pair):
    alice, bob, room_id = pair
    since = (await bob.sync())["next_batch"]
    await alice.send_state(room_id, "m.room.name", {"name": "in the gap"})
    for number in range(30):
        await alice.send(room_id, f"{number}")
    section = joined(await bob.sync(since), room_id)
    assert section["timeline"]["limited"] is True
    assert bodies(section) == [str(n) for n in range(20, 30)]
    assert [e["content"]["name"] for e in section["state"]["events"] if e["type"] == "m.room.name"] == [
        "in the gap"
    ]
    query = {"dir": "b", "from": section["timeline"]["prev_batch"], "to": since, "limit": 50}
    gap = (await bob.get(path_of("_matrix/client/v3/rooms", room_id, "messages"), query=query)).ok()
    assert [e["content"].get("body") for e in gap["chunk"]][:20] == [str(n) for n in reversed(range(20))]


async def test_state_after_holds_the_state_at_the_end_of_the_timeline(pair):
    alice, bob, room_id = pair
    since = (await bob.sync())["next_batch"]
    await alice.send_state(room_id, "m.room.name", {"name": "new"})
    section = joined(await bob.sync(since, use_state_after="true"), room_id)
    assert "state" not in section
    assert [e["content"] for e in section["state_after"]["events"]] == [{"name": "new"}]
    whole = joined(await bob.sync(use_state_after="true"), room_id)
    assert {"name": "new"} in [e["content"] for e in whole["state_after"]["events"]]


async def test_an_invite_shows_the_room_s_face_and_leaving_takes_it_away(server: Server):
    alice, bob = await server.register("alice"), await server.register("bob")
    since = (await bob.sync())["next_batch"]
    room_id = await alice.create_room(name="Garden", invite=[bob.user_id])
    answer = await bob.sync(since)
    state = answer["rooms"]["invite"][room_id]["invite_state"]["events"]
    assert ("m.room.name", {"name": "Garden"}) in [(e["type"], e["content"]) for e in state]
    assert (await bob.sync())["rooms"]["invite"].keys() == {room_id}
    await bob.leave(room_id)
    after = await bob.sync(answer["next_batch"])
    assert room_id in after["rooms"]["leave"]
    assert "rooms" not in await bob.sync()


async def test_joining_brings_the_whole_room_and_leaving_its_last_words(server: Server):
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await alice.create_room(preset="public_chat", name="Open")
    since = (await bob.sync())["next_batch"]
    await bob.join(room_id)
    answer = await bob.sync(since)
    section = joined(answer, room_id)
    seen = [*section["state"]["events"], *section["timeline"]["events"]]
    assert "m.room.create" in {e["type"] for e in seen}
    await alice.send(room_id, "farewell")
    await bob.leave(room_id)
    await alice.send(room_id, "not for Bob")
    left = (await bob.sync(answer["next_batch"]))["rooms"]["leave"][room_id]
    assert bodies(left) == ["farewell"]
    assert left["timeline"]["events"][-1]["content"]["membership"] == "leave"
    rooms = (await bob.sync(filter=json.dumps({"room": {"include_leave": True}})))["rooms"]
    assert bodies(rooms["leave"][room_id]) == ["farewell"]


async def test_a_kick_tells_the_one_who_was_kicked(pair):
    alice, bob, room_id = pair
    since = (await bob.sync())["next_batch"]
    waiting = asyncio.create_task(bob.sync(since, timeout=20_000))
    await asyncio.sleep(0.1)
    path = path_of("_matrix/client/v3/rooms", room_id, "kick")
    (await alice.post(path, json={"user_id": bob.user_id, "reason": "noise"})).ok()
    answer = await asyncio.wait_for(waiting, 5)
    event = answer["rooms"]["leave"][room_id]["timeline"]["events"][-1]
    assert (event["sender"], event["content"]["reason"]) == (alice.user_id, "noise")


async def test_lazily_loaded_members_are_those_who_speak_and_are_sent_once(server: Server):
    alice = await server.register("alice")
    room_id = await alice.create_room(preset="public_chat")
    others = [await server.register(f"user{n}") for n in range(4)]
    for other in others:
        await other.join(room_id)
    # The members of a room without a name are named in its place.
    await alice.send_state(room_id, "m.room.name", {"name": "Home"})
    for number in range(10):
        await alice.send(room_id, f"{number}")
    lazy = json.dumps({"room": {"state": {"lazy_load_members": True}}})

    def members(section: Any) -> set[str]:
        return {e["state_key"] for e in section["state"]["events"] if e["type"] == "m.room.member"}

    bob = others[0]
    first = await bob.sync(filter=lazy)
    assert members(joined(first, room_id)) == {alice.user_id, bob.user_id}
    await others[1].send(room_id, "hello")
    second = await bob.sync(first["next_batch"], filter=lazy)
    assert members(joined(second, room_id)) == {others[1].user_id}
    repeated = await bob.sync(first["next_batch"], filter=lazy)
    assert members(joined(repeated, room_id)) == {others[1].user_id}
    await others[1].send(room_id, "again")
    third = await bob.sync(repeated["next_batch"], filter=lazy)
    assert "state" not in joined(third, room_id) or members(joined(third, room_id)) == set()


async def test_the_transaction_id_comes_back_to_the_device_that_sent(server: Server, pair):
    alice, bob, room_id = pair
    since, bobs = (await alice.sync())["next_batch"], (await bob.sync())["next_batch"]
    await alice.send(room_id, "mine", txn_id="abc")
    event = joined(await alice.sync(since), room_id)["timeline"]["events"][0]
    assert event["unsigned"]["transaction_id"] == "abc"
    event = joined(await bob.sync(bobs), room_id)["timeline"]["events"][0]
    assert "transaction_id" not in event["unsigned"]
    tablet = await server.login("alice")
    assert "transaction_id" not in joined(await tablet.sync(), room_id)["timeline"]["events"][-1]["unsigned"]


async def test_unread_counts_grow_with_messages_and_end_with_a_receipt(pair):
    alice, bob, room_id = pair
    for number in range(3):
        event_id = await alice.send(room_id, f"{number}")
    assert joined(await bob.sync(), room_id)["unread_notifications"]["notification_count"] == 3
    assert joined(await alice.sync(), room_id)["unread_notifications"]["notification_count"] == 0
    since = (await bob.sync())["next_batch"]
    await receipt(bob, room_id, event_id)
    section = joined(await bob.sync(since), room_id)
    assert section["unread_notifications"] == {"notification_count": 0, "highlight_count": 0}
    assert ephemeral(section, "m.receipt")[event_id]["m.read"].keys() == {bob.user_id}


async def test_a_mention_is_highlighted_and_one_s_own_message_reads_all_before_it(pair):
    alice, bob, room_id = pair
    content = {"msgtype": "m.text", "body": "Bob!", "m.mentions": {"user_ids": [bob.user_id]}}
    await alice.send(room_id, content)
    await alice.send(room_id, "more")
    counts = joined(await bob.sync(), room_id)["unread_notifications"]
    assert counts == {"notification_count": 2, "highlight_count": 1}
    await bob.send(room_id, "yes?")
    counts = joined(await bob.sync(), room_id)["unread_notifications"]
    assert counts == {"notification_count": 0, "highlight_count": 0}


async def test_threads_are_counted_apart_for_clients_that_ask_for_it(pair):
    alice, bob, room_id = pair
    root = await alice.send(room_id, "root")
    relation = {"rel_type": "m.thread", "event_id": root}
    for number in range(2):
        content = {"msgtype": "m.text", "body": f"{number}", "m.relates_to": relation}
        last = await alice.send(room_id, content)
    by_thread = json.dumps({"room": {"timeline": {"unread_thread_notifications": True}}})
    section = joined(await bob.sync(filter=by_thread), room_id)
    assert section["unread_notifications"]["notification_count"] == 1
    assert section["unread_thread_notifications"][root]["notification_count"] == 2
    assert joined(await bob.sync(), room_id)["unread_notifications"]["notification_count"] == 3
    await receipt(bob, room_id, last, thread_id=root)
    section = joined(await bob.sync(filter=by_thread), room_id)
    assert section["unread_notifications"]["notification_count"] == 1
    assert "unread_thread_notifications" not in section


async def test_a_private_receipt_is_for_its_user_alone(pair):
    alice, bob, room_id = pair
    event_id = await alice.send(room_id, "secret reader")
    alices, bobs = (await alice.sync())["next_batch"], (await bob.sync())["next_batch"]
    await receipt(bob, room_id, event_id, kind="m.read.private")
    section = joined(await bob.sync(bobs), room_id)
    assert ephemeral(section, "m.receipt")[event_id]["m.read.private"].keys() == {bob.user_id}
    assert section["unread_notifications"]["notification_count"] == 0
    assert "rooms" not in await alice.sync(alices)
    assert ephemeral(joined(await alice.sync(), room_id), "m.receipt") is None


async def test_typing_is_seen_until_it_ends(pair):
    alice, bob, room_id = pair
    path = path_of("_matrix/client/v3/rooms", room_id, "typing", bob.user_id)
    since = (await alice.sync())["next_batch"]
    waiting = asyncio.create_task(alice.sync(since, timeout=20_000))
    await asyncio.sleep(0.1)
    (await bob.put(path, json={"typing": True, "timeout": 30_000})).ok()
    answer = await asyncio.wait_for(waiting, 5)
    assert ephemeral(joined(answer, room_id), "m.typing") == {"user_ids": [bob.user_id]}
    assert "rooms" not in await alice.sync(answer["next_batch"])
    (await bob.put(path, json={"typing": False})).ok()
    answer = await alice.sync(answer["next_batch"])
    assert ephemeral(joined(answer, room_id), "m.typing") == {"user_ids": []}


async def test_account_data_and_tags_arrive_where_they_belong(pair):
    alice, _, room_id = pair
    since = (await alice.sync())["next_batch"]
    own = path_of("_matrix/client/v3/user", alice.user_id, "account_data", "com.example.colour")
    (await alice.put(own, json={"colour": "red"})).ok()
    tag = path_of("_matrix/client/v3/user", alice.user_id, "rooms", room_id, "tags", "m.favourite")
    (await alice.put(tag, json={"order": 0.5})).ok()
    answer = await alice.sync(since)
    assert {"type": "com.example.colour", "content": {"colour": "red"}} in answer["account_data"]["events"]
    data = joined(answer, room_id)["account_data"]["events"]
    assert data == [{"type": "m.tag", "content": {"tags": {"m.favourite": {"order": 0.5}}}}]
    whole = await alice.sync()
    assert {"m.push_rules", "com.example.colour"} <= {e["type"] for e in whole["account_data"]["events"]}
    assert joined(whole, room_id)["account_data"]["events"] == data


async def test_a_redacted_event_is_shown_bare_with_the_reason(pair):
    alice, bob, room_id = pair
    event_id = await alice.send(room_id, "oops")
    await bob.sync()
    path = path_of("_matrix/client/v3/rooms", room_id, "redact", event_id, "r1")
    (await alice.put(path, json={"reason": "typo"})).ok()
    events = {e["event_id"]: e for e in joined(await bob.sync(), room_id)["timeline"]["events"]}
    assert events[event_id]["content"] == {}
    assert events[event_id]["unsigned"]["redacted_because"]["content"]["reason"] == "typo"


async def test_messages_of_ignored_users_are_not_shown(pair):
    alice, bob, room_id = pair
    path = path_of("_matrix/client/v3/user", bob.user_id, "account_data", "m.ignored_user_list")
    (await bob.put(path, json={"ignored_users": {alice.user_id: {}}})).ok()
    since = (await bob.sync())["next_batch"]
    await alice.send(room_id, "unheard")
    await bob.send(room_id, "own")
    assert bodies(joined(await bob.sync(since), room_id)) == ["own"]


async def test_a_token_of_another_database_or_from_the_future_gets_a_full_answer(pair):
    alice, _, room_id = pair
    token = (await alice.sync())["next_batch"]
    generation, position, rest = token.split("_", 2)
    for other in (f"s0000{generation[5:]}_{position}_{rest}", f"{generation}_999999_{rest}"):
        answer = await alice.sync(other)
        assert joined(answer, room_id)["timeline"]["events"]
    refused = await alice.get("/_matrix/client/v3/sync", query={"since": "nonsense"}, valid=False)
    assert (refused.status, refused.json["errcode"]) == (400, "M_INVALID_PARAM")


async def test_full_state_gives_all_state_and_only_new_events(pair):
    alice, bob, room_id = pair
    since = (await bob.sync())["next_batch"]
    await alice.send(room_id, "new")
    section = joined(await bob.sync(since, full_state="true"), room_id)
    assert bodies(section) == ["new"]
    assert "m.room.create" in {e["type"] for e in section["state"]["events"]}


async def test_filters_choose_types_rooms_and_fields(pair):
    alice, bob, room_id = pair
    other = await alice.create_room(invite=[bob.user_id])
    await bob.join(other)
    await alice.send(room_id, "seen")
    await alice.send(room_id, {"x": 1}, kind="com.example.thing")
    await alice.send(other, "not seen")
    fields = ["type", "event_id", "sender", "origin_server_ts", "content.body"]
    room = {"rooms": [room_id], "timeline": {"types": ["m.room.message"]}, "state": {"types": []}}
    answer = await bob.sync(filter=json.dumps({"event_fields": fields, "room": room}))
    assert answer["rooms"]["join"].keys() == {room_id}
    (event,) = joined(answer, room_id)["timeline"]["events"]
    assert event["content"] == {"body": "seen"}
    assert event.keys() == {"type", "event_id", "sender", "origin_server_ts", "content"}


async def test_a_client_that_hangs_up_leaves_no_wait_behind(server: Server, pair):
    alice, bob, room_id = pair
    since = (await bob.sync())["next_batch"]
    waiting = asyncio.create_task(bob.sync(since, timeout=60_000))
    await asyncio.sleep(0.2)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    for _ in range(50):
        if not any(
            task.get_coro().__qualname__.startswith("Connection._answer") for task in asyncio.all_tasks()
        ):
            break
        await asyncio.sleep(0.05)
    else:
        pytest.fail("a request is still being answered")
    await alice.send(room_id, "still here")
    assert bodies(joined(await bob.sync(since), room_id)) == ["still here"]


async def test_a_receipt_never_goes_back(pair):
    alice, bob, room_id = pair
    first = await alice.send(room_id, "first")
    second = await alice.send(room_id, "second")
    await receipt(bob, room_id, second)
    since = (await alice.sync())["next_batch"]
    await receipt(bob, room_id, first)
    assert "rooms" not in await alice.sync(since)
    section = joined(await bob.sync(), room_id)
    assert ephemeral(section, "m.receipt").keys() == {second}
    assert section["unread_notifications"]["notification_count"] == 0


class TestWithShortTimelines:
    @pytest.fixture
    def server_overrides(self) -> dict[str, Any]:
        return {"filter_timeline_limit": 3}

    async def test_a_filter_can_t_ask_for_more_events_than_the_configuration_allows(self, pair):
        alice, bob, room_id = pair
        for number in range(6):
            await alice.send(room_id, f"{number}")
        wanted = json.dumps({"room": {"timeline": {"limit": 50}}})
        section = joined(await bob.sync(filter=wanted), room_id)
        assert bodies(section) == ["3", "4", "5"]
        assert section["timeline"]["limited"] is True
