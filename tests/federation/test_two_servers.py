"""People of two servers in one room: what each can rely on of the other's."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from tests.federated import Federated
from tests.federation.following import Follower
from tests.http_client import path_of
from tests.server import UserClient

from ranvier.remote.transactions import send_transaction
from ranvier.rooms.appending import Appending, Draft
from ranvier.rooms.heads import Heads

ROOMS = "_matrix/client/v3/rooms"
VERSIONS = ("1", "3", "6", "10", "11", "12")


async def _public_room(user: UserClient, **more: Any) -> str:
    return await user.create_room(preset="public_chat", **more)


async def _join(user: UserClient, room_id: str, via: Federated) -> None:
    answer = await user.post(
        path_of("_matrix/client/v3/join", room_id), json={}, query={"via": via.server_name}
    )
    assert answer.ok()["room_id"] == room_id


async def _state(user: UserClient, room_id: str) -> dict[tuple[str, str], str]:
    events = (await user.get(path_of(ROOMS, room_id, "state"))).ok()
    return {(event["type"], event["state_key"]): event["event_id"] for event in events}


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_user_joins_by_alias_and_both_hear_each_other(
    alpha: Federated, beta: Federated, version: str
) -> None:
    alice, bob = await alpha.register("alice"), await beta.register("bob")
    room_id = await _public_room(alice, room_alias_name="tea", room_version=version, name="Tea")
    following_alice = Follower(alice)
    await following_alice.next(0)
    assert await bob.join(f"#tea:{alpha.server_name}") == room_id
    following_bob = Follower(bob)
    joined = await following_bob.membership(room_id, "join")
    assert any(event["type"] == "m.room.name" for event in joined["state"]["events"])
    await following_alice.until(
        lambda answer: any(
            event["state_key"] == bob.user_id
            for event in answer.get("rooms", {})
            .get("join", {})
            .get(room_id, {})
            .get("timeline", {})
            .get("events", [])
            if event["type"] == "m.room.member"
        ),
        "bob's join",
    )
    from_alice = await alice.send(room_id, "hello")
    assert (await following_bob.event(room_id, from_alice))["content"]["body"] == "hello"
    from_bob = await bob.send(room_id, "hello yourself")
    assert (await following_alice.event(room_id, from_bob))["sender"] == bob.user_id
    assert await _state(alice, room_id) == await _state(bob, room_id)


async def test_an_invited_user_of_another_server_sees_what_the_room_is_and_joins(
    alpha: Federated, beta: Federated
) -> None:
    alice, bob = await alpha.register("alice"), await beta.register("bob")
    room_id = await alice.create_room(preset="private_chat", name="Tea")
    await alice.invite(room_id, bob.user_id)
    following = Follower(bob)
    invite = await following.membership(room_id, "invite")
    shown = {event["type"]: event for event in invite["invite_state"]["events"]}
    assert shown["m.room.name"]["content"] == {"name": "Tea"}
    assert shown["m.room.member"]["content"]["membership"] == "invite"
    assert await bob.join(room_id) == room_id
    await following.membership(room_id, "join")
    assert await _state(alice, room_id) == await _state(bob, room_id)


async def test_an_invite_can_be_rejected_and_the_inviter_hears_of_it(
    alpha: Federated, beta: Federated
) -> None:
    alice, bob = await alpha.register("alice"), await beta.register("bob")
    room_id = await alice.create_room(preset="private_chat", invite=[bob.user_id])
    following = Follower(bob)
    await following.membership(room_id, "invite")
    await bob.leave(room_id)
    await following.membership(room_id, "leave")
    members = (await alice.get(path_of(ROOMS, room_id, "members"))).ok()["chunk"]
    assert {m["state_key"]: m["content"]["membership"] for m in members}[bob.user_id] == "leave"
    assert room_id not in (await bob.sync()).get("rooms", {}).get("invite", {})


async def test_an_invite_that_is_taken_back_is_gone_for_the_invited(
    alpha: Federated, beta: Federated
) -> None:
    alice, bob = await alpha.register("alice"), await beta.register("bob")
    room_id = await alice.create_room(preset="private_chat", invite=[bob.user_id])
    following = Follower(bob)
    await following.membership(room_id, "invite")
    (await alice.post(path_of(ROOMS, room_id, "kick"), json={"user_id": bob.user_id})).ok()
    left = await following.membership(room_id, "leave")
    assert left["timeline"]["events"][-1]["sender"] == alice.user_id


async def test_who_knocks_from_another_server_is_let_in(alpha: Federated, beta: Federated) -> None:
    alice, bob = await alpha.register("alice"), await beta.register("bob")
    rule = {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}
    room_id = await alice.create_room(preset="private_chat", name="Tea", initial_state=[rule])
    knock = await bob.post(
        path_of("_matrix/client/v3/knock", room_id), json={"reason": "tea"}, query={"via": alpha.server_name}
    )
    knock.ok()
    following = Follower(bob)
    shown = await following.membership(room_id, "knock")
    assert "m.room.name" in {event["type"] for event in shown["knock_state"]["events"]}
    await alice.invite(room_id, bob.user_id)
    await following.membership(room_id, "invite")
    await bob.join(room_id)
    await following.membership(room_id, "join")


async def test_members_of_a_space_join_a_restricted_room_from_another_server(
    alpha: Federated, beta: Federated
) -> None:
    alice, bob, eve = await alpha.register("alice"), await beta.register("bob"), await beta.register("eve")
    space = await _public_room(alice, creation_content={"type": "m.space"})
    rule = {"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": space}]}
    room_id = await alice.create_room(
        preset="private_chat",
        initial_state=[{"type": "m.room.join_rules", "state_key": "", "content": rule}],
    )
    path = path_of("_matrix/client/v3/join", room_id)
    refused = await eve.post(path, json={}, query={"via": alpha.server_name})
    assert (refused.status, refused.errcode) == (403, "M_FORBIDDEN")
    await _join(bob, space, alpha)
    await _join(bob, room_id, alpha)
    joined = (await bob.get(path_of(ROOMS, room_id, "state", "m.room.member", bob.user_id))).ok()
    assert joined["join_authorised_via_users_server"] == alice.user_id


async def test_of_a_join_that_another_server_let_in_that_server_tells(
    alpha: Federated, beta: Federated
) -> None:
    alice, bob, eve = await alpha.register("alice"), await beta.register("bob"), await beta.register("eve")
    space = await _public_room(alice, creation_content={"type": "m.space"})
    rule = {"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": space}]}
    room_id = await alice.create_room(
        initial_state=[{"type": "m.room.join_rules", "state_key": "", "content": rule}],
        power_level_content_override={"invite": 50},
    )
    following = Follower(alice)
    for user in (bob, eve):
        await _join(user, space, alpha)
        # Who lets them in has to know that they are in the space.
        event_id = (await _state(user, space))["m.room.member", user.user_id]
        await following.event(space, event_id)
        await _join(user, room_id, alpha)
    joined = (await _state(eve, room_id))["m.room.member", eve.user_id]
    # Nobody here could let her in, so that the other server has the event already when it becomes ours.
    await following.event(room_id, await bob.send(room_id, "hello"))
    sent = [orjson.loads(call.body) for call in beta.calls if "/send/" in call.target and call.body]
    members = {
        (pdu["room_id"], pdu.get("state_key"))
        for transaction in sent
        for pdu in transaction["pdus"]
        if pdu["type"] == "m.room.member"
    }
    assert (room_id, eve.user_id) not in members
    assert (await _state(alice, room_id))["m.room.member", eve.user_id] == joined


async def test_the_past_of_a_room_is_read_page_by_page_from_the_other_server(
    alpha: Federated, beta: Federated
) -> None:
    alice, bob = await alpha.register("alice"), await beta.register("bob")
    room_id = await _public_room(alice)
    sent = [await alice.send(room_id, f"message {number}") for number in range(150)]
    await _join(bob, room_id, alpha)
    found, start = [], None
    while True:
        query = {"dir": "b", "limit": 40, **({"from": start} if start else {})}
        page = (await bob.get(path_of(ROOMS, room_id, "messages"), query=query)).ok()
        found += [event["event_id"] for event in page["chunk"] if event["type"] == "m.room.message"]
        start = page.get("end")
        if start is None:
            break
    assert list(reversed(found)) == sent


async def test_typing_and_receipts_are_seen_on_the_other_server(alpha: Federated, beta: Federated) -> None:
    alice, bob = await alpha.register("alice"), await beta.register("bob")
    room_id = await _public_room(alice)
    await _join(bob, room_id, alpha)
    following = Follower(bob)
    event_id = await alice.send(room_id, "hello")
    await following.event(room_id, event_id)
    typing = path_of(ROOMS, room_id, "typing", alice.user_id)
    (await alice.put(typing, json={"typing": True, "timeout": 30_000})).ok()

    def ephemeral(kind: str) -> Any:
        return lambda answer: [
            event["content"]
            for event in answer.get("rooms", {})
            .get("join", {})
            .get(room_id, {})
            .get("ephemeral", {})
            .get("events", [])
            if event["type"] == kind and event["content"] not in ({}, {"user_ids": []})
        ]

    assert (await following.until(ephemeral("m.typing"), "typing"))[0]["user_ids"] == [alice.user_id]
    (await alice.post(path_of(ROOMS, room_id, "receipt", "m.read", event_id), json={})).ok()
    receipts = await following.until(ephemeral("m.receipt"), "receipts")
    assert alice.user_id in receipts[-1][event_id]["m.read"]


async def test_who_is_kicked_leaves_on_their_own_server(alpha: Federated, beta: Federated) -> None:
    alice, bob = await alpha.register("alice"), await beta.register("bob")
    room_id = await _public_room(alice)
    await _join(bob, room_id, alpha)
    following = Follower(bob)
    await following.membership(room_id, "join")
    (await alice.post(path_of(ROOMS, room_id, "kick"), json={"user_id": bob.user_id, "reason": "tea"})).ok()
    left = await following.membership(room_id, "leave")
    assert left["timeline"]["events"][-1]["content"]["reason"] == "tea"


async def test_who_returns_after_all_of_theirs_had_left_finds_the_room_as_it_is_now(
    alpha: Federated, beta: Federated
) -> None:
    alice, bob = await alpha.register("alice"), await beta.register("bob")
    room_id = await _public_room(alice, name="Tea")
    await _join(bob, room_id, alpha)
    await bob.leave(room_id)
    await alice.send_state(room_id, "m.room.name", {"name": "Coffee"})
    await alice.send(room_id, "unheard")
    await _join(bob, room_id, alpha)
    assert (await bob.get(path_of(ROOMS, room_id, "state", "m.room.name"))).ok() == {"name": "Coffee"}
    assert await _state(alice, room_id) == await _state(bob, room_id)
    following = Follower(bob)
    heard = await alice.send(room_id, "heard")
    await following.event(room_id, heard)


async def test_keys_are_found_and_messages_to_devices_arrive_across_servers(
    alpha: Federated, beta: Federated
) -> None:
    alice, bob = await alpha.register("alice"), await beta.register("bob")
    room_id = await _public_room(alice)
    await _join(bob, room_id, alpha)
    keys = {
        "user_id": bob.user_id,
        "device_id": bob.device_id,
        "algorithms": ["m.megolm.v1.aes-sha2"],
        "keys": {f"ed25519:{bob.device_id}": "x" * 43},
        "signatures": {bob.user_id: {f"ed25519:{bob.device_id}": "y" * 86}},
    }
    one_time = {"signed_curve25519:AAAA": {"key": "z" * 43, "signatures": {bob.user_id: {"ed25519:x": "s"}}}}
    following = Follower(alice)
    await following.next(0)
    await bob.post("/_matrix/client/v3/keys/upload", json={"device_keys": keys, "one_time_keys": one_time})
    await following.until(
        lambda answer: bob.user_id in answer.get("device_lists", {}).get("changed", []), "bob's new keys"
    )
    found = (await alice.post("/_matrix/client/v3/keys/query", json={"device_keys": {bob.user_id: []}})).ok()
    assert found["device_keys"][bob.user_id][bob.device_id]["keys"] == keys["keys"]
    wanted = {bob.user_id: {bob.device_id: "signed_curve25519"}}
    claimed = (await alice.post("/_matrix/client/v3/keys/claim", json={"one_time_keys": wanted})).ok()
    assert claimed["one_time_keys"][bob.user_id][bob.device_id] == one_time
    messages = {bob.user_id: {bob.device_id: {"secret": "tea"}}}
    (
        await alice.put(
            path_of("_matrix/client/v3/sendToDevice", "org.example.secret", "1"), json={"messages": messages}
        )
    ).ok()
    told = await Follower(bob).until(lambda answer: answer.get("to_device", {}).get("events"), "the message")
    assert told[0]["content"] == {"secret": "tea"} and told[0]["sender"] == alice.user_id


async def test_content_and_profiles_of_another_server_are_shown(alpha: Federated, beta: Federated) -> None:
    alice, bob = await alpha.register("alice"), await beta.register("bob")
    uploaded = await alice.post(
        "/_matrix/media/v3/upload",
        body=b"a recipe for tea",
        query={"filename": "tea.txt"},
        headers={"Content-Type": "text/plain"},
    )
    media_id = uploaded.ok()["content_uri"].rpartition("/")[2]
    got = await bob.get(path_of("_matrix/client/v1/media/download", alpha.server_name, media_id))
    assert (got.status, got.body, got.headers["Content-Type"]) == (200, b"a recipe for tea", "text/plain")
    assert 'filename="tea.txt"' in got.headers["Content-Disposition"]
    name = path_of("_matrix/client/v3/profile", alice.user_id, "displayname")
    (await alice.put(name, json={"displayname": "Alice"})).ok()
    profile = (await bob.get(path_of("_matrix/client/v3/profile", alice.user_id))).ok()
    assert profile["displayname"] == "Alice"


async def test_who_returns_to_a_room_is_told_the_keys_that_came_meanwhile(
    alpha: Federated, beta: Federated
) -> None:
    alice, bob = await alpha.register("alice"), await beta.register("bob")
    room_id = await _public_room(alice)
    await _join(bob, room_id, alpha)

    async def upload(key: str) -> dict[str, str]:
        keys = {f"ed25519:{alice.device_id}": key * 43}
        device = {
            "user_id": alice.user_id,
            "device_id": alice.device_id,
            "algorithms": ["m.megolm.v1.aes-sha2"],
            "keys": keys,
            "signatures": {alice.user_id: {f"ed25519:{alice.device_id}": "y" * 86}},
        }
        (await alice.post("/_matrix/client/v3/keys/upload", json={"device_keys": device})).ok()
        return keys

    async def known() -> dict[str, str]:
        asked = {"device_keys": {alice.user_id: []}}
        found = (await bob.post("/_matrix/client/v3/keys/query", json=asked)).ok()
        keys: dict[str, str] = found["device_keys"][alice.user_id][alice.device_id]["keys"]
        return keys

    assert await upload("a") == await known()
    following = Follower(alice)
    await bob.leave(room_id)

    def has_left(answer: Any) -> bool:
        room = answer.get("rooms", {}).get("join", {}).get(room_id, {})
        events = room.get("timeline", {}).get("events", [])
        return any(
            e.get("state_key") == bob.user_id and e["content"]["membership"] == "leave" for e in events
        )

    await following.until(has_left, "bob's leave")
    later = await upload("b")
    await _join(bob, room_id, alpha)
    assert await known() == later


async def test_a_time_before_one_came_leads_to_an_event_of_the_other_server(
    alpha: Federated, beta: Federated
) -> None:
    alice, bob = await alpha.register("alice"), await beta.register("bob")
    room_id = await _public_room(alice)
    sent = [await alice.send(room_id, f"message {number}") for number in range(30)]
    event = (await alice.get(path_of(ROOMS, room_id, "event", sent[15]))).ok()
    await alice.send_state(room_id, "m.room.history_visibility", {"history_visibility": "joined"})
    hidden = await alice.send(room_id, "not for Bob")
    hidden_at = (await alice.get(path_of(ROOMS, room_id, "event", hidden))).ok()["origin_server_ts"]
    await _join(bob, room_id, alpha)
    path = path_of("_matrix/client/v1/rooms", room_id, "timestamp_to_event")
    found = (await bob.get(path, query={"ts": event["origin_server_ts"], "dir": "f"})).ok()
    assert found["origin_server_ts"] == event["origin_server_ts"]
    assert found["event_id"] in sent
    context = (await bob.get(path_of(ROOMS, room_id, "context", found["event_id"]))).ok()
    assert context["event"]["event_id"] == found["event_id"]
    later = (await bob.get(path, query={"ts": hidden_at, "dir": "f"})).ok()
    assert later["event_id"] != hidden


async def test_a_receipt_that_comes_before_its_event_counts_once_that_is_there(
    alpha: Federated, beta: Federated
) -> None:
    alice, bob = await alpha.register("alice"), await beta.register("bob")
    room_id = await _public_room(alice)
    await _join(bob, room_id, alpha)
    first = await alice.send(room_id, "first")
    await Follower(bob).event(room_id, first)
    (await alice.post(path_of(ROOMS, room_id, "receipt", "m.read", first), json={})).ok()
    following = Follower(bob)

    def read_up_to(event_id: str) -> Any:
        return lambda answer: [
            event
            for event in answer.get("rooms", {})
            .get("join", {})
            .get(room_id, {})
            .get("ephemeral", {})
            .get("events", [])
            if event["type"] == "m.receipt" and event_id in event["content"]
        ]

    await following.until(read_up_to(first), "the first receipt")
    room = await alpha.part(Heads).get(room_id)
    assert room is not None
    coming = await alpha.part(Appending).propose(
        room, Draft(alice.user_id, "m.room.message", {"body": "second"})
    )
    receipt = {"m.read": {alice.user_id: {"event_ids": [coming.event_id], "data": {"ts": 1}}}}
    edu = {"edu_type": "m.receipt", "content": {room_id: receipt}}
    assert (
        await send_transaction(
            alpha.remote, beta.server_name, "one", origin_server_ts=1, pdus=[coming.pdu], edus=[edu]
        )
        == {}
    )
    await following.until(read_up_to(coming.event_id), "the receipt of what came with it")
