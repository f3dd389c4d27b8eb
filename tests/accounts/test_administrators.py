"""What administrators do to accounts, and how accounts are made with the shared secret."""

from __future__ import annotations

from typing import Any

import pytest
from tests.server import PASSWORD, Server, UserClient

from ranvier.accounts.registration import NewAccount, Registration
from ranvier.accounts.sessions import Wish
from ranvier.accounts.shared_secret import NONCE_MS, SharedSecretRegistration, mac_of
from ranvier.protocol.refusal import Refusal
from ranvier.store import accounts

from .conftest import SERVER, Floor

V1 = "/_matrix/client/v1"
ADMIN = "/_synapse/admin/v1"
SECRET = "a secret for registrations"


async def administrator(server: Server, name: str = "root") -> UserClient:
    """Somebody who may do everything."""
    registration = server.composition.parts.get(Registration)
    await registration.create(NewAccount(server.user_id(name), PASSWORD, admin=True), None)
    return await server.login(name)


@pytest.mark.parametrize(
    ("username", "password", "admin", "user_type", "mac"),
    [
        ("Alice", "pässwörd", True, None, "f6556735353a245ea41dd904926720fc029688b9"),
        ("bob", "secret", False, None, "96e17ea7c6aa5d2bcc3b249f73f83a965ef3cf68"),
        ("bob", "secret", False, "", "96e17ea7c6aa5d2bcc3b249f73f83a965ef3cf68"),
        ("bob", "secret", False, "bot", "038ab573e57e432f25c2b312630a6846ac3af2a3"),
    ],
)
def test_the_mac_is_the_one_that_scripts_compute(
    username: str, password: str, admin: bool, user_type: str | None, mac: str
):
    assert mac_of("compat-secret", "0123456789abcdef", username, password, admin, user_type) == mac


async def ask(server: Server, **changes: Any) -> Any:
    """One registration with the shared secret, as a script does it."""
    nonce = (await server.client.get(f"{ADMIN}/register")).ok()["nonce"]
    assert len(nonce) == 128
    body = {"nonce": nonce, "username": "Zoe", "password": PASSWORD, "admin": True, "user_type": None}
    body |= {key: value for key, value in changes.items() if key in body}
    mac = mac_of(SECRET, *(body[key] for key in ("nonce", "username", "password", "admin", "user_type")))
    return await server.client.post(f"{ADMIN}/register", json={**body, "mac": mac, **changes})


class TestWhereRegistrationIsClosed:
    @pytest.fixture
    def server_overrides(self) -> dict[str, Any]:
        return {"enable_registration": False}

    async def test_the_shared_secret_still_makes_accounts(self, server: Server):
        closed = await server.client.post(
            "/_matrix/client/v3/register", json={"username": "x", "password": PASSWORD}
        )
        assert (closed.status, closed.errcode) == (403, "M_FORBIDDEN")
        made = (await ask(server)).ok()
        assert made["user_id"] == "@zoe:ranvier.test"
        assert made["home_server"] == "ranvier.test"
        account = await accounts.find(server.composition.ground.database, made["user_id"])
        assert account is not None
        assert account.admin
        login = await server.login("zoe")
        assert (await login.get("/_matrix/client/v3/capabilities")).ok()["capabilities"][
            "m.account_moderation"
        ] == {"suspend": True, "lock": True}
        valid = await server.client.get(
            f"{V1}/register/m.login.registration_token/validity", query={"token": "x"}
        )
        assert valid.errcode == "M_FORBIDDEN"


async def test_no_login_is_made_if_none_is_wanted(server: Server):
    made = (await ask(server, inhibit_login=True)).ok()
    assert made == {"user_id": "@zoe:ranvier.test", "home_server": "ranvier.test"}


