"""The whole way of a client through a running server: from the first question to the last logout."""

from __future__ import annotations

from tests.server import PASSWORD, Server


async def test_a_client_registers_logs_in_refreshes_and_logs_out(server: Server):
    anonymous = server.client
    versions = (await anonymous.get("/_matrix/client/versions")).ok()["versions"]
    assert versions[0] == "r0.6.1"
    asked = await anonymous.post(
        "/_matrix/client/v3/register", json={"username": "alice", "password": PASSWORD}
    )
    assert asked.status == 401
    assert asked.json["flows"] == [{"stages": ["m.login.dummy"]}]
    alice = await server.register("alice")
    assert alice.user_id == "@alice:ranvier.test"
    who = (await alice.get("/_matrix/client/v3/account/whoami")).ok()
    assert who == {"user_id": alice.user_id, "device_id": alice.device_id, "is_guest": False}
    assert (await anonymous.get("/_matrix/client/v3/login")).ok() == {"flows": [{"type": "m.login.password"}]}
    second = await server.login("alice", refresh_token=True, device_id="SECOND")
    assert (await second.get("/_matrix/client/v3/account/whoami")).ok()["device_id"] == "SECOND"
    await second.post("/_matrix/client/v3/logout", json=None)
    gone = await second.get("/_matrix/client/v3/account/whoami")
    assert (gone.status, gone.errcode) == (401, "M_UNKNOWN_TOKEN")
    (await alice.post("/_matrix/client/v3/logout/all", json=None)).ok()
    assert (await alice.get("/_matrix/client/v3/account/whoami")).errcode == "M_UNKNOWN_TOKEN"
