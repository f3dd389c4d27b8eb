"""What a user does with their own account, through a running server."""

from __future__ import annotations

from typing import Any

import pytest
from tests.http_client import Client, path_of
from tests.server import PASSWORD, Server, UserClient

from ranvier.accounts.closing import Closing
from ranvier.accounts.openid import OpenIdTokens
from ranvier.accounts.sightings import Sightings
from ranvier.protocol.refusal import Refusal
from ranvier.store import rooms, threepids

V3 = "/_matrix/client/v3"


async def confirmed(
    client: Client,
    method: str,
    path: str,
    body: dict[str, Any] | None = None,
    *,
    user: str,
    password: str = PASSWORD,
) -> Any:
    """A request with interactive authentication, gone through as clients do: asked first, then with the password."""
    body = body or {}
    asked = await client.request(method, path, json=body)
    assert asked.status == 401, asked.body
    assert asked.json["flows"] == [{"stages": ["m.login.password"]}]
    auth = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": user},
        "password": password,
        "session": asked.json["session"],
    }
    return await client.request(method, path, json={**body, "auth": auth})


async def test_a_device_is_listed_renamed_and_deleted_with_its_tokens(server: Server):
    phone = await server.register("alice", device_id="PHONE", initial_device_display_name="Phone")
    laptop = await server.login("alice", device_id="LAPTOP")
    listed = (await phone.get(f"{V3}/devices")).ok()["devices"]
    assert [device["device_id"] for device in listed] == ["LAPTOP", "PHONE"]
    (await phone.put(f"{V3}/devices/LAPTOP", json={"display_name": "Grey laptop"})).ok()
    (await phone.put(f"{V3}/devices/LAPTOP", json={})).ok()
    assert (await phone.get(f"{V3}/devices/LAPTOP")).ok()["display_name"] == "Grey laptop"
    assert (await phone.get(f"{V3}/devices/TABLET")).status == 404
    assert (await phone.put(f"{V3}/devices/TABLET", json={"display_name": "x"})).status == 404
    assert (await confirmed(phone, "DELETE", f"{V3}/devices/LAPTOP", user="alice")).status == 200
    assert (await laptop.get(f"{V3}/account/whoami")).errcode == "M_UNKNOWN_TOKEN"
    assert (await phone.get(f"{V3}/devices/LAPTOP")).status == 404
    assert (await confirmed(phone, "DELETE", f"{V3}/devices/LAPTOP", user="alice")).status == 200


async def test_several_devices_are_deleted_at_once_and_only_those_that_were_confirmed(server: Server):
    phone = await server.register("alice", device_id="PHONE")
    for name in ("A", "B", "C"):
        await server.login("alice", device_id=name)
    asked = await phone.post(f"{V3}/delete_devices", json={"devices": ["A"]})
    auth = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": "alice"},
        "session": asked.json["session"],
    }
    wrong = await phone.post(
        f"{V3}/delete_devices", json={"devices": ["A"], "auth": {**auth, "password": "no"}}
    )
    assert (wrong.status, wrong.json["errcode"]) == (401, "M_FORBIDDEN")
    assert wrong.json["session"] == asked.json["session"]
    answer = await phone.post(
        f"{V3}/delete_devices", json={"devices": ["A", "B", "gone"], "auth": {**auth, "password": PASSWORD}}
    )
    assert answer.ok() == {}
    left = (await phone.get(f"{V3}/devices")).ok()["devices"]
    assert [device["device_id"] for device in left] == ["C", "PHONE"]
    assert (await phone.post(f"{V3}/delete_devices", json={}, valid=False)).errcode == "M_MISSING_PARAM"
    assert (
        await phone.post(f"{V3}/delete_devices", json={"devices": "A"}, valid=False)
    ).errcode == "M_BAD_JSON"


