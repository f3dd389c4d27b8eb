"""Account data that a user deletes is gone for all their devices (MSC3391)."""

import pytest
from tests.http_client import path_of
from tests.server import Server

KIND = "org.example.kind"


@pytest.mark.parametrize("by", ["DELETE", "PUT"])
@pytest.mark.parametrize("in_room", [False, True])
async def test_what_is_deleted_is_told_once_and_found_no_more(server: Server, by: str, in_room: bool):
    alice = await server.register("alice")
    room = await alice.create_room()
    place = ["rooms", room] if in_room else []
    path = path_of("_matrix/client/v3/user", alice.user_id, *place, "account_data", KIND)
    (await alice.put(path, json={"a": 1})).ok()
    before = await alice.sync()
    if by == "PUT":
        (await alice.put(path, json={})).ok()
    else:
        proposed = path_of(
            "_matrix/client/unstable/org.matrix.msc3391/user", alice.user_id, *place, "account_data", KIND
        )
        (await alice.delete(proposed)).ok()
        (await alice.delete(proposed)).ok()
    assert (await alice.get(path)).errcode == "M_NOT_FOUND"

    def told(answer):
        held = answer.get("rooms", {}).get("join", {}).get(room, {}) if in_room else answer
        return [
            one["content"] for one in held.get("account_data", {}).get("events", ()) if one["type"] == KIND
        ]

    after = await alice.sync(before["next_batch"])
    assert (told(before), told(after)) == ([{"a": 1}], [{}])
    assert told(await alice.sync(after["next_batch"])) == told(await alice.sync()) == []


async def test_nobody_deletes_what_the_server_writes_or_another_user_s(server: Server):
    alice, bob = await server.register("alice"), await server.register("bob")
    base = "_matrix/client/unstable/org.matrix.msc3391/user"
    for kind in ("m.push_rules", "m.fully_read"):
        assert (await alice.delete(path_of(base, alice.user_id, "account_data", kind))).status == 405
    assert (await alice.delete(path_of(base, bob.user_id, "account_data", KIND))).status == 403


async def test_what_was_set_for_a_device_goes_with_it(server: Server):
    first = await server.register("alice")
    second = await server.login("alice")
    paths = [
        path_of("_matrix/client/v3/user", first.user_id, "account_data", prefix + device)
        for prefix in ("m.local_notification_settings.", "org.matrix.msc3890.local_notification_settings.")
        for device in (second.device_id, first.device_id)
    ]
    for path in paths:
        (await first.put(path, json={"is_silenced": True})).ok()
    (await second.post("/_matrix/client/v3/logout")).ok()
    assert [(await first.get(path)).status for path in paths] == [404, 200, 404, 200]
