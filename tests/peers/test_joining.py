"""How people of one server come into rooms of the other."""

from __future__ import annotations

from tests.http_client import path_of
from tests.peers.pair import ROOMS, Pair, content_of, hears_from_now, state_of


async def test_a_room_is_joined_by_its_alias_and_both_hear_each_other(pair: Pair) -> None:
    alice, bob = await pair.at_home("alice"), await pair.from_away("bob")
    name = f"tea-{alice.user_id[1:].partition(':')[0]}"
    room_id = await pair.room(alice, room_alias_name=name, name="Tea")
    alice_hears = await hears_from_now(alice)
    assert await bob.join(f"#{name}:{pair.home.server_name}") == room_id
    bob_hears = await hears_from_now(bob)
    assert (await content_of(bob, room_id, "m.room.name")) == {"name": "Tea"}
    from_alice = await alice.send(room_id, "hello")
    assert (await bob_hears.event(room_id, from_alice))["content"]["body"] == "hello"
    from_bob = await bob.send(room_id, "hello yourself")
    assert (await alice_hears.event(room_id, from_bob))["sender"] == bob.user_id
    assert await state_of(alice, room_id) == await state_of(bob, room_id)


async def test_a_room_is_joined_by_its_id_through_a_server_that_is_in_it(pair: Pair) -> None:
    alice, bob, carol = (
        await pair.at_home("alice"),
        await pair.from_away("bob"),
        await pair.from_away("carol"),
    )
    room_id = await pair.shared(alice, bob)
    await pair.join(carol, room_id)
    alice_hears = await hears_from_now(alice)
    from_carol = await carol.send(room_id, "hello")
    await alice_hears.event(room_id, from_carol)
    assert await state_of(alice, room_id) == await state_of(carol, room_id)


async def test_the_invited_see_what_the_room_is_and_come_in(pair: Pair) -> None:
    alice, bob = await pair.at_home("alice"), await pair.from_away("bob")
    room_id = await pair.room(alice, "private_chat", name="Tea")
    bob_hears = await hears_from_now(bob)
    await alice.invite(room_id, bob.user_id)
    shown = await bob_hears.membership(room_id, "invite")
    stripped = {event["type"]: event["content"] for event in shown["invite_state"]["events"]}
    assert stripped["m.room.name"] == {"name": "Tea"}
    assert await bob.join(room_id) == room_id
    await bob_hears.membership(room_id, "join")
    assert await state_of(alice, room_id) == await state_of(bob, room_id)


async def test_an_invite_is_rejected_and_the_inviter_hears_of_it(pair: Pair) -> None:
    alice, bob = await pair.at_home("alice"), await pair.from_away("bob")
    room_id = await pair.room(alice, "private_chat")
    alice_hears, bob_hears = await hears_from_now(alice), await hears_from_now(bob)
    await alice.invite(room_id, bob.user_id)
    await bob_hears.membership(room_id, "invite")
    await bob.leave(room_id)
    await alice_hears.member(room_id, bob.user_id, "leave")
    assert room_id not in (await bob.sync()).get("rooms", {}).get("invite", {})


async def test_an_invite_that_is_taken_back_is_gone(pair: Pair) -> None:
    alice, bob = await pair.at_home("alice"), await pair.from_away("bob")
    room_id = await pair.room(alice, "private_chat")
    bob_hears = await hears_from_now(bob)
    await alice.invite(room_id, bob.user_id)
    await bob_hears.membership(room_id, "invite")
    (await alice.post(path_of(ROOMS, room_id, "kick"), json={"user_id": bob.user_id})).ok()
    await bob_hears.membership(room_id, "leave")
    assert room_id not in (await bob.sync()).get("rooms", {}).get("invite", {})


async def test_who_is_invited_by_the_other_server_into_a_room_of_ones_own_comes_in(pair: Pair) -> None:
    """The invited, of a server that is in the room already, are asked by somebody of the other."""
    alice, bob, carol = await pair.at_home("alice"), await pair.from_away("bob"), await pair.at_home("carol")
    room_id = await pair.room(alice, "private_chat", invite=[bob.user_id])
    bob_hears, carol_hears = await hears_from_now(bob), await hears_from_now(carol)
    await bob.join(room_id)
    await bob_hears.membership(room_id, "join")
    await bob.invite(room_id, carol.user_id)
    await carol_hears.membership(room_id, "invite")
    await carol.join(room_id)
    await bob_hears.member(room_id, carol.user_id, "join")


async def test_who_is_not_invited_is_told_that_the_room_is_closed(pair: Pair) -> None:
    alice, bob = await pair.at_home("alice"), await pair.from_away("bob")
    room_id = await pair.room(alice, "private_chat")
    refused = await bob.post(path_of("_matrix/client/v3/join", room_id), json={}, query=pair.via)
    assert (refused.status, refused.errcode) == (403, "M_FORBIDDEN")