async def test_nobody_confirms_with_the_password_of_another(server: Server):
    alice = await server.register("alice", device_id="PHONE")
    await server.register("mallory", password="mallory's own")
    answer = await confirmed(alice, "DELETE", f"{V3}/devices/PHONE", user="mallory", password="mallory's own")
    assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN")


async def test_a_session_confirms_only_the_operation_that_it_began_with(server: Server):
    alice = await server.register("alice", device_id="PHONE")
    bob = await server.register("bob", device_id="BOB")
    session = (await alice.delete(f"{V3}/devices/A", json={})).json["session"]
    auth = {"type": "m.login.password", "password": PASSWORD, "session": session}
    assert (await alice.delete(f"{V3}/devices/PHONE", json={"auth": auth})).errcode == "M_FORBIDDEN"
    assert (await bob.delete(f"{V3}/devices/A", json={"auth": auth})).errcode == "M_FORBIDDEN"
    (await alice.get(f"{V3}/account/whoami")).ok()


async def test_a_new_password_ends_other_logins_unless_told_otherwise(server: Server):
    alice = await server.register("alice")
    other = await server.login("alice")
    body = {"new_password": "another phrase", "logout_devices": False}
    assert (await confirmed(alice, "POST", f"{V3}/account/password", body, user="alice")).ok() == {}
    (await other.get(f"{V3}/account/whoami")).ok()
    body = {"new_password": "a third phrase"}
    answer = await confirmed(
        alice, "POST", f"{V3}/account/password", body, user="alice", password="another phrase"
    )
    assert answer.ok() == {}
    assert (await other.get(f"{V3}/account/whoami")).errcode == "M_UNKNOWN_TOKEN"
    (await alice.get(f"{V3}/account/whoami")).ok()
    assert [d["device_id"] for d in (await alice.get(f"{V3}/devices")).ok()["devices"]] == [alice.device_id]
    await server.login("alice", "a third phrase")


async def test_who_lost_the_token_can_change_the_password_with_the_old_one(server: Server):
    alice = await server.register("alice")
    body = {"new_password": "another phrase"}
    assert (await confirmed(server.client, "POST", f"{V3}/account/password", body, user="alice")).ok() == {}
    assert (await alice.get(f"{V3}/account/whoami")).errcode == "M_UNKNOWN_TOKEN"
    await server.login("alice", "another phrase")
    nobody = await confirmed(server.client, "POST", f"{V3}/account/password", body, user="nobody")
    assert (nobody.status, nobody.json["errcode"]) == (401, "M_FORBIDDEN")


@pytest.mark.parametrize("erase", [False, True])
async def test_a_deactivated_account_is_gone_but_its_name_stays_taken(server: Server, erase: bool):
    alice = await server.register("alice")
    bob = await server.register("bob")
    room = await bob.create_room(preset="public_chat")
    await alice.join(room)
    (await alice.put(f"{V3}/user/{alice.user_id}/account_data/org.example", json={"a": 1})).ok()
    body = {"erase": erase}
    answer = await confirmed(alice, "POST", f"{V3}/account/deactivate", body, user="alice")
    assert answer.ok() == {"id_server_unbind_result": "success"}
    assert (await alice.get(f"{V3}/account/whoami")).errcode == "M_UNKNOWN_TOKEN"
    login = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": "alice"},
        "password": PASSWORD,
    }
    refused = await server.client.post(f"{V3}/login", json=login)
    assert (refused.status, refused.errcode) == (403, "M_USER_DEACTIVATED")
    taken = await server.client.post(f"{V3}/register", json={"username": "alice", "password": PASSWORD})
    assert taken.errcode == "M_USER_IN_USE"
    await server.composition.parts.get(Closing).until_left()
    membership = await rooms.membership(server.composition.ground.database, alice.user_id, room)
    assert membership is not None
    assert membership.membership == "leave"
    profile = (await bob.get(f"{V3}/profile/{alice.user_id}")).ok()
    assert profile == ({} if erase else {"displayname": "alice"})


