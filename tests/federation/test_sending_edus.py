"""What other servers are told that is no event: receipts, devices, keys, messages to devices."""

from typing import Any

import orjson
from tests.federation.conftest import ServedPlace as Place
from tests.http_client import path_of
from tests.server import UserClient

BOB = "@bob:b.test"


async def shared_room(place: Place, user: UserClient) -> str:
    """A room of the user's, with Bob in it."""
    room_id = await user.create_room(preset="public_chat")
    await place.member(room_id, BOB)
    return room_id


async def read(user: UserClient, room_id: str, event_id: str, kind: str = "m.read", **body: Any) -> None:
    path = path_of("_matrix/client/v3/rooms", room_id, "receipt", kind, event_id)
    (await user.post(path, json=body)).ok()


async def send_to_device(
    user: UserClient, txn_id: str, messages: dict[str, Any], kind: str = "m.test"
) -> None:
    path = path_of("_matrix/client/v3/sendToDevice", kind, txn_id)
    (await user.put(path, json={"messages": messages})).ok()


def device_keys(user: UserClient) -> dict[str, Any]:
    device = user.device_id
    return {
        "user_id": user.user_id,
        "device_id": device,
        "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
        "keys": {f"ed25519:{device}": "A" * 43, f"curve25519:{device}": "B" * 43},
        "signatures": {user.user_id: {f"ed25519:{device}": "C" * 86}},
    }


async def upload_keys(user: UserClient) -> None:
    (await user.post("/_matrix/client/v3/keys/upload", json={"device_keys": device_keys(user)})).ok()


async def test_receipts_go_out_public_and_by_thread_and_private_ones_stay(place: Place):
    b = place.network.peer("b.test")
    alice = await place.server.register("alice")
    room_id = await shared_room(place, alice)
    event_id = await alice.send(room_id, "one")
    await read(alice, room_id, event_id, "m.read.private")
    await read(alice, room_id, event_id)
    await read(alice, room_id, event_id, thread_id="main")
    await place.network.until(lambda: len(b.edus_of("m.receipt")) >= 2)
    found = [content[room_id]["m.read"][alice.user_id] for content in b.edus_of("m.receipt")]
    assert [receipt["data"].get("thread_id") for receipt in found] == [None, "main"]
    assert all(receipt["event_ids"] == [event_id] for receipt in found)


async def test_a_server_that_was_away_gets_the_newest_receipt(place: Place):
    b = place.network.peer("b.test", away=True)
    alice = await place.server.register("alice")
    room_id = await shared_room(place, alice)
    ids = [await alice.send(room_id, str(number)) for number in range(3)]
    for event_id in ids:
        await read(alice, room_id, event_id)
    await place.network.until(lambda: b.attempts > 0)
    b.away = False
    await place.network.until(lambda: bool(b.edus_of("m.receipt")))
    (content,) = b.edus_of("m.receipt")
    assert content[room_id]["m.read"][alice.user_id]["event_ids"] == [ids[-1]]


async def test_changes_of_devices_are_told_as_a_chain(place: Place):
    b = place.network.peer("b.test")
    alice = await place.server.register("alice")
    await shared_room(place, alice)
    await upload_keys(alice)
    await place.network.until(lambda: len(b.edus_of("m.device_list_update")) == 1)
    path = path_of("_matrix/client/v3/devices", alice.device_id)
    (await alice.put(path, json={"display_name": "phone"})).ok()
    second = await place.server.login("alice")
    await upload_keys(second)
    await place.network.until(lambda: len(b.edus_of("m.device_list_update")) == 3)
    first, renamed, added = b.edus_of("m.device_list_update")
    sent = device_keys(alice)
    assert first == {
        "user_id": alice.user_id,
        "device_id": alice.device_id,
        "stream_id": 1,
        "prev_id": [],
        "keys": sent,
    }
    assert (renamed["stream_id"], renamed["prev_id"]) == (2, [1])
    assert (added["stream_id"], added["prev_id"], added["device_id"]) == (3, [2], second.device_id)
    (await second.post("/_matrix/client/v3/logout", json={})).ok()
    await place.network.until(lambda: len(b.edus_of("m.device_list_update")) == 4)
    gone = b.edus_of("m.device_list_update")[-1]
    assert (gone["device_id"], gone["deleted"], gone["prev_id"]) == (second.device_id, True, [3])


