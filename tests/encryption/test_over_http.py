"""Encryption as clients meet it: over HTTP, checked against the specification."""

from typing import Any

import pytest
from tests.encryption.people import Person, public, sign
from tests.http_client import Response, path_of
from tests.server import PASSWORD, Server, UserClient

KEYS = "/_matrix/client/v3/keys"
BACKUP = "/_matrix/client/v3/room_keys"
SIGNED = "signed_curve25519"
ALGORITHM = "m.megolm_backup.v1.curve25519-aes-sha2"


def person_of(client: UserClient) -> Person:
    return Person(client.user_id, client.device_id)


async def upload(client: UserClient, **keys: Any) -> Response:
    return await client.post(f"{KEYS}/upload", json=keys)


async def test_keys_go_from_one_device_to_another(server: Server):
    alice, bob = await server.register("alice"), await server.register("bob")
    device = person_of(alice).device(alice.device_id)
    answer = await upload(
        alice,
        device_keys=device.keys(),
        one_time_keys=device.one_time_keys("one"),
        fallback_keys=device.one_time_keys("fall", fallback=True),
    )
    assert answer.ok() == {"one_time_key_counts": {SIGNED: 1}}
    found = (await bob.post(f"{KEYS}/query", json={"device_keys": {alice.user_id: []}})).ok()
    assert found["device_keys"][alice.user_id][alice.device_id]["keys"] == device.keys()["keys"]
    wish = {"one_time_keys": {alice.user_id: {alice.device_id: SIGNED}}}
    for name, fallback in (("one", False), ("fall", True), ("fall", True)):
        claimed = (await bob.post(f"{KEYS}/claim", json=wish)).ok()
        expected = device.one_time_keys(name, fallback=fallback)
        assert claimed["one_time_keys"] == {alice.user_id: {alice.device_id: expected}}


async def test_sync_tells_a_device_of_its_counts_and_wakes_it_when_they_change(server: Server):
    alice, bob = await server.register("alice"), await server.register("bob")
    device = person_of(alice).device(alice.device_id)
    fallback = device.one_time_keys("fall", fallback=True)
    (await upload(alice, one_time_keys=device.one_time_keys("one"), fallback_keys=fallback)).ok()
    first = await alice.sync()
    assert first["device_one_time_keys_count"] == {SIGNED: 1}
    assert first["device_unused_fallback_key_types"] == [SIGNED]
    since, wish = first["next_batch"], {"one_time_keys": {alice.user_id: {alice.device_id: SIGNED}}}
    for count, unused in ((0, [SIGNED]), (0, [])):
        (await bob.post(f"{KEYS}/claim", json=wish)).ok()
        told = await alice.sync(since, timeout=10_000)
        since = told["next_batch"]
        assert told["device_one_time_keys_count"] == {SIGNED: count}
        assert told["device_unused_fallback_key_types"] == unused


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("upload", {"device_keys": []}),
        ("upload", {"one_time_keys": {"a:b": 5}}),
        ("query", {"device_keys": {"@alice:ranvier.test": "PHONE"}}),
        ("query", {"device_keys": {"@alice:ranvier.test": {}}}),
        ("claim", {"one_time_keys": {"@alice:ranvier.test": ["PHONE"]}}),
        ("signatures/upload", {"@alice:ranvier.test": []}),
        ("device_signing/upload", {"master_key": "key"}),
    ],
)
async def test_bodies_of_the_wrong_form_are_refused(server: Server, path: str, body: dict[str, Any]):
    alice = await server.register("alice")
    answer = await alice.post(f"{KEYS}/{path}", json=body, valid=False)
    assert (answer.status, answer.errcode) == (400, "M_BAD_JSON")


async def test_a_query_or_a_claim_without_its_member_is_refused(server: Server):
    alice = await server.register("alice")
    for path in ("query", "claim"):
        answer = await alice.post(f"{KEYS}/{path}", json={}, valid=False)
        assert (answer.status, answer.errcode) == (400, "M_MISSING_PARAM")


def cross_signing_body(person: Person) -> dict[str, Any]:
    return {f"{purpose}_key": key for purpose, key in person.cross_signing_keys().items()}


async def test_replacing_cross_signing_keys_asks_for_the_password(server: Server):
    alice = await server.register("alice")
    path = f"{KEYS}/device_signing/upload"
    first, second = person_of(alice), person_of(alice)
    for _ in range(2):
        assert (await alice.post(path, json=cross_signing_body(first))).ok() == {}
    asked = await alice.post(path, json=cross_signing_body(second))
    assert asked.status == 401
    assert asked.json["flows"] == [{"stages": ["m.login.password"]}]
    identifier = {"type": "m.id.user", "user": alice.user_id}
    auth = {"type": "m.login.password", "session": asked.json["session"], "identifier": identifier}
    wrong = await alice.post(path, json={**cross_signing_body(second), "auth": {**auth, "password": "wrong"}})
    assert wrong.status == 401
    right = await alice.post(
        path, json={**cross_signing_body(second), "auth": {**auth, "password": PASSWORD}}
    )
    assert right.ok() == {}
    found = (await alice.post(f"{KEYS}/query", json={"device_keys": {alice.user_id: []}})).ok()
    assert found["master_keys"][alice.user_id]["keys"] == second.master_key()["keys"]