@pytest.mark.parametrize(
    ("changes", "status", "errcode"),
    [
        ({"nonce": None}, 400, "M_BAD_JSON"),
        ({"mac": "0" * 40}, 403, "M_UNKNOWN"),
        ({"mac": None}, 400, "M_BAD_JSON"),
        ({"mac": "ä"}, 403, "M_UNKNOWN"),
        ({"username": ""}, 400, "M_BAD_JSON"),
        ({"username": "x" * 513}, 400, "M_UNKNOWN"),
        ({"user_type": "robot"}, 400, "M_UNKNOWN"),
        ({"refresh_token": "yes"}, 400, "M_UNKNOWN"),
        ({"username": "no spaces"}, 400, "M_INVALID_USERNAME"),
    ],
)
async def test_what_is_wrong_with_a_registration_is_told(
    server: Server, changes: dict[str, Any], status: int, errcode: str
):
    if changes.get("nonce", "") is None:
        answer = await server.client.post(f"{ADMIN}/register", json={"username": "zoe"})
    else:
        answer = await ask(server, **changes)
    assert (answer.status, answer.errcode) == (status, errcode)
    assert not await accounts.exists(server.composition.ground.database, "@zoe:ranvier.test")


async def test_a_nonce_serves_once_and_for_a_minute(floor: Floor):
    secret = SharedSecretRegistration(SECRET, floor.writer, floor.registration, floor.clock)

    async def register(nonce: str, name: str) -> str:
        mac = mac_of(SECRET, nonce, name, PASSWORD, False, None)
        body = {"nonce": nonce, "username": name, "password": PASSWORD, "mac": mac}
        return (await secret.register(body))[0]

    nonce = await secret.give_nonce()
    assert await register(nonce, "alice") == f"@alice:{SERVER}"
    with pytest.raises(Refusal, match="nonce"):
        await register(nonce, "bob")
    late = await secret.give_nonce()
    floor.clock.pass_by(NONCE_MS)
    with pytest.raises(Refusal, match="nonce"):
        await register(late, "bob")
    with pytest.raises(Refusal, match="M_USER_IN_USE"):
        await register(await secret.give_nonce(), "alice")


