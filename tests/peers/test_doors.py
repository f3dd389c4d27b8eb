"""Knocks, and rooms that open to the members of a space, from one server to the other."""

from __future__ import annotations

from typing import Any

import pytest
from tests.http_client import path_of
from tests.peers.pair import Pair, content_of, hears_from_now, state_of
from tests.peers.ranvier import Ranvier


def _rule(**content: Any) -> list[dict[str, Any]]:
    return [{"type": "m.room.join_rules", "state_key": "", "content": content}]


@pytest.mark.versions("10", "11", "12")
async def test_who_knocks_is_let_in(pair: Pair) -> None:
    alice, bob = await pair.at_home("alice"), await pair.from_away("bob")
    room_id = await pair.room(alice, "private_chat", name="Tea", initial_state=_rule(join_rule="knock"))
    alice_hears, bob_hears = await hears_from_now(alice), await hears_from_now(bob)
    await pair.ask(bob, "knock", room_id, reason="tea")
    shown = await bob_hears.membership(room_id, "knock")
    assert "m.room.name" in {event["type"] for event in shown["knock_state"]["events"]}
    knock = await alice_hears.member(room_id, bob.user_id, "knock")
    assert knock["content"]["reason"] == "tea"
    await alice.invite(room_id, bob.user_id)
    await bob_hears.membership(room_id, "invite")
    await bob.join(room_id)
    await bob_hears.membership(room_id, "join")
    await alice_hears.member(room_id, bob.user_id, "join")
    assert await state_of(alice, room_id) == await state_of(bob, room_id)


@pytest.mark.versions("10", "11", "12")
async def test_a_knock_is_taken_back(pair: Pair) -> None:
    alice, bob = await pair.at_home("alice"), await pair.from_away("bob")
    room_id = await pair.room(alice, "private_chat", initial_state=_rule(join_rule="knock"))
    alice_hears, bob_hears = await hears_from_now(alice), await hears_from_now(bob)
    await pair.ask(bob, "knock", room_id)
    await alice_hears.member(room_id, bob.user_id, "knock")
    await bob_hears.membership(room_id, "knock")
    await bob.leave(room_id)
    await bob_hears.membership(room_id, "leave")
    # COMPAT(Synapse 1.163): it tells the room's servers nothing of a knock that is taken back.
    if isinstance(pair.away, Ranvier):
        await alice_hears.member(room_id, bob.user_id, "leave")


@pytest.mark.versions("10", "11", "12")
async def test_a_room_that_takes_no_knocks_says_so(pair: Pair) -> None:
    alice, bob = await pair.at_home("alice"), await pair.from_away("bob")
    room_id = await pair.room(alice, "private_chat")
    path = path_of("_matrix/client/v3/knock", room_id)
    refused = await bob.post(path, json={}, query=pair.via)
    assert (refused.status, refused.errcode) == (403, "M_FORBIDDEN")


@pytest.mark.versions("10", "11", "12")
@pytest.mark.parametrize("join_rule", ["restricted", "knock_restricted"])
async def test_members_of_a_space_come_into_its_rooms_and_nobody_else_does(
    pair: Pair, join_rule: str
) -> None:
    alice, bob, eve = await pair.at_home("alice"), await pair.from_away("bob"), await pair.from_away("eve")
    space = await pair.room(alice, creation_content={"type": "m.space"})
    allow = [{"type": "m.room_membership", "room_id": space}]
    room_id = await pair.room(
        alice, "private_chat", initial_state=_rule(join_rule=join_rule, allow=allow), name="Tea"
    )
    await alice.send_state(space, "m.space.child", {"via": [pair.home.server_name]}, room_id)
    await pair.join(bob, space)
    path = path_of("_matrix/client/v1/rooms", space, "hierarchy")
    shown = {room["room_id"]: room for room in (await bob.get(path)).ok()["rooms"]}
    assert shown[room_id]["name"] == "Tea"
    refused = await eve.post(path_of("_matrix/client/v3/join", room_id), json={}, query=pair.via)
    assert (refused.status, refused.errcode) == (403, "M_FORBIDDEN")
    await pair.join(bob, room_id)
    joined = await content_of(bob, room_id, "m.room.member", bob.user_id)
    assert joined["join_authorised_via_users_server"] == alice.user_id
    assert await state_of(alice, room_id) == await state_of(bob, room_id)
    # Their server is in the room now, and nobody on it may let others in.
    carol, alice_hears = await pair.from_away("carol"), await hears_from_now(alice)
    await pair.join(carol, space)
    await pair.join(carol, room_id)
    await alice_hears.member(room_id, carol.user_id, "join")
    assert await state_of(alice, room_id) == await state_of(carol, room_id)