async def test_a_server_that_missed_changes_is_told_of_the_newest_upon_what_it_has_or_so_that_it_asks(
    place: Place,
):
    b = place.network.peer("b.test", away=True)
    alice = await place.server.register("alice")
    await shared_room(place, alice)
    await upload_keys(alice)
    for name in ("one", "two", "three"):
        path = path_of("_matrix/client/v3/devices", alice.device_id)
        (await alice.put(path, json={"display_name": name})).ok()
    await place.network.until(lambda: b.attempts > 0)
    b.away = False
    await place.network.until(lambda: len(b.edus_of("m.device_list_update")) == 2)
    # The first was on its way when the server went; of all that came later the last stands.
    on_its_way, newest = b.edus_of("m.device_list_update")
    assert on_its_way["stream_id"] < 3
    assert newest["stream_id"] == 4
    assert newest["prev_id"] in ([on_its_way["stream_id"]], [3])


async def test_who_comes_into_a_room_is_made_known_to_servers_that_had_no_reason_to_know_their_devices(
    place: Place,
):
    b = place.network.peer("b.test")
    alice, carol = await place.server.register("alice"), await place.server.register("carol")
    await upload_keys(carol)
    room_id = await shared_room(place, alice)
    await carol.join(room_id)
    await place.network.until(lambda: bool(b.edus_of("m.device_list_update")))
    assert b.edus_of("m.device_list_update")[0]["user_id"] == carol.user_id
    other = await shared_room(place, alice)
    await carol.join(other)
    await alice.send(other, "done")
    await place.network.until(lambda: "done" in b.bodies())
    assert len(b.edus_of("m.device_list_update")) == 1


async def test_messages_to_devices_arrive_once_and_in_order(place: Place):
    b = place.network.peer("b.test")
    alice = await place.server.register("alice")
    for number in range(250):
        messages = {BOB: {"PHONE": {"number": number}, "*": {"number": -1}}}
        await send_to_device(alice, str(number), messages)
    await send_to_device(alice, "249", {BOB: {"PHONE": {"number": "again"}}})
    await place.network.until(lambda: len(b.edus_of("m.direct_to_device")) == 250)
    found = b.edus_of("m.direct_to_device")
    assert [content["messages"][BOB]["PHONE"]["number"] for content in found] == list(range(250))
    assert {content["sender"] for content in found} == {alice.user_id}
    assert {content["type"] for content in found} == {"m.test"}
    assert len({content["message_id"] for content in found}) == 250
    assert all(len(content["message_id"]) <= 32 for content in found)


async def test_messages_to_devices_wait_for_a_server_that_is_away_also_through_a_restart(place: Place):
    b = place.network.peer("b.test", away=True)
    alice = await place.server.register("alice")
    room_id = await shared_room(place, alice)
    for number in range(150):
        await send_to_device(alice, str(number), {BOB: {"PHONE": {"number": number}}})
    await alice.send(room_id, "needs them all")
    await place.network.until(lambda: b.attempts > 0)
    await place.stop()
    b.away = False
    await place.start()
    await place.network.until(lambda: bool(b.bodies()))
    found = [content["messages"][BOB]["PHONE"]["number"] for content in b.edus_of("m.direct_to_device")]
    assert found == list(range(150)), "keys arrive before what they open"
    await place.rest()
    ground = place.composition.ground
    assert await ground.database.fetch_value("SELECT COUNT(*) FROM outgoing_to_device") == 0


