"""Devices of a user of another server: known as they change, without asking again each time."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.federated import Federated
from tests.federation.following import Follower
from tests.federation.test_sending_edus import upload_keys
from tests.server import UserClient


async def devices_of(asking: UserClient, user_id: str) -> set[str]:
    body = {"device_keys": {user_id: []}}
    answer = (await asking.post("/_matrix/client/v3/keys/query", json=body)).ok()
    assert answer.get("failures", {}) == {}
    return set(answer["device_keys"].get(user_id, {}))


def told_of(user_id: str) -> Any:
    return lambda answer: user_id in answer.get("device_lists", {}).get("changed", [])


async def test_changes_are_told_one_by_one_and_nobody_has_to_ask_for_the_whole_list_again(
    alpha: Federated, beta: Federated
) -> None:
    alice, bob = await alpha.register("alice"), await beta.register("bob")
    await upload_keys(alice)
    room_id = await alice.create_room(preset="public_chat", room_alias_name="tea")
    await bob.join(f"#tea:{alpha.server_name}")
    following = Follower(bob)
    await following.membership(room_id, "join")
    assert await devices_of(bob, alice.user_id) == {alice.device_id}
    asked = [call.target for call in beta.calls if "/user/" in call.target]
    known = {alice.device_id}
    for _ in range(3):
        following.answers.clear()
        another = await alpha.login("alice")
        await upload_keys(another)
        known.add(another.device_id)
        await following.until(told_of(alice.user_id), "a new device")
        async with asyncio.timeout(10):
            while await devices_of(bob, alice.user_id) != known:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    assert [call.target for call in beta.calls if "/user/" in call.target] == asked


async def test_a_message_to_a_device_of_another_server_arrives_once(
    alpha: Federated, beta: Federated
) -> None:
    alice, bob = await alpha.register("alice"), await beta.register("bob")
    following = Follower(bob)
    await following.next(0)
    messages = {bob.user_id: {bob.device_id: {"n": 1}}}
    for _ in range(2):
        sent = await alice.put("/_matrix/client/v3/sendToDevice/m.test/1", json={"messages": messages})
        sent.ok()
    found = await following.until(lambda answer: answer.get("to_device", {}).get("events"), "a message")
    assert found == [{"type": "m.test", "sender": alice.user_id, "content": {"n": 1}}]


async def test_after_the_last_room_is_left_devices_are_asked_for_anew_each_time(
    alpha: Federated, beta: Federated
) -> None:
    alice, bob = await alpha.register("alice"), await beta.register("bob")
    await upload_keys(alice)
    room_id = await alice.create_room(preset="public_chat", room_alias_name="tea")
    await bob.join(f"#tea:{alpha.server_name}")
    assert await devices_of(bob, alice.user_id) == {alice.device_id}
    (await bob.post(f"/_matrix/client/v3/rooms/{room_id}/leave", json={})).ok()
    another = await alpha.login("alice")
    await upload_keys(another)
    assert await devices_of(bob, alice.user_id) == {alice.device_id, another.device_id}