async def test_a_device_is_seen_where_it_logs_in(server: Server):
    alice = await server.register("alice", device_id="PHONE")
    await server.login("alice", device_id="LAPTOP", initial_device_display_name="")
    listed = (await alice.get(f"{V3}/devices")).ok()["devices"]
    assert [device["last_seen_ip"] for device in listed] == ["127.0.0.1", "127.0.0.1"]
    assert listed[0]["display_name"] == ""


async def test_a_device_is_seen_from_where_it_asks_once_the_batch_is_written(server: Server):
    alice = await server.register("alice", device_id="PHONE")
    (await alice.get(f"{V3}/account/whoami", headers={"User-Agent": "A test"})).ok()
    sightings = server.composition.parts.get(Sightings)
    await sightings.write()
    device = (await alice.get(f"{V3}/devices/PHONE")).ok()
    assert device["last_seen_ip"] == "127.0.0.1"
    assert device["last_seen_ts"] > 1_700_000_000_000
    who = (await alice.get(f"{V3}/admin/whois/{alice.user_id}")).ok()
    [session] = who["devices"]["PHONE"]["sessions"]
    assert session["connections"][0]["ip"] == "127.0.0.1"


async def test_account_data_is_kept_by_type_and_room(server: Server):
    alice = await server.register("alice")
    bob = await server.register("bob")
    base = f"{V3}/user/{alice.user_id}"
    assert (await alice.get(f"{base}/account_data/org.example")).status == 404
    for content in ({"a": 1}, {"b": [2, "ü"]}):
        (await alice.put(f"{base}/account_data/org.example", json=content)).ok()
        assert (await alice.get(f"{base}/account_data/org.example")).ok() == content
    room = path_of(base, "rooms", "!room:ranvier.test", "account_data", "org.example").removeprefix("/")
    (await alice.put(f"/{room}", json={"c": 3})).ok()
    assert (await alice.get(f"/{room}")).ok() == {"c": 3}
    assert (await alice.get(f"{base}/account_data/org.example")).ok() == {"b": [2, "ü"]}
    assert (await bob.get(f"{base}/account_data/org.example")).errcode == "M_FORBIDDEN"
    assert (await bob.put(f"{base}/account_data/org.example", json={})).errcode == "M_FORBIDDEN"
    bad = await alice.put(f"{base}/rooms/notaroom/account_data/org.example", json={})
    assert bad.errcode == "M_INVALID_PARAM"
    assert (
        await alice.put(f"{base}/account_data/org.example", json=[1], valid=False)
    ).errcode == "M_BAD_JSON"


@pytest.mark.parametrize("kind", ["m.fully_read", "m.push_rules"])
async def test_types_that_the_server_writes_can_be_read_and_not_written(server: Server, kind: str):
    alice = await server.register("alice")
    base = f"{V3}/user/{alice.user_id}"
    for path in (f"{base}/account_data/{kind}", f"{base}/rooms/!r:ranvier.test/account_data/{kind}"):
        answer = await alice.put(path, json={})
        assert (answer.status, answer.errcode) == (405, "M_BAD_JSON")
    if kind == "m.push_rules":
        assert "global" in (await alice.get(f"{base}/account_data/{kind}")).ok()


async def test_tags_are_the_content_of_the_room_s_tag_data(server: Server):
    alice = await server.register("alice")
    base = f"{V3}/user/{alice.user_id}/rooms/!room:ranvier.test"
    assert (await alice.get(f"{base}/tags")).ok() == {"tags": {}}
    (await alice.put(f"{base}/tags/m.favourite", json={"order": 0.25})).ok()
    (await alice.put(f"{base}/tags/u.w%2Fork", json={})).ok()
    tags = {"m.favourite": {"order": 0.25}, "u.w/ork": {}}
    assert (await alice.get(f"{base}/tags")).ok() == {"tags": tags}
    assert (await alice.get(f"{base}/account_data/m.tag")).ok() == {"tags": tags}
    (await alice.delete(f"{base}/tags/m.favourite")).ok()
    (await alice.delete(f"{base}/tags/m.favourite")).ok()
    assert (await alice.get(f"{base}/tags")).ok() == {"tags": {"u.w/ork": {}}}
    for content in ({"order": 2}, {"order": "first"}, {"order": True}):
        assert (await alice.put(f"{base}/tags/u.x", json=content, valid=False)).status == 400
    assert (await alice.put(f"{base}/tags/{'x' * 256}", json={})).errcode == "M_INVALID_PARAM"