async def test_strangers_who_collect_nonces_do_not_fill_the_store(
    floor: Floor, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("ranvier.accounts.shared_secret._NONCES", 5)
    secret = SharedSecretRegistration(SECRET, floor.writer, floor.registration, floor.clock)
    for _ in range(20):
        await secret.give_nonce()
        floor.clock.pass_by(1)
    assert await floor.database.fetch_value("SELECT COUNT(*) FROM registration_nonces") == 5


async def test_strangers_who_begin_authentication_do_not_fill_the_store(
    floor: Floor, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("ranvier.accounts.interactive_auth._SESSIONS", 5)
    monkeypatch.setattr("ranvier.accounts.interactive_auth._TRIM_EVERY", 1)
    registration = floor.registration
    for _ in range(20):
        with pytest.raises(Refusal):
            await registration.register("POST /register", {"password": "x"})
        floor.clock.pass_by(1)
    count = await floor.database.fetch_value("SELECT COUNT(*) FROM interactive_sessions")
    assert count == 6


async def test_without_a_secret_there_is_no_such_registration(floor: Floor):
    closed = SharedSecretRegistration(None, floor.writer, floor.registration, floor.clock)
    with pytest.raises(Refusal, match="not configured"):
        await closed.give_nonce()
    with pytest.raises(Refusal, match="not configured"):
        await closed.register({"nonce": "a", "username": "a", "password": "b", "mac": "c"})


async def test_a_suspended_user_reads_but_does_not_write(server: Server):
    root = await administrator(server)
    alice = await server.register("alice")
    path = f"{V1}/admin/suspend/{alice.user_id}"
    assert (await root.get(path)).ok() == {"suspended": False}
    assert (await root.put(path, json={"suspended": True})).ok() == {"suspended": True}
    assert (await root.get(path)).ok() == {"suspended": True}
    (await alice.get("/_matrix/client/v3/account/whoami")).ok()
    answer = await alice.put(
        f"/_matrix/client/v3/profile/{alice.user_id}/displayname", json={"displayname": "x"}
    )
    assert (answer.status, answer.errcode) == (403, "M_USER_SUSPENDED")
    (await root.put(path, json={"suspended": False})).ok()
    (
        await alice.put(f"/_matrix/client/v3/profile/{alice.user_id}/displayname", json={"displayname": "x"})
    ).ok()


async def test_a_locked_user_can_only_log_out(server: Server):
    root = await administrator(server)
    alice = await server.register("alice")
    (await root.put(f"{V1}/admin/lock/{alice.user_id}", json={"locked": True})).ok()
    answer = await alice.get("/_matrix/client/v3/account/whoami")
    assert (answer.status, answer.errcode, answer.json["soft_logout"]) == (401, "M_USER_LOCKED", True)
    (await alice.post("/_matrix/client/v3/logout", json=None)).ok()


async def test_only_administrators_moderate_and_not_each_other(server: Server):
    root = await administrator(server)
    other = await administrator(server, "other")
    alice = await server.register("alice")
    body = {"locked": True}
    assert (await alice.put(f"{V1}/admin/lock/{root.user_id}", json=body)).errcode == "M_FORBIDDEN"
    assert (await alice.put(f"{V1}/admin/lock/@nobody:ranvier.test", json=body)).errcode == "M_FORBIDDEN"
    for target in (root, other):
        assert (await root.put(f"{V1}/admin/lock/{target.user_id}", json=body)).errcode == "M_FORBIDDEN"
    unknown = await root.put(f"{V1}/admin/lock/@nobody:ranvier.test", json=body)
    assert (unknown.status, unknown.errcode) == (404, "M_NOT_FOUND")
    remote = await root.get(f"{V1}/admin/lock/@bob:elsewhere.test")
    assert (remote.status, remote.errcode) == (400, "M_INVALID_PARAM")
    assert (await alice.get(f"/_matrix/client/v3/admin/whois/{root.user_id}")).errcode == "M_FORBIDDEN"
    found = (await root.get(f"/_matrix/client/v3/admin/whois/{alice.user_id}")).ok()
    assert list(found["devices"]) == [alice.device_id]


async def test_registration_tokens_are_made_changed_and_taken_back(server: Server):
    root = await administrator(server)
    alice = await server.register("alice")
    tokens = f"{ADMIN}/registration_tokens"
    assert (await alice.get(tokens)).errcode == "M_FORBIDDEN"
    made = (await root.post(f"{tokens}/new", json={"token": "sesame", "uses_allowed": 2})).ok()
    assert made == {"token": "sesame", "uses_allowed": 2, "pending": 0, "completed": 0, "expiry_time": None}
    drawn = (await root.post(f"{tokens}/new", json={"length": 8})).ok()
    assert len(drawn["token"]) == 8
    assert (await root.post(f"{tokens}/new", json={"token": "sesame"})).errcode == "M_INVALID_PARAM"
    validity = f"{V1}/register/m.login.registration_token/validity"
    assert (await server.client.get(validity, query={"token": "sesame"})).ok() == {"valid": True}
    changed = (await root.put(f"{tokens}/sesame", json={"uses_allowed": 0})).ok()
    assert changed["uses_allowed"] == 0
    assert (await server.client.get(validity, query={"token": "sesame"})).ok() == {"valid": False}
    usable = (await root.get(tokens, query={"valid": "true"})).ok()["registration_tokens"]
    assert [token["token"] for token in usable] == [drawn["token"]]
    spent = (await root.get(tokens, query={"valid": "false"})).ok()["registration_tokens"]
    assert [token["token"] for token in spent] == ["sesame"]
    assert (await root.put(f"{tokens}/sesame", json={"uses_allowed": None})).ok()["uses_allowed"] is None
    (await root.delete(f"{tokens}/sesame")).ok()
    assert (await root.get(f"{tokens}/sesame")).errcode == "M_NOT_FOUND"
    for bad in (
        {"length": 0},
        {"length": 65},
        {"token": "no good"},
        {"uses_allowed": -1},
        {"expiry_time": 5},
    ):
        assert (await root.post(f"{tokens}/new", json=bad)).errcode == "M_INVALID_PARAM"
    assert (
        await root.put(f"{tokens}/{drawn['token']}", json={"expiry_time": "soon"})
    ).errcode == "M_BAD_JSON"


async def test_a_device_can_not_be_called_like_a_cross_signing_key(floor: Floor):
    session = await floor.make("alice")
    columns = "user_id, purpose, public_key, key"
    row = (session.user_id, "master", "c2lnbmluZw", "{}")
    await floor.writer.run(lambda transaction: transaction.insert("cross_signing_keys", columns, [row]))
    with pytest.raises(Refusal, match="M_FORBIDDEN"):
        await floor.logins.open(session.user_id, Wish("c2lnbmluZw"))
