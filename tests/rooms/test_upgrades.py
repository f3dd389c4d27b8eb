"""Upgrades, and events by time."""

import asyncio
import time
from typing import Any

import pytest
from tests.http_client import path_of
from tests.rooms.reading import room_path, state_content
from tests.server import Server, UserClient


async def upgrade(user: UserClient, room_id: str, version: str, **body: Any) -> str:
    answer = await user.post(room_path(room_id, "upgrade"), json={"new_version": version, **body})
    new: str = answer.ok()["replacement_room"]
    return new


@pytest.mark.parametrize(
    ("old", "new"), [("1", "6"), ("6", "12"), ("12", "11"), ("11", "12"), ("12", "12"), ("9", "10")]
)
async def test_the_new_room_takes_the_old_ones_place(server: Server, old: str, new: str) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await alice.create_room(
        room_version=old,
        visibility="public",
        name="Tea",
        topic="Hot",
        room_alias_name="tea",
        creation_content={"type": "m.space"},
        power_level_content_override={"ban": 60},
        initial_state=[{"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "x"}}],
    )
    await bob.join(room_id)
    newest = await bob.send(room_id, "the last word")
    replacement = await upgrade(alice, room_id, new)
    create = await state_content(alice, replacement, "m.room.create")
    last = {} if new == "12" else {"event_id": newest}
    assert create["predecessor"] == {"room_id": room_id, **last}
    assert (create["room_version"], create["type"]) == (new, "m.space")
    assert (await state_content(alice, room_id, "m.room.tombstone"))["replacement_room"] == replacement
    for kind in ("m.room.name", "m.room.topic", "m.room.join_rules", "m.room.encryption"):
        assert await state_content(alice, replacement, kind) == await state_content(alice, room_id, kind)
    levels = await state_content(alice, replacement, "m.room.power_levels")
    assert levels["ban"] == 60
    assert levels["users"].get(alice.user_id) == (None if new == "12" else 100 if old != "12" else 150)
    if new == "12":
        assert levels["events"]["m.room.tombstone"] > levels["state_default"]
    resolved = await server.client.get(path_of("_matrix/client/v3/directory/room", "#tea:ranvier.test"))
    assert resolved.ok()["room_id"] == replacement
    assert await state_content(alice, replacement, "m.room.canonical_alias") == {"alias": "#tea:ranvier.test"}
    assert await state_content(alice, room_id, "m.room.canonical_alias") == {}
    listed = (await bob.get("/_matrix/client/v3/publicRooms")).ok()["chunk"]
    assert [room["room_id"] for room in listed] == [replacement]
    quiet = await bob.put(room_path(room_id, "send", "m.room.message", "late"), json={"body": "late"})
    assert quiet.errcode == "M_FORBIDDEN"
    await bob.join(replacement)
    await bob.send(replacement, "hello again")


async def test_creators_are_named_anew(server: Server) -> None:
    alice, bob, carol = [await server.register(name) for name in ("alice", "bob", "carol")]
    room_id = await alice.create_room(creation_content={"additional_creators": [bob.user_id]})
    replacement = await upgrade(alice, room_id, "12", additional_creators=[carol.user_id, alice.user_id])
    create = await state_content(alice, replacement, "m.room.create")
    assert create["additional_creators"] == [carol.user_id]
    older = await upgrade(alice, replacement, "11", additional_creators=[carol.user_id])
    assert "additional_creators" not in await state_content(alice, older, "m.room.create")
    levels = await state_content(alice, older, "m.room.power_levels")
    assert levels["users"] == {alice.user_id: 150, carol.user_id: 150}


async def test_a_join_rule_that_the_version_lacks_becomes_invite(server: Server) -> None:
    alice = await server.register("alice")
    rules = {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}
    room_id = await alice.create_room(initial_state=[rules])
    replacement = await upgrade(alice, room_id, "6")
    assert await state_content(alice, replacement, "m.room.join_rules") == {"join_rule": "invite"}


async def test_a_weak_upgrader_ends_with_the_power_they_had(server: Server) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    override = {
        "users": {alice.user_id: 100, bob.user_id: 50},
        "events": {"m.room.tombstone": 50, "m.room.power_levels": 100, "m.room.encryption": 100},
    }
    room_id = await alice.create_room(
        room_version="10", preset="public_chat", power_level_content_override=override
    )
    await bob.join(room_id)
    replacement = await upgrade(bob, room_id, "11")
    levels = await state_content(bob, replacement, "m.room.power_levels")
    assert levels["users"] == override["users"]
    # Without the power to change the levels of the old room, the tombstone stands alone.
    assert (await state_content(bob, room_id, "m.room.power_levels")).get("events_default", 0) == 0
    assert await state_content(bob, room_id, "m.room.tombstone")


async def test_upgrades_that_cannot_be_are_refused(server: Server) -> None:
    alice, bob, eve = [await server.register(name) for name in ("alice", "bob", "eve")]
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    path = room_path(room_id, "upgrade")
    assert (await bob.post(path, json={"new_version": "12"})).errcode == "M_FORBIDDEN"
    assert (await eve.post(path, json={"new_version": "12"})).errcode == "M_FORBIDDEN"
    assert (await alice.post(path, json={"new_version": "99"})).errcode == "M_UNSUPPORTED_ROOM_VERSION"
    bad = {"new_version": "12", "additional_creators": ["nobody"]}
    assert (await alice.post(path, json=bad)).errcode == "M_INVALID_PARAM"
    missing = await alice.get(room_path(room_id, "state", "m.room.tombstone", ""))
    assert missing.status == 404


async def test_an_event_is_found_by_its_time(server: Server) -> None:
    alice, eve = await server.register("alice"), await server.register("eve")
    room_id = await alice.create_room()
    path = path_of("_matrix/client/v1/rooms", room_id, "timestamp_to_event")
    for n in range(30):
        await alice.send(room_id, str(n))
    events = (await alice.get(room_path(room_id, "messages"), query={"dir": "f", "limit": 100})).ok()["chunk"]
    times = [event["origin_server_ts"] for event in events]

    async def nearest(at: int, direction: str) -> Any:
        return await alice.get(path, query={"ts": at, "dir": direction})

    for at in {times[0], times[5], times[-1], times[10] + 1}:
        expected = min(t for t in times if t >= at) if at <= times[-1] else None
        found = await nearest(at, "f")
        if expected is not None:
            assert found.ok()["origin_server_ts"] == expected
        assert (await nearest(at, "b")).ok()["origin_server_ts"] == max(t for t in times if t <= at)
    assert (await nearest(times[0] - 1, "b")).errcode == "M_NOT_FOUND"
    assert (await nearest(int(time.time() * 1000) + 100_000, "f")).errcode == "M_NOT_FOUND"
    assert (await nearest(0, "f")).ok()["event_id"] == events[0]["event_id"]
    assert (await eve.get(path, query={"ts": 0, "dir": "f"})).errcode == "M_FORBIDDEN"
    assert (await alice.get(path, query={"ts": "x", "dir": "f"}, valid=False)).errcode == "M_INVALID_PARAM"


@pytest.mark.parametrize("by_hand", [False, True])
async def test_what_users_set_for_the_old_room_goes_with_them_into_the_new_one(server: Server, by_hand: bool):
    alice, bob = await server.register("alice"), await server.register("bob")
    old = await alice.create_room(preset="public_chat", room_version="10")
    await bob.join(old)
    rule = path_of("_matrix/client/v3/pushrules/global/room", old)
    (await bob.put(rule, json={"actions": []})).ok()
    data = "_matrix/client/v3/user"
    (await bob.put(path_of(data, bob.user_id, "rooms", old, "tags", "m.favourite"), json={"order": 0.5})).ok()
    direct = path_of(data, bob.user_id, "account_data", "m.direct")
    (await bob.put(direct, json={alice.user_id: [old], "@other:x": ["!r:x"]})).ok()
    if by_hand:
        new = await alice.create_room(
            preset="public_chat", creation_content={"predecessor": {"room_id": old, "event_id": "$e"}}
        )
        await bob.join(new)
        assert await _rule_of(bob, new) == 404
        await alice.send_state(old, "m.room.tombstone", {"body": "", "replacement_room": new})
    else:
        path = path_of("_matrix/client/v3/rooms", old, "upgrade")
        new = (await alice.post(path, json={"new_version": "12"})).ok()["replacement_room"]
        await bob.join(new)
    for _ in range(100):
        if await _rule_of(bob, new) == 200:
            break
        await asyncio.sleep(0.05)
    assert (await bob.get(path_of("_matrix/client/v3/pushrules/global/room", new))).ok()["actions"] == []
    tags = (await bob.get(path_of(data, bob.user_id, "rooms", new, "tags"))).ok()["tags"]
    assert tags == {"m.favourite": {"order": 0.5}}
    assert (await bob.get(direct)).ok() == {alice.user_id: [old, new], "@other:x": ["!r:x"]}


async def test_a_room_that_claims_to_be_a_successor_and_is_not_gets_nothing(server: Server):
    alice, mallory = await server.register("alice"), await server.register("mallory")
    old = await alice.create_room(preset="public_chat")
    (await alice.put(path_of("_matrix/client/v3/pushrules/global/room", old), json={"actions": []})).ok()
    claim = {"predecessor": {"room_id": old, "event_id": "$e"}}
    false = await mallory.create_room(preset="public_chat", creation_content=claim)
    await alice.join(false)
    true = (
        await alice.post(path_of("_matrix/client/v3/rooms", old, "upgrade"), json={"new_version": "12"})
    ).ok()["replacement_room"]
    for _ in range(100):
        if await _rule_of(alice, true) == 200:
            break
        await asyncio.sleep(0.05)
    assert (await _rule_of(alice, true), await _rule_of(alice, false)) == (200, 404)


async def _rule_of(user: UserClient, room: str) -> int:
    return (await user.get(path_of("_matrix/client/v3/pushrules/global/room", room))).status