async def test_the_same_filter_has_the_same_id_and_comes_back_as_it_was(server: Server):
    alice = await server.register("alice")
    bob = await server.register("bob")
    base = f"{V3}/user/{alice.user_id}/filter"
    definition = {"room": {"timeline": {"limit": 10}, "state": {"lazy_load_members": True}}}
    first = (await alice.post(base, json=definition)).ok()["filter_id"]
    again = (await alice.post(base, json=definition)).ok()["filter_id"]
    other = (await alice.post(base, json={})).ok()["filter_id"]
    assert first == again != other
    assert not first.startswith("{")
    assert (await alice.get(f"{base}/{first}")).ok() == definition
    for name in ("77", "x", "%C2%B2", "9" * 30):
        assert (await alice.get(f"{base}/{name}")).errcode == "M_NOT_FOUND"
    assert (await bob.get(f"{base}/{first}")).errcode == "M_FORBIDDEN"
    bad = await alice.post(base, json={"room": {"timeline": {"limit": "many"}}}, valid=False)
    assert bad.status == 400


async def test_an_openid_token_stands_for_its_user(server: Server):
    alice = await server.register("alice")
    path = f"{V3}/user/{alice.user_id}/openid/request_token"
    given = (await alice.post(path, json={})).ok()
    assert (given["token_type"], given["matrix_server_name"], given["expires_in"]) == (
        "Bearer",
        "ranvier.test",
        3600,
    )
    tokens = server.composition.parts.get(OpenIdTokens)
    assert await tokens.owner(given["access_token"]) == alice.user_id
    with pytest.raises(Refusal, match="M_UNKNOWN_TOKEN"):
        await tokens.owner(alice.token or "")
    assert (await alice.get(f"{V3}/account/whoami", token=given["access_token"])).status == 401
    bob = await server.register("bob")
    assert (await bob.post(path, json={})).errcode == "M_FORBIDDEN"


async def test_addresses_are_listed(server: Server):
    alice = await server.register("alice")
    assert (await alice.get(f"{V3}/account/3pid")).ok() == {"threepids": []}
    writer = server.composition.ground.writer
    await writer.run(
        lambda transaction: threepids.add(transaction, alice.user_id, "email", "a@example.org", 5)
    )
    assert (await alice.get(f"{V3}/account/3pid")).ok() == {
        "threepids": [{"medium": "email", "address": "a@example.org", "validated_at": 5, "added_at": 5}]
    }


async def test_requests_without_a_token_are_told_so(server: Server):
    for path in ("account/whoami", "devices", "capabilities", "account/3pid"):
        answer = await server.client.get(f"{V3}/{path}", valid=False)
        assert (answer.status, answer.errcode) == (401, "M_MISSING_TOKEN")


async def test_capabilities_say_what_the_settings_say(server: Server):
    alice: UserClient = await server.register("alice")
    found = (await alice.get(f"{V3}/capabilities")).ok()["capabilities"]
    assert found["m.room_versions"]["available"]["12"] == "stable"
    assert found["m.room_versions"]["default"] == server.config.rooms.default_version
    assert found["m.change_password"] == {"enabled": True}
    assert found["m.profile_fields"] == {"enabled": True}
    assert found["m.get_login_token"] == {"enabled": False}
    assert found["m.3pid_changes"] == {"enabled": False}
    assert "m.account_moderation" not in found