async def test_many_large_messages_go_in_many_small_units(place: Place):
    b = place.network.peer("b.test")
    alice = await place.server.register("alice")
    messages = {f"@u{number}:b.test": {"D": {"text": "x" * 20_000}} for number in range(40)}
    await send_to_device(alice, "1", messages)
    await place.network.until(lambda: len(b.edus_of("m.direct_to_device")) == 20)
    assert max(len(orjson.dumps(edu)) for edu in b.edus) < 64 * 1024
    told = [user for content in b.edus_of("m.direct_to_device") for user in content["messages"]]
    assert sorted(told) == sorted(messages)


async def test_cross_signing_keys_are_told(place: Place):
    b = place.network.peer("b.test")
    alice = await place.server.register("alice")
    await shared_room(place, alice)
    master = {"user_id": alice.user_id, "usage": ["master"], "keys": {"ed25519:" + "M" * 43: "M" * 43}}
    answer = await alice.post(
        "/_matrix/client/v3/keys/device_signing/upload",
        json={"master_key": master, "auth": {"type": "m.login.dummy"}},
    )
    answer.ok()
    await place.network.until(lambda: bool(b.edus_of("m.signing_key_update")))
    (content,) = b.edus_of("m.signing_key_update")
    assert content["user_id"] == alice.user_id
    assert content["master_key"]["keys"] == master["keys"]


async def test_typing_goes_out_begun_and_ended(place: Place):
    b = place.network.peer("b.test")
    alice = await place.server.register("alice")
    room_id = await shared_room(place, alice)
    path = path_of("_matrix/client/v3/rooms", room_id, "typing", alice.user_id)
    for count, typing in enumerate((True, False, True)):
        (await alice.put(path, json={"typing": typing, "timeout": 20_000})).ok()
        await place.network.until(lambda count=count: len(b.edus_of("m.typing")) > count)
    said = [
        {"room_id": room_id, "user_id": alice.user_id, "typing": typing} for typing in (True, False, True)
    ]
    assert b.edus_of("m.typing") == said


async def test_presence_goes_to_servers_that_share_a_room(place: Place):
    b, c = place.network.peer("b.test"), place.network.peer("c.test")
    alice = await place.server.register("alice")
    await shared_room(place, alice)
    path = path_of("_matrix/client/v3/presence", alice.user_id, "status")
    (await alice.put(path, json={"presence": "online", "status_msg": "here"})).ok()
    await place.network.until(lambda: bool(b.edus_of("m.presence")))
    (said,) = b.edus_of("m.presence")[-1]["push"]
    assert (said["user_id"], said["presence"], said["status_msg"]) == (alice.user_id, "online", "here")
    assert c.attempts == 0


async def test_what_was_true_for_a_moment_is_not_told_later(place: Place):
    b = place.network.peer("b.test", away=True)
    alice = await place.server.register("alice")
    room_id = await shared_room(place, alice)
    path = path_of("_matrix/client/v3/rooms", room_id, "typing", alice.user_id)
    (await alice.put(path, json={"typing": True})).ok()
    await place.network.until(lambda: b.attempts == 2)
    b.away = False
    await alice.send(room_id, "sent")
    await place.network.until(lambda: bool(b.bodies()))
    assert b.edus_of("m.typing") in ([], [{"room_id": room_id, "user_id": alice.user_id, "typing": False}])


async def test_a_new_name_is_no_reason_to_tell_of_devices(place: Place):
    b = place.network.peer("b.test")
    alice = await place.server.register("alice")
    room_id = await shared_room(place, alice)
    await upload_keys(alice)
    await place.network.until(lambda: len(b.edus_of("m.device_list_update")) == 1)
    path = path_of("_matrix/client/v3/profile", alice.user_id, "displayname")
    (await alice.put(path, json={"displayname": "Alice"})).ok()
    await alice.send(room_id, "renamed")
    await place.network.until(lambda: "renamed" in b.bodies())
    await place.rest()
    assert len(b.edus_of("m.device_list_update")) == 1
