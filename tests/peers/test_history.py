"""What the other server tells of a room's past, and to whom."""

from __future__ import annotations

from typing import Any

import pytest
from tests.http_client import path_of
from tests.peers.pair import ROOMS, Pair, hears_from_now
from tests.server import UserClient

MESSAGES = 500


async def _messages(user: UserClient, room_id: str) -> list[str]:
    """The bodies of all messages that the user can read, oldest first."""
    found: list[str] = []
    start = None
    for _ in range(100):
        query: dict[str, Any] = {"dir": "b", "limit": 100, **({"from": start} if start else {})}
        page = (await user.get(path_of(ROOMS, room_id, "messages"), query=query)).ok()
        found += [
            event["content"].get("body") for event in page["chunk"] if event["type"] == "m.room.message"
        ]
        start = page.get("end")
        if start is None:
            return list(reversed(found))
    raise AssertionError("the past has no end")


async def test_the_past_of_a_room_is_read_to_its_beginning(pair: Pair) -> None:
    alice, bob = await pair.at_home("alice"), await pair.from_away("bob")
    room_id = await pair.room(alice)
    said = [f"message {number}" for number in range(MESSAGES)]
    for body in said:
        await alice.send(room_id, body)
    await pair.join(bob, room_id)
    assert await _messages(bob, room_id) == said


@pytest.mark.parametrize("visibility", ["world_readable", "shared", "invited", "joined"])
async def test_history_is_shown_as_far_as_the_room_lets_it(pair: Pair, visibility: str) -> None:
    alice, bob = await pair.at_home("alice"), await pair.from_away("bob")
    rule = {
        "type": "m.room.history_visibility",
        "state_key": "",
        "content": {"history_visibility": visibility},
    }
    room_id = await pair.room(alice, initial_state=[rule])
    bob_hears = await hears_from_now(bob)
    await alice.send(room_id, "before the invite")
    await alice.invite(room_id, bob.user_id)
    await bob_hears.membership(room_id, "invite")
    await alice.send(room_id, "before the join")
    await bob.join(room_id)
    await bob_hears.membership(room_id, "join")
    last = await alice.send(room_id, "after the join")
    await bob_hears.event(room_id, last)
    seen = {
        "world_readable": ["before the invite", "before the join", "after the join"],
        "shared": ["before the invite", "before the join", "after the join"],
        "invited": ["before the join", "after the join"],
        "joined": ["after the join"],
    }
    assert [body for body in await _messages(bob, room_id) if body] == seen[visibility]


async def test_what_was_said_while_one_was_out_of_the_room_is_read_after_the_return(pair: Pair) -> None:
    alice, bob = await pair.at_home("alice"), await pair.from_away("bob")
    room_id = await pair.shared(alice, bob)
    alice_hears = await hears_from_now(alice)
    await alice.send(room_id, "first")
    await bob.leave(room_id)
    await alice_hears.member(room_id, bob.user_id, "leave")
    for number in range(30):
        await alice.send(room_id, f"meanwhile {number}")
    await pair.join(bob, room_id)
    await alice.send(room_id, "last")
    await (await hears_from_now(bob)).event(room_id, await alice.send(room_id, "the very last"))
    said = ["first", *(f"meanwhile {number}" for number in range(30)), "last", "the very last"]
    assert await _messages(bob, room_id) == said
