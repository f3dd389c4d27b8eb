"""Who is there: what users who share a room see of one another."""

import asyncio
import json
from typing import Any

import pytest
from tests.http_client import path_of
from tests.server import Server, UserClient, start_server

from ranvier.protocol.presence import Presence
from ranvier.rooms.heads import Heads
from ranvier.rooms.presence import Presences
from ranvier.store import rooms as rooms_store
from ranvier.store.rooms import Membership


def seen(answer: Any) -> dict[str, Any]:
    """The contents of the presence events by sender; each stands once."""
    events = answer.get("presence", {}).get("events", [])
    found = {event["sender"]: event["content"] for event in events}
    assert len(found) == len(events)
    return found


def states(answer: Any) -> dict[str, str]:
    return {user: content["presence"] for user, content in seen(answer).items()}


async def say(client: UserClient, presence: str, status_msg: str | None = None) -> None:
    body = {"presence": presence, **({"status_msg": status_msg} if status_msg is not None else {})}
    (await client.put(path_of("_matrix/client/v3/presence", client.user_id, "status"), json=body)).ok()


async def ask(client: UserClient, user_id: str) -> Any:
    return await client.get(path_of("_matrix/client/v3/presence", user_id, "status"))


@pytest.fixture
async def pair(server: Server) -> tuple[UserClient, UserClient, str]:
    """Alice and Bob in a room that Alice made."""
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await alice.create_room(preset="private_chat", invite=[bob.user_id])
    await bob.join(room_id)
    return alice, bob, room_id


class Clock:
    """Time as the presences of a server see it."""

    def __init__(self, server: Server) -> None:
        self.presences = server.composition.parts.get(Presences)
        self.ahead = 0
        real = self.presences._now
        self.presences._now = lambda: real() + self.ahead

    def pass_(self, seconds: float) -> None:
        self.ahead += int(seconds * 1000)
        self.presences.expire()


async def test_who_syncs_is_online_for_those_in_the_same_room(pair, server):
    alice, bob, _ = pair
    carol = await server.register("carol")
    since = (await bob.sync())["next_batch"]
    await alice.sync()
    await carol.sync()
    content = seen(await bob.sync(since))
    assert set(content) == {alice.user_id}
    assert content[alice.user_id]["presence"] == "online"
    assert content[alice.user_id]["currently_active"] is True
    assert content[alice.user_id]["last_active_ago"] < 5000
    assert states(await bob.sync()) == {alice.user_id: "online", bob.user_id: "online"}


async def test_a_change_is_told_once(pair):
    alice, bob, _ = pair
    since = (await bob.sync())["next_batch"]
    await say(alice, "online", "in the garden")
    answer = await bob.sync(since)
    assert seen(answer)[alice.user_id]["status_msg"] == "in the garden"
    assert "presence" not in await bob.sync(answer["next_batch"])


async def test_a_change_wakes_those_who_wait(pair):
    alice, bob, _ = pair
    since = (await bob.sync())["next_batch"]
    waiting = asyncio.create_task(bob.sync(since, timeout=20_000))
    await asyncio.sleep(0.1)
    await say(alice, "unavailable")
    assert states(await asyncio.wait_for(waiting, 5)) == {alice.user_id: "unavailable"}


async def test_a_change_that_is_not_for_a_client_does_not_end_its_wait(pair, server):
    _, bob, _ = pair
    stranger = await server.register("stranger")
    await bob.sync()
    since = (await bob.sync())["next_batch"]
    waiting = asyncio.ensure_future(bob.sync(since, timeout=30_000))
    blind = asyncio.ensure_future(
        bob.sync(since, timeout=30_000, filter=json.dumps({"presence": {"types": []}}))
    )
    await asyncio.sleep(0.1)
    await say(stranger, "unavailable", "nobody knows me")
    server.composition.parts.get(Presences).flush()
    await asyncio.sleep(0.2)
    assert not waiting.done()
    await say(pair[0], "unavailable")
    server.composition.parts.get(Presences).flush()
    assert states(await waiting) == {pair[0].user_id: "unavailable"}
    assert not blind.done()
    blind.cancel()


async def test_set_presence_of_a_sync_says_idle_or_nothing(pair):
    alice, bob, _ = pair
    since = (await bob.sync())["next_batch"]
    await alice.sync(set_presence="offline")
    answer = await bob.sync(since)
    assert seen(answer) == {}
    await alice.sync(set_presence="unavailable")
    assert states(await bob.sync(answer["next_batch"])) == {alice.user_id: "unavailable"}


async def test_who_does_nothing_gets_idle_and_who_sends_is_online_again(pair, server):
    alice, bob, room_id = pair
    clock = Clock(server)
    await alice.sync()
    answer = await bob.sync()
    for _ in range(13):
        clock.pass_(25)
        since = (await alice.sync())["next_batch"]
    answer = await bob.sync(answer["next_batch"])
    assert states(answer)[alice.user_id] == "unavailable"
    await alice.send(room_id, "here I am")
    answer = await bob.sync(answer["next_batch"])
    assert states(answer)[alice.user_id] == "online"
    for seconds in (25, 25, 12):
        clock.pass_(seconds)
        await alice.sync(since)
    content = seen(await bob.sync(answer["next_batch"]))[alice.user_id]
    assert (content["presence"], content["currently_active"]) == ("online", False)
    assert content["last_active_ago"] >= 60_000


