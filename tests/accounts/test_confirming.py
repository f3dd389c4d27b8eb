"""Endpoints around tokens, and how often users must confirm who they are."""

from __future__ import annotations

from typing import Any

import pytest
from tests.server import PASSWORD, Server, UserClient

V3 = "/_matrix/client/v3"


async def test_guests_are_refused(server: Server):
    answer = await server.client.post(f"{V3}/register", query={"kind": "guest"}, json={})
    assert (answer.status, answer.errcode) == (403, "M_GUEST_ACCESS_FORBIDDEN")
    odd = await server.client.post(f"{V3}/register", query={"kind": "robot"}, json={}, valid=False)
    assert odd.errcode == "M_INVALID_PARAM"


async def test_a_name_is_free_until_somebody_has_it(server: Server):
    path = f"{V3}/register/available"
    assert (await server.client.get(path, query={"username": "alice"})).ok() == {"available": True}
    await server.register("alice")
    assert (await server.client.get(path, query={"username": "alice"})).errcode == "M_USER_IN_USE"
    assert (await server.client.get(path, query={"username": "ö"})).errcode == "M_INVALID_USERNAME"
    assert (await server.client.get(path, valid=False)).errcode == "M_MISSING_PARAM"


async def test_tokens_are_refreshed_over_http(server: Server):
    login = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": "alice"},
        "password": PASSWORD,
        "refresh_token": True,
    }
    await server.register("alice")
    first = (await server.client.post(f"{V3}/login", json=login)).ok()
    assert first["expires_in_ms"] == 300_000
    second = (await server.client.post(f"{V3}/refresh", json={"refresh_token": first["refresh_token"]})).ok()
    assert set(second) == {"access_token", "refresh_token", "expires_in_ms"}
    who = await server.client.get(f"{V3}/account/whoami", token=second["access_token"])
    assert who.ok()["device_id"] == first["device_id"]
    used = await server.client.post(f"{V3}/refresh", json={"refresh_token": first["refresh_token"]})
    assert (used.status, used.errcode) == (401, "M_UNKNOWN_TOKEN")
    assert (await server.client.post(f"{V3}/refresh", json={}, valid=False)).errcode == "M_MISSING_PARAM"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"type": "m.login.password"},
        {"type": "m.login.password", "password": "x"},
        {"type": "m.login.sso"},
        {"type": 5},
        {"type": "m.login.password", "password": 5},
        {"type": "m.login.password", "password": "x", "identifier": "alice"},
    ],
)
async def test_logins_that_make_no_sense_are_faults_of_the_request(server: Server, body: dict[str, Any]):
    answer = await server.client.post(f"{V3}/login", json=body, valid=False)
    assert answer.status == 400


@pytest.mark.parametrize(
    "who", [{"user": "alice"}, {"identifier": {"type": "m.id.user", "user": "@alice:ranvier.test"}}]
)
async def test_older_ways_to_name_the_user_still_work(server: Server, who: dict[str, Any]):
    await server.register("alice")
    body = {"type": "m.login.password", "password": PASSWORD, **who}
    assert (await server.client.post(f"{V3}/login", json=body)).ok()["user_id"] == "@alice:ranvier.test"


async def delete(client: UserClient, name: str, auth: dict[str, Any] | None = None) -> Any:
    return await client.delete(f"{V3}/devices/{name}", json={} if auth is None else {"auth": auth})


async def test_each_operation_is_confirmed_anew(server: Server):
    alice = await server.register("alice")
    session = (await delete(alice, "A")).json["session"]
    auth = {"type": "m.login.password", "password": PASSWORD, "session": session}
    (await delete(alice, "A", auth)).ok()
    assert (await delete(alice, "A")).status == 401
    assert (await delete(alice, "A", {"session": session})).status == 401


class TestWithATimeToReuseAConfirmation:
    @pytest.fixture
    def server_overrides(self) -> dict[str, Any]:
        return {
            "ui_auth": {"session_timeout": "1m"},
            "login_via_existing_session": {"enabled": True, "token_timeout": "90s"},
        }

    async def test_one_confirmation_lasts_for_that_token_alone(self, server: Server):
        alice = await server.register("alice")
        other = await server.login("alice")
        assert (await delete(alice, "A")).status == 401
        (await delete(alice, "A", {"type": "m.login.password", "password": PASSWORD})).ok()
        (await delete(alice, "B")).ok()
        assert (await delete(other, "B")).status == 401

    async def test_a_login_token_is_confirmed_each_time(self, server: Server):
        alice = await server.register("alice")
        path = "/_matrix/client/v1/login/get_token"
        auth = {"type": "m.login.password", "password": PASSWORD}
        for _ in range(2):
            assert (await alice.post(path, json={})).status == 401
            given = (await alice.post(path, json={"auth": auth})).ok()
            assert given["expires_in_ms"] == 90_000
            body = {"type": "m.login.token", "token": given["login_token"], "device_id": "NEW"}
            made = (await server.client.post(f"{V3}/login", json=body)).ok()
            assert made["user_id"] == alice.user_id
            assert (await server.client.post(f"{V3}/login", json=body)).errcode == "M_FORBIDDEN"
        flows = (await server.client.get(f"{V3}/login")).ok()["flows"]
        assert {"type": "m.login.token", "get_login_token": True} in flows


async def test_a_server_that_gives_no_login_tokens_does_not_know_the_endpoint(server: Server):
    alice = await server.register("alice")
    answer = await alice.post("/_matrix/client/v1/login/get_token", json={})
    assert (answer.status, answer.errcode) == (404, "M_UNRECOGNIZED")


class TestWithFewLogins:
    @pytest.fixture
    def server_overrides(self) -> dict[str, Any]:
        few = {"per_second": 0.01, "burst_count": 2}
        many = {"per_second": 1000, "burst_count": 1000}
        return {
            "rc_login": {"address": many, "account": few, "failed_attempts": many},
            "rc_registration": few,
        }

    async def test_logins_are_counted_by_account(self, server: Server):
        await server.register("alice")
        await server.register("bob")
        for _ in range(2):
            await server.login("alice")
        body = {"type": "m.login.password", "user": "alice", "password": PASSWORD}
        answer = await server.client.post(f"{V3}/login", json=body)
        assert (answer.status, answer.errcode) == (429, "M_LIMIT_EXCEEDED")
        await server.login("bob")

    async def test_registrations_are_counted_when_they_are_done(self, server: Server):
        for _ in range(5):
            asked = await server.client.post(
                f"{V3}/register", json={"username": "alice", "password": PASSWORD}
            )
            assert asked.status == 401
        await server.register("alice")
        await server.register("bob")
        answer = await server.client.post(f"{V3}/register", json={"username": "carol", "password": PASSWORD})
        assert (answer.status, answer.errcode) == (429, "M_LIMIT_EXCEEDED")