async def test_a_session_that_was_confirmed_remembers_the_keys(server: Server):
    alice = await server.register("alice")
    path = f"{KEYS}/device_signing/upload"
    first, second = person_of(alice), person_of(alice)
    (await alice.post(path, json=cross_signing_body(first))).ok()
    asked = await alice.post(path, json=cross_signing_body(second))
    identifier = {"type": "m.id.user", "user": alice.user_id}
    auth = {"type": "m.login.password", "session": asked.json["session"], "identifier": identifier}
    assert (await alice.post(path, json={"auth": {**auth, "password": PASSWORD}})).ok() == {}
    found = (await alice.post(f"{KEYS}/query", json={"device_keys": {alice.user_id: []}})).ok()
    assert found["master_keys"][alice.user_id]["keys"] == second.master_key()["keys"]


async def test_wrong_cross_signing_keys_are_refused_before_any_password_is_asked_for(server: Server):
    alice = await server.register("alice")
    path = f"{KEYS}/device_signing/upload"
    (await alice.post(path, json=cross_signing_body(person_of(alice)))).ok()
    forged = {**cross_signing_body(person_of(alice)), "master_key": person_of(alice).master_key()}
    answer = await alice.post(path, json=forged)
    assert (answer.status, answer.errcode) == (400, "M_INVALID_SIGNATURE")
    bob = await server.register("bob")
    answer = await bob.post(path, json={})
    assert (answer.status, answer.errcode) == (400, "M_MISSING_PARAM")


async def test_signatures_are_added_and_failures_told(server: Server):
    alice = await server.register("alice")
    person = person_of(alice)
    device = person.device(alice.device_id)
    (await upload(alice, device_keys=device.keys())).ok()
    (await alice.post(f"{KEYS}/device_signing/upload", json=cross_signing_body(person))).ok()
    signed = sign(device.keys(), alice.user_id, public(person.self_signing), person.self_signing)
    body = {alice.user_id: {alice.device_id: signed, "OTHER": signed}}
    answer = (await alice.post(f"{KEYS}/signatures/upload", json=body)).ok()
    assert {key: f["errcode"] for key, f in answer["failures"][alice.user_id].items()} == {
        "OTHER": "M_NOT_FOUND"
    }
    found = (await alice.post(f"{KEYS}/query", json={"device_keys": {alice.user_id: []}})).ok()
    shown = found["device_keys"][alice.user_id][alice.device_id]
    assert shown["signatures"] == signed["signatures"]


async def send_to(client: UserClient, txn_id: str, messages: dict[str, Any]) -> Response:
    path = path_of("_matrix/client/v3/sendToDevice", "m.test", txn_id)
    return await client.put(path, json={"messages": messages})


async def test_a_message_to_a_device_wakes_it_and_is_repeated_until_acknowledged(server: Server):
    alice, bob = await server.register("alice"), await server.register("bob")
    other = await server.login("bob")
    since = (await bob.sync())["next_batch"]
    for _ in range(2):
        (await send_to(alice, "1", {bob.user_id: {bob.device_id: {"body": "hello"}}})).ok()
    expected = [{"type": "m.test", "sender": alice.user_id, "content": {"body": "hello"}}]
    for _ in range(2):
        told = await bob.sync(since, timeout=10_000)
        assert told["to_device"]["events"] == expected
    assert (await other.sync()).get("to_device", {"events": []})["events"] == []
    assert (await bob.sync())["to_device"]["events"] == expected
    again = await bob.sync(told["next_batch"])
    assert again.get("to_device", {"events": []})["events"] == []
    assert (await bob.sync()).get("to_device", {"events": []})["events"] == []


async def test_more_messages_than_fit_an_answer_come_one_answer_after_the_other(server: Server):
    alice, bob = await server.register("alice"), await server.register("bob")
    since = (await bob.sync())["next_batch"]
    for i in range(250):
        (await send_to(alice, str(i), {bob.user_id: {"*": {"n": i}}})).ok()
    found: list[int] = []
    for _ in range(3):
        told = await bob.sync(since, timeout=5_000)
        since = told["next_batch"]
        found += [event["content"]["n"] for event in told["to_device"]["events"]]
    assert found == list(range(250))