async def test_who_no_longer_syncs_is_offline(pair, server):
    alice, bob, _ = pair
    clock = Clock(server)
    await alice.sync()
    since = (await bob.sync(set_presence="offline"))["next_batch"]
    clock.pass_(29)
    assert "presence" not in await bob.sync(since, set_presence="offline")
    clock.pass_(2)
    assert states(await bob.sync(since, set_presence="offline")) == {alice.user_id: "offline"}
    assert (await ask(bob, alice.user_id)).ok()["presence"] == "offline"
    # Who waits for news is there for all that time.
    waiting = asyncio.create_task(alice.sync((await alice.sync())["next_batch"], timeout=20_000))
    await asyncio.sleep(0.7)
    clock.pass_(120)
    assert (await ask(bob, alice.user_id)).ok()["presence"] == "online"
    waiting.cancel()


async def test_coming_to_a_room_shows_who_is_there_both_ways(server):
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await alice.create_room(preset="public_chat")
    alice_since = (await alice.sync())["next_batch"]
    bob_since = (await bob.sync())["next_batch"]
    assert (await ask(bob, alice.user_id)).status == 403
    await bob.join(room_id)
    assert states(await bob.sync(bob_since))[alice.user_id] == "online"
    assert states(await alice.sync(alice_since))[bob.user_id] == "online"
    assert (await ask(bob, alice.user_id)).ok()["presence"] == "online"
    await bob.leave(room_id)
    since = (await bob.sync())["next_batch"]
    await say(alice, "unavailable")
    assert seen(await bob.sync(since)) == {}


async def test_filters_and_ignored_users_apply(pair):
    alice, bob, _ = pair
    await alice.sync()
    unwanted = json.dumps({"presence": {"not_senders": [alice.user_id]}})
    assert alice.user_id not in seen(await bob.sync(filter=unwanted))
    assert "presence" not in await bob.sync(filter=json.dumps({"presence": {"types": []}}))
    ignored = {"ignored_users": {alice.user_id: {}}}
    path = path_of("_matrix/client/v3/user", bob.user_id, "account_data", "m.ignored_user_list")
    (await bob.put(path, json=ignored)).ok()
    assert set(seen(await bob.sync())) == {bob.user_id}


async def test_nobody_sets_another_s_presence_or_one_that_there_is_not(pair):
    alice, bob, _ = pair
    path = path_of("_matrix/client/v3/presence", alice.user_id, "status")
    assert (await bob.put(path, json={"presence": "online"})).status == 403
    for body in ({}, {"presence": "dancing"}, {"presence": "online", "status_msg": 7}):
        assert (await alice.put(path, json=body, valid=False)).status == 400
    assert (await alice.put(path, json={"presence": "online", "status_msg": "x" * 2000})).status == 413


@pytest.mark.parametrize("server_overrides", [{"presence": {"enabled": False}}, {"use_presence": False}])
async def test_a_server_without_presence_tells_of_nobody(pair):
    alice, bob, _ = pair
    await say(alice, "online", "unheard")
    await alice.sync()
    assert "presence" not in await bob.sync()
    assert (await ask(bob, alice.user_id)).ok() == {"presence": "offline"}


@pytest.mark.parametrize("server_overrides", [{"presence": {"include_offline_users_on_sync": True}}])
async def test_a_status_message_outlives_the_server(
    pair, server, tmp_path, database_settings, server_overrides
):
    alice, _, _ = pair
    await say(alice, "online", "back on Monday")
    await server.process.stop()
    again = await start_server(tmp_path, database=database_settings, **server_overrides)
    try:
        bob = await again.login("bob")
        content = (await ask(bob, alice.user_id)).ok()
        assert (content["presence"], content["status_msg"]) == ("offline", "back on Monday")
        assert seen(await bob.sync())[alice.user_id]["status_msg"] == "back on Monday"
        alice = await again.login("alice")
        await alice.sync()
        content = (await ask(bob, alice.user_id)).ok()
        assert (content["presence"], content["status_msg"]) == ("online", "back on Monday")
    finally:
        await again.close()


async def test_a_peer_tells_of_its_users_who_share_a_room(pair, server):
    _, bob, room_id = pair
    clock = Clock(server)
    since = (await bob.sync())["next_batch"]
    friend, stranger = "@friend:peer.example", "@stranger:peer.example"
    room = (await server.composition.parts.get(Heads).get(room_id)).nid
    member = Membership(friend, room_id, room, "join", 0, friend, False, None)
    await server.composition.ground.writer.run(lambda t: rooms_store.set_memberships(t, [member]))
    push = [
        {"user_id": friend, "presence": "online", "last_active_ago": 5, "status_msg": "hi"},
        {"user_id": stranger, "presence": "online", "last_active_ago": 5},
    ]
    await clock.presences.take("peer.example", {"push": push})
    answer = await bob.sync(since)
    assert set(seen(answer)) == {friend}
    assert seen(answer)[friend]["status_msg"] == "hi"
    assert (await ask(bob, friend)).ok()["presence"] == "online"
    assert (await ask(bob, stranger)).status == 403
    # What a peer said holds for half an hour.
    clock.pass_(31 * 60)
    assert states(await bob.sync(answer["next_batch"]))[friend] == "offline"


async def test_peers_are_told_of_users_of_this_server_with_the_rooms_they_are_in(pair, server):
    alice, _, _ = pair
    presences = server.composition.parts.get(Presences)
    told = []
    presences.when_changed(lambda: told.append(True))
    await say(alice, "unavailable", "brb")
    counter, changes = presences.local_changes(0)
    [(update, audiences)] = [one for one in changes if one[0].user_id == alice.user_id]
    assert update.presence == Presence("unavailable", "brb")
    assert len(audiences) == 1
    assert [one.user_id for one in presences.local_within(next(iter(audiences)))] == [alice.user_id]
    assert presences.local_changes(counter) == (counter, [])
    presences.flush()
    assert told
