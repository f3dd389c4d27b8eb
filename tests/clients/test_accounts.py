"""Registration, login and what a client asks first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from tests.clients.homeserver import HomeserverProcess, new_homeserver
from tests.clients.traffic import Traffic

if TYPE_CHECKING:
    from tests.clients.people import People

V3 = "/_matrix/client/v3"


async def test_nio_registers_with_the_dummy_stage_and_logs_in(people: People) -> None:
    username = people.new_name("alice")
    alice = people.open_nio(username)
    registered = alice.ok(await alice.client.register(username, "a pass phrase", device_name="first"))
    assert registered.user_id == f"@{username}:clients.test"
    await alice.login("a pass phrase")
    assert (alice.ok(await alice.client.whoami())).user_id == registered.user_id
    # nio logs in as the device it registered with, which keeps its name.
    (device,) = alice.ok(await alice.client.devices()).devices
    assert (device.id, device.display_name) == (registered.device_id, "first")


async def test_js_registers_by_the_stages_the_server_names_and_logs_in(people: People) -> None:
    username = people.new_name("bob")
    bob = await people.open_js(username)
    registered = await bob.do("register", username=username, password="a pass phrase")
    assert registered == {"user_id": f"@{username}:clients.test", "stages": ["m.login.dummy"]}
    answer = await bob.login(username, "a pass phrase")
    identity = await bob.do("whoami")
    assert identity["user_id"] == registered["user_id"]
    assert identity["device_id"] == answer["device_id"]
    assert not identity.get("is_guest", False)
    (device,) = await bob.do("devices")
    assert (device["device_id"], device["display_name"]) == (bob.device_id, bob.name)


async def test_a_name_is_given_to_one_person_only(people: People, traffic: Traffic) -> None:
    from tests.clients.js_device import SdkFailure

    traffic.expect("POST", f"{V3}/register", 400, "M_USER_IN_USE", "the name is taken")
    alice = await people.nio("alice")
    username = alice.user_id[1:].partition(":")[0]
    bob = await people.open_js("bob")
    with pytest.raises(SdkFailure) as refusal:
        await bob.do("register", username=username, password="another pass phrase")
    assert (refusal.value.status, refusal.value.errcode) == (400, "M_USER_IN_USE")


async def test_a_wrong_password_opens_nothing(people: People, traffic: Traffic) -> None:
    from tests.clients.js_device import SdkFailure

    traffic.expect("POST", f"{V3}/login", 403, "M_FORBIDDEN", "the password is wrong")
    username = people.new_name("bob")
    bob = await people.open_js(username)
    await bob.do("register", username=username, password="a pass phrase")
    with pytest.raises(SdkFailure) as refusal:
        await bob.login(username, "not the pass phrase")
    assert (refusal.value.status, refusal.value.errcode) == (403, "M_FORBIDDEN")


async def test_an_account_made_by_shared_secret_logs_in_with_both_sdks(
    people: People, server: HomeserverProcess
) -> None:
    username = people.new_name("carol")
    account = server.register_by_shared_secret(username, people.password_of(username))
    assert account["user_id"] == f"@{username}:clients.test"
    assert server.ask("GET", f"{V3}/account/whoami", token=account["access_token"])[0] == 200
    js = await people.open_js(username)
    await js.login(username, people.password_of(username))
    nio = people.open_nio(username)
    await nio.login(people.password_of(username))
    known = {device["device_id"] for device in await js.do("devices")}
    assert known == {account["device_id"], js.device_id, nio.device_id}


async def test_the_server_says_what_it_can(people: People) -> None:
    bob = await people.js("bob")
    assert "m.login.password" in await bob.do("flows")
    versions = await bob.do("versions")
    # Either says that media takes a token; a server that lacks other parts of v1.11 may not list it.
    with_token = versions["unstable_features"].get("org.matrix.msc3916.stable", False)
    assert with_token or "v1.11" in versions["versions"]
    capabilities = await bob.do("capabilities")
    assert capabilities["m.room_versions"]["default"] == "12"
    assert capabilities["m.room_versions"]["available"]["12"] == "stable"
    assert capabilities["m.change_password"]["enabled"] is True
    assert await bob.do("mediaLimit") > 0
    alice = await people.nio("alice")
    assert "m.login.password" in alice.ok(await alice.client.login_info()).flows
    assert alice.ok(await alice.client.content_repository_config()).upload_size == await bob.do("mediaLimit")


async def test_a_token_ends_with_its_logout(people: People, server: HomeserverProcess) -> None:
    bob = await people.js("bob")
    other = await people.another_js(bob)
    await bob.logout()
    status, answer = server.ask("GET", f"{V3}/account/whoami", token=bob.access_token)
    assert (status, answer["errcode"]) == (401, "M_UNKNOWN_TOKEN")
    assert [device["device_id"] for device in await other.do("devices")] == [other.device_id]
    alice = await people.nio("alice")
    token = alice.access_token
    await alice.rest()
    alice.ok(await alice.client.logout())
    status, answer = server.ask("GET", f"{V3}/account/whoami", token=token)
    assert (status, answer["errcode"]) == (401, "M_UNKNOWN_TOKEN")


class TestWithRegistrationTokens:
    """On a server that lets only those in who have a token."""

    @pytest.fixture(scope="class")
    @staticmethod
    def server(_sdks: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HomeserverProcess]:
        process = new_homeserver(
            tmp_path_factory.mktemp("server"),
            registration_requires_token=True,
            enable_registration_without_verification=False,
        )
        process.start()
        yield process
        process.stop()

    @pytest.fixture
    def token(self, people: People, server: HomeserverProcess) -> str:
        admin = server.register_by_shared_secret(people.new_name("admin"), "a pass phrase", admin=True)
        path = "/_synapse/admin/v1/registration_tokens/new"
        status, answer = server.ask("POST", path, {"uses_allowed": 2}, admin["access_token"])
        assert status == 200, answer
        return str(answer["token"])

    async def test_both_sdks_register_with_a_token(self, people: People, token: str) -> None:
        username = people.new_name("alice")
        alice = people.open_nio(username)
        registered = await alice.client.register_with_token(username, "a pass phrase", token)
        assert alice.ok(registered).user_id == f"@{username}:clients.test"
        username = people.new_name("bob")
        bob = await people.open_js(username)
        answer = await bob.do("register", username=username, password="a pass phrase", token=token)
        assert answer["user_id"] == f"@{username}:clients.test"
        assert "m.login.registration_token" in answer["stages"]
        await bob.login(username, "a pass phrase")

    async def test_a_token_serves_as_often_as_it_says(
        self, people: People, server: HomeserverProcess, token: str, traffic: Traffic
    ) -> None:
        from tests.clients.js_device import SdkFailure

        traffic.expect("POST", f"{V3}/register", 401, "M_UNAUTHORIZED", "the token is used up")
        for name in ("one", "two"):
            device = await people.open_js(name)
            username = people.new_name(name)
            await device.do("register", username=username, password="a pass phrase", token=token)
        validity = f"/_matrix/client/v1/register/m.login.registration_token/validity?token={token}"
        assert server.ask("GET", validity) == (200, {"valid": False})
        third = await people.open_js("three")
        with pytest.raises(SdkFailure):
            await third.do(
                "register", username=people.new_name("three"), password="a pass phrase", token=token
            )