def session(**changes: Any) -> dict[str, Any]:
    return {
        "first_message_index": 0,
        "forwarded_count": 0,
        "is_verified": False,
        "session_data": {"ciphertext": "x"},
        **changes,
    }


async def test_a_backup_lives_through_all_its_operations(server: Server):
    alice = await server.register("alice")
    none = await alice.get(f"{BACKUP}/version")
    assert (none.status, none.errcode) == (404, "M_NOT_FOUND")
    about = {"algorithm": ALGORITHM, "auth_data": {"public_key": "abc"}}
    version = (await alice.post(f"{BACKUP}/version", json=about)).ok()["version"]
    of = {"version": version}
    described = {**about, "version": version, "count": 0, "etag": "0"}
    assert (await alice.get(f"{BACKUP}/version")).ok() == described
    assert (await alice.get(f"{BACKUP}/version/{version}")).ok() == described
    assert (await alice.get(f"{BACKUP}/keys", query=of)).ok() == {"rooms": {}}
    room, other = "!a:ranvier.test", "!b/c:ranvier.test"
    in_room, in_other = path_of(f"{BACKUP}/keys", room), path_of(f"{BACKUP}/keys", other)
    one = path_of(f"{BACKUP}/keys", other, "s/1")
    assert (await alice.get(in_room, query=of)).ok() == {"sessions": {}}
    assert (await alice.put(one, json=session(), query=of)).ok()["count"] == 1
    body = {"sessions": {"s1": session(), "s2": session(is_verified=True)}}
    assert (await alice.put(in_room, json=body, query=of)).ok()["count"] == 3
    everything = {"rooms": {room: body, other: {"sessions": {"s/1": session(), "s2": session()}}}}
    counted = (await alice.put(f"{BACKUP}/keys", json=everything, query=of)).ok()
    assert counted["count"] == 4
    assert (await alice.get(f"{BACKUP}/version")).ok()["etag"] == counted["etag"]
    assert (await alice.get(f"{BACKUP}/keys", query=of)).ok() == everything
    assert (await alice.get(in_room, query=of)).ok() == body
    assert (await alice.get(one, query=of)).ok() == session()
    assert (await alice.delete(one, query=of)).ok()["count"] == 3
    assert (await alice.get(one, query=of)).errcode == "M_NOT_FOUND"
    assert (await alice.delete(in_other, query=of)).ok()["count"] == 2
    assert (await alice.delete(f"{BACKUP}/keys", query=of)).ok()["count"] == 0
    newer = {**about, "auth_data": {"public_key": "def"}, "version": version}
    assert (await alice.put(f"{BACKUP}/version/{version}", json=newer)).ok() == {}
    assert (await alice.get(f"{BACKUP}/version")).ok()["auth_data"] == {"public_key": "def"}
    wrong = await alice.put(f"{BACKUP}/version/{version}", json={**newer, "version": "9"})
    assert (wrong.status, wrong.errcode) == (400, "M_INVALID_PARAM")
    for _ in range(2):
        assert (await alice.delete(f"{BACKUP}/version/{version}")).ok() == {}
    assert (await alice.get(f"{BACKUP}/keys", query=of)).errcode == "M_NOT_FOUND"


async def test_an_old_backup_takes_no_keys_and_names_the_current_one(server: Server):
    alice = await server.register("alice")
    about = {"algorithm": ALGORITHM, "auth_data": {}}
    old, new = [(await alice.post(f"{BACKUP}/version", json=about)).ok()["version"] for _ in range(2)]
    answer = await alice.put(f"{BACKUP}/keys", json={"rooms": {}}, query={"version": old})
    assert (answer.status, answer.errcode) == (403, "M_WRONG_ROOM_KEYS_VERSION")
    assert answer.json["current_version"] == new
    missing = await alice.put(f"{BACKUP}/keys", json={"rooms": {}}, valid=False)
    assert (missing.status, missing.errcode) == (400, "M_MISSING_PARAM")


async def test_a_backup_of_many_rooms_is_read_in_whole(server: Server):
    alice = await server.register("alice")
    about = {"algorithm": ALGORITHM, "auth_data": {}}
    version = (await alice.post(f"{BACKUP}/version", json=about)).ok()["version"]
    rooms = {f"!{i}:ranvier.test": {"sessions": {f"s{j}": session() for j in range(90)}} for i in range(17)}
    counted = await alice.put(f"{BACKUP}/keys", json={"rooms": rooms}, query={"version": version})
    assert counted.ok()["count"] == 17 * 90
    assert (await alice.get(f"{BACKUP}/keys", query={"version": version})).ok() == {"rooms": rooms}
    one = path_of(f"{BACKUP}/keys", "!5:ranvier.test")
    assert (await alice.get(one, query={"version": version})).ok() == rooms["!5:ranvier.test"]
