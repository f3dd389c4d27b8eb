"""Rooms with a policy server: what it does not recommend is not sent, and not shown."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.authority import Authority
from tests.clients.waiting import eventually
from tests.federated import Federated
from tests.federation.following import Follower
from tests.http_client import path_of
from tests.policy_server import PolicyServer
from tests.server import UserClient

ROOMS = "_matrix/client/v3/rooms"


@pytest.fixture
async def policy(authority: Authority) -> AsyncIterator[PolicyServer]:
    """It answers."""
    made = PolicyServer(authority)
    await made.start()
    yield made
    await made.stop()


async def _enter(user: UserClient, policy: PolicyServer, room_id: str) -> None:
    (
        await user.post(
            path_of("_matrix/client/v3/join", room_id), json={}, query={"via": policy.server_name}
        )
    ).ok()


async def test_what_is_sent_bears_its_signature_and_what_it_refuses_is_not_sent(
    alpha: Federated, policy: PolicyServer
) -> None:
    room = policy.guarded_room("guarded")
    alice = await alpha.register("alice")
    await _enter(alice, policy, room.room_id)
    said = await alice.send(room.room_id, "hello", txn_id="once")
    assert await alice.send(room.room_id, "hello", txn_id="once") == said
    refused = await alice.put(
        path_of(ROOMS, room.room_id, "send", "m.room.message", "t"),
        json={"msgtype": "m.text", "body": "spam"},
    )
    assert (refused.status, refused.errcode) == (400, "M_FORBIDDEN")
    assert refused.json["error"] == "This is spam, I think."
    await alice.send_state(
        room.room_id, "m.room.member", {"membership": "join", "displayname": "A"}, alice.user_id
    )

    async def two_came() -> bool:
        return len(policy.told) >= 2

    await eventually(two_came, "both events came")
    assert all(policy.has_signed(pdu) for pdu in policy.told)
    assert [pdu["content"].get("body") for pdu in policy.told if pdu["type"] == "m.room.message"] == ["hello"]
    shown = (await alice.get(path_of(ROOMS, room.room_id, "event", said))).ok()
    assert shown["unsigned"]["transaction_id"] == "once"


async def test_it_is_asked_about_what_comes_unsigned_and_spam_is_shown_to_nobody(
    alpha: Federated, policy: PolicyServer
) -> None:
    room = policy.guarded_room("guarded")
    alice = await alpha.register("alice")
    await _enter(alice, policy, room.room_id)
    following = Follower(alice)
    await following.next(0)
    good = await policy.say(alpha.server_name, room, "good morning")
    spam = await policy.say(alpha.server_name, room, "spam and eggs")
    last = await policy.say(alpha.server_name, room, "good night")
    await following.event(room.room_id, good.event_id)
    await following.event(room.room_id, last.event_id)
    seen = [event["event_id"] for event in following.timeline[room.room_id]]
    assert spam.event_id not in seen
    hidden = await alice.get(path_of(ROOMS, room.room_id, "event", spam.event_id))
    assert hidden.status == 404


async def test_while_it_can_not_be_asked_nothing_is_sent(alpha: Federated, policy: PolicyServer) -> None:
    room = policy.guarded_room("guarded")
    alice = await alpha.register("alice")
    await _enter(alice, policy, room.room_id)
    await policy.stop()
    path = path_of(ROOMS, room.room_id, "send", "m.room.message", "t")
    refused = await alice.put(path, json={"msgtype": "m.text", "body": "hello"})
    assert (refused.status, refused.errcode) == (403, "M_FORBIDDEN")
    assert "policy server" in refused.json["error"]
