"""One server away, or the line between the two cut: both come to the same, and nothing is lost."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from tests.clients.waiting import eventually
from tests.http_client import path_of
from tests.peers.pair import ROOMS, SEED, Pair, content_of, event_of, state_of
from tests.peers.ranvier import Ranvier
from tests.peers.synapse import Synapse
from tests.server import UserClient


async def _has(user: UserClient, room_id: str, event_ids: list[str]) -> None:
    """Wait until the user's server shows these events."""

    async def look() -> bool:
        for event_id in event_ids:
            answer = await user.get(path_of(ROOMS, room_id, "event", event_id))
            if answer.status != 200:
                return False
        return True

    await eventually(look, f"{user.user_id} can read {event_ids}", within=60)


async def _agree(one: UserClient, other: UserClient, room_id: str) -> dict[tuple[str, str], str]:
    """Wait until both servers have the same state; answers it."""
    seen: list[Any] = []

    async def look() -> bool:
        seen[:] = [await state_of(one, room_id), await state_of(other, room_id)]
        return bool(seen[0] == seen[1])

    try:
        await eventually(look, "both have the same state", within=60)
    except AssertionError:
        differing = {key for key in {*seen[0], *seen[1]} if seen[0].get(key) != seen[1].get(key)}
        shown = {key: (seen[0].get(key), seen[1].get(key)) for key in differing}
        raise AssertionError(f"the states differ: {shown}") from None
    return dict(seen[0])


async def test_what_was_said_while_ours_was_down_arrives(pair: Pair, ranvier: Ranvier) -> None:
    alice, bob = await pair.at_home("alice"), await pair.from_away("bob")
    room_id = await pair.shared(alice, bob)
    (theirs, ours) = (bob, alice) if pair.home is ranvier else (alice, bob)
    before = await ours.send(room_id, "before")
    await _has(theirs, room_id, [before])
    await ranvier.away()
    said = [await theirs.send(room_id, f"while you were away {number}") for number in range(30)]
    await ranvier.back()
    after = await ours.send(room_id, "back again")
    await _has(theirs, room_id, [after])
    await _has(ours, room_id, said)
    await _agree(alice, bob, room_id)


async def test_what_was_said_while_synapse_was_down_arrives(pair: Pair, synapse: Synapse) -> None:
    alice, bob = await pair.at_home("alice"), await pair.from_away("bob")
    room_id = await pair.shared(alice, bob)
    (theirs, ours) = (alice, bob) if pair.home is synapse else (bob, alice)
    before = await ours.send(room_id, "before")
    await _has(theirs, room_id, [before])
    await synapse.away()
    said = [await ours.send(room_id, f"while you were away {number}") for number in range(30)]
    await synapse.back()
    await _has(theirs, room_id, said)
    after = await theirs.send(room_id, "back again")
    await _has(ours, room_id, [after])
    await _agree(alice, bob, room_id)


async def test_both_speak_at_once_while_the_line_is_cut(pair: Pair, ranvier: Ranvier) -> None:
    alice, bob = await pair.at_home("alice"), await pair.from_away("bob")
    room_id = await pair.shared(alice, bob)
    await _has(bob, room_id, [await alice.send(room_id, "before")])
    await ranvier.line.cut()
    said: dict[str, list[str]] = {"alice": [], "bob": []}
    for number in range(25):
        said["alice"].append(await alice.send(room_id, f"alice {number}"))
        said["bob"].append(await bob.send(room_id, f"bob {number}"))
    await ranvier.line.open()
    last = [await alice.send(room_id, "healed?"), await bob.send(room_id, "healed!")]
    await _has(bob, room_id, [*said["alice"], last[0]])
    await _has(alice, room_id, [*said["bob"], last[1]])
    await _agree(alice, bob, room_id)


