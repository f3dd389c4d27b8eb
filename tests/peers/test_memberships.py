"""Who goes, who is sent away, and who returns."""

from __future__ import annotations

import pytest
from tests.http_client import path_of
from tests.peers.pair import ROOMS, Pair, content_of, hears_from_now, state_of


async def test_who_is_kicked_or_banned_leaves_on_their_own_server(pair: Pair) -> None:
    alice, bob = await pair.at_home("alice"), await pair.from_away("bob")
    room_id = await pair.shared(alice, bob)
    bob_hears = await hears_from_now(bob)
    for verb in ("kick", "ban"):
        (await alice.post(path_of(ROOMS, room_id, verb), json={"user_id": bob.user_id, "reason": verb})).ok()
        left = await bob_hears.membership(room_id, "leave")
        last = left["timeline"]["events"][-1]
        assert last["sender"] == alice.user_id and last["content"]["reason"] == verb
        if verb == "kick":
            await pair.join(bob, room_id)
            bob_hears = await hears_from_now(bob)
    refused = await bob.post(path_of("_matrix/client/v3/join", room_id), json={}, query=pair.via)
    assert (refused.status, refused.errcode) == (403, "M_FORBIDDEN")
    (await alice.post(path_of(ROOMS, room_id, "unban"), json={"user_id": bob.user_id})).ok()
    await pair.join(bob, room_id)
    assert await state_of(alice, room_id) == await state_of(bob, room_id)


async def test_moderators_of_the_other_server_kick_and_ban(pair: Pair) -> None:
    alice, bob = await pair.at_home("alice"), await pair.from_away("bob")
    carol = await pair.at_home("carol")
    room_id = await pair.shared(alice, bob)
    await carol.join(room_id)
    alice_hears, bob_hears = await hears_from_now(alice), await hears_from_now(bob)
    levels = await content_of(alice, room_id, "m.room.power_levels")
    users = {**levels.get("users", {}), bob.user_id: 50}
    made = await alice.send_state(room_id, "m.room.power_levels", {**levels, "users": users})
    await bob_hears.event(room_id, made)
    (await bob.post(path_of(ROOMS, room_id, "kick"), json={"user_id": carol.user_id})).ok()
    await alice_hears.member(room_id, carol.user_id, "leave")
    (await bob.post(path_of(ROOMS, room_id, "ban"), json={"user_id": carol.user_id})).ok()
    await alice_hears.member(room_id, carol.user_id, "ban")
    assert await state_of(alice, room_id) == await state_of(bob, room_id)


async def test_who_returns_after_all_of_theirs_had_left_finds_the_room_as_it_is_now(pair: Pair) -> None:
    alice, bob = await pair.at_home("alice"), await pair.from_away("bob")
    room_id = await pair.shared(alice, bob, name="Tea")
    alice_hears = await hears_from_now(alice)
    await bob.leave(room_id)
    await alice_hears.member(room_id, bob.user_id, "leave")
    await alice.send_state(room_id, "m.room.name", {"name": "Coffee"})
    await alice.send(room_id, "unheard")
    await pair.join(bob, room_id)
    assert await content_of(bob, room_id, "m.room.name") == {"name": "Coffee"}
    assert await state_of(alice, room_id) == await state_of(bob, room_id)
    bob_hears, alice_hears = await hears_from_now(bob), await hears_from_now(alice)
    await bob_hears.event(room_id, await alice.send(room_id, "heard"))
    await alice_hears.event(room_id, await bob.send(room_id, "heard"))


async def test_a_server_that_the_acl_denies_is_heard_no_more(pair: Pair) -> None:
    alice, bob = await pair.at_home("alice"), await pair.from_away("bob")
    room_id = await pair.shared(alice, bob)
    alice_hears = await hears_from_now(alice)
    acl = {"allow": ["*"], "deny": [pair.away.server_name.partition(":")[0]], "allow_ip_literals": True}
    # An ACL knows no ports: both servers are on this host, so what is denied is what each holds of the other.
    bob_hears = await hears_from_now(bob)
    denied = await alice.send_state(room_id, "m.room.server_acl", acl)
    await bob_hears.event(room_id, denied)
    unheard = await bob.send(room_id, "unheard")
    other = await pair.shared(alice, bob)
    heard = await bob.send(other, "heard")
    await alice_hears.event(other, heard)
    told = {event["event_id"] for event in alice_hears.timeline.get(room_id, [])}
    assert unheard not in told


@pytest.mark.parametrize("newer", ["11", "12"])
async def test_an_upgraded_room_is_followed_to_its_successor(pair: Pair, newer: str) -> None:
    alice, bob = await pair.at_home("alice"), await pair.from_away("bob")
    room_id = await pair.shared(alice, bob, name="Tea")
    bob_hears = await hears_from_now(bob)
    upgraded = await alice.post(path_of(ROOMS, room_id, "upgrade"), json={"new_version": newer})
    successor = upgraded.ok()["replacement_room"]
    tombstone = await bob_hears.until(
        lambda answer: [
            event
            for event in answer.get("rooms", {})
            .get("join", {})
            .get(room_id, {})
            .get("timeline", {})
            .get("events", [])
            if event["type"] == "m.room.tombstone"
        ],
        "the tombstone",
    )
    assert tombstone[0]["content"]["replacement_room"] == successor
    await pair.join(bob, successor)
    create = await content_of(bob, successor, "m.room.create")
    assert create["predecessor"]["room_id"] == room_id and create["room_version"] == newer
    assert await content_of(bob, successor, "m.room.name") == {"name": "Tea"}
    assert await state_of(alice, successor) == await state_of(bob, successor)