async def test_conflicting_power_levels_and_bans_end_in_one_state(pair: Pair, ranvier: Ranvier) -> None:
    alice, bob = await pair.at_home("alice"), await pair.from_away("bob")
    carol, dave = await pair.at_home("carol"), await pair.from_away("dave")
    room_id = await pair.shared(alice, bob)
    for guest in (carol, dave):
        await pair.join(guest, room_id)
    levels = await content_of(alice, room_id, "m.room.power_levels")
    powers = {**levels.get("users", {}), bob.user_id: 90, carol.user_id: 60, dave.user_id: 70}
    kinds = {**levels["events"], "m.room.power_levels": 90, "m.room.topic": 50}
    levels = {**levels, "users": powers, "ban": 50, "events": kinds}
    await _has(bob, room_id, [await alice.send_state(room_id, "m.room.power_levels", levels)])
    await _agree(alice, bob, room_id)
    await ranvier.line.cut()
    # At home carol loses her power, and dave is banned; away dave bans carol, and bob takes alice's room in hand.
    without = {user: power for user, power in powers.items() if user != carol.user_id}
    await alice.send_state(room_id, "m.room.power_levels", {**levels, "users": without})
    await _ban(alice, room_id, dave.user_id)
    await alice.send_state(room_id, "m.room.topic", {"topic": "home"})
    await _ban(dave, room_id, carol.user_id)
    await bob.send_state(room_id, "m.room.power_levels", {**levels, "state_default": 80, "kick": 80})
    await bob.send_state(room_id, "m.room.topic", {"topic": "away"})
    await ranvier.line.open()
    await _heal(alice, bob, room_id)
    state = await _agree(alice, bob, room_id)
    banned = await event_of(alice, room_id, state["m.room.member", dave.user_id])
    assert banned["content"]["membership"] == "ban"


async def test_branches_of_many_kinds_end_in_one_state(pair: Pair, ranvier: Ranvier) -> None:
    """Drawn: what each side does while the line is cut, several times."""
    dice = random.Random(f"{SEED} branches")
    alice, bob = await pair.at_home("alice"), await pair.from_away("bob")
    others = [await pair.at_home("carol"), await pair.from_away("dave")]
    room_id = await pair.shared(alice, bob)
    for guest in others:
        await pair.join(guest, room_id)
    levels = await content_of(alice, room_id, "m.room.power_levels")
    powers = {**levels.get("users", {}), bob.user_id: 99}
    await _has(
        bob,
        room_id,
        [await alice.send_state(room_id, "m.room.power_levels", {**levels, "users": powers})],
    )
    for _ in range(3):
        await ranvier.line.cut()
        for actor in (alice, bob):
            for _ in range(6):
                await _act(dice, actor, room_id, [other.user_id for other in others])
        await ranvier.line.open()
        await _heal(alice, bob, room_id)
        await _agree(alice, bob, room_id)


async def _act(dice: random.Random, actor: UserClient, room_id: str, targets: list[str]) -> None:
    """Something that moderators do; a refusal is fine."""
    target, number = dice.choice(targets), dice.randrange(100)
    verb = dice.choice(["kick", "ban", "unban", "invite", "topic", "name", "levels", "rule", "say"])
    if verb in ("kick", "ban", "unban", "invite"):
        answer = await actor.post(path_of(ROOMS, room_id, verb), json={"user_id": target})
        assert answer.status < 500 or verb == "invite", answer.body
        return
    if verb == "say":
        await actor.send(room_id, f"{number}")
        return
    if verb == "levels":
        content = await content_of(actor, room_id, "m.room.power_levels")
        content["users"] = {**content.get("users", {}), target: dice.choice([0, 10, 50])}
        kind: str = "m.room.power_levels"
    else:
        kind, content = {
            "topic": ("m.room.topic", {"topic": f"{number}"}),
            "name": ("m.room.name", {"name": f"{number}"}),
            "rule": ("m.room.join_rules", {"join_rule": dice.choice(["public", "invite"])}),
        }[verb]
    answer = await actor.put(path_of(ROOMS, room_id, "state", kind, ""), json=content)
    assert answer.status in (200, 403), answer.body


async def _ban(actor: UserClient, room_id: str, user_id: str) -> str:
    content = {"membership": "ban"}
    return await actor.send_state(room_id, "m.room.member", content, user_id)


async def _heal(one: UserClient, other: UserClient, room_id: str) -> None:
    """Each says something that builds on what it has, until the other has it: all branches are known then."""
    await asyncio.gather(
        _has(other, room_id, [await one.send(room_id, "healed?")]),
        _has(one, room_id, [await other.send(room_id, "healed!")]),
    )
