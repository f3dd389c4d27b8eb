"""What anybody may ask of a server that federates, and on which listeners."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.authority import Authority
from tests.federated import Federated, start_federated
from tests.server import start_server

from ranvier.remote.failure import RemoteFailure
from ranvier.remote.openid import exchange_open_id_token


async def test_an_openid_token_tells_another_server_whose_it_is(alpha: Federated, beta: Federated) -> None:
    alice = await alpha.register("alice")
    path = f"/_matrix/client/v3/user/{alice.user_id}/openid/request_token"
    token = (await alice.post(path, json={})).ok()["access_token"]
    assert await exchange_open_id_token(beta.remote, alpha.server_name, token) == alice.user_id
    with pytest.raises(RemoteFailure) as caught:
        await exchange_open_id_token(beta.remote, alpha.server_name, "unknown")
    assert (caught.value.status, caught.value.errcode) == (401, "M_UNKNOWN_TOKEN")


@pytest.mark.parametrize(
    ("name", "serves", "told"),
    [
        ("a.test", True, "a.test:443"),
        ("a.test", False, None),
        # Nobody looks for the well-known of a name with a port.
        ("a.test:8448", True, None),
        ("1.2.3.4", True, None),
    ],
)
async def test_the_well_known_leads_to_port_443_if_it_is_wanted(
    tmp_path: Path, name: str, serves: bool, told: str | None
) -> None:
    server = await start_server(tmp_path, server_name=name, serve_server_wellknown=serves)
    try:
        answer = await server.client.get("/.well-known/matrix/server")
        assert answer.json.get("m.server") == told
        assert answer.status == (404 if told is None else 200)
    finally:
        await server.close()


PATHS = {
    "client": "/_matrix/client/versions",
    "federation": "/_matrix/federation/v1/version",
    "keys": "/_matrix/key/v2/server",
    "openid": "/_matrix/federation/v1/openid/userinfo?access_token=x",
    "well-known": "/.well-known/matrix/server",
}


@pytest.mark.parametrize(
    ("names", "served"),
    [
        (["federation"], {"federation", "keys", "openid", "well-known"}),
        (["client"], {"client", "well-known"}),
        (["keys"], {"keys"}),
        (["openid"], {"openid"}),
        (["client", "federation"], set(PATHS)),
    ],
)
async def test_a_listener_serves_what_its_resources_name(
    tmp_path: Path, names: list[str], served: set[str]
) -> None:
    listener = {"port": 0, "bind_addresses": ["127.0.0.1"], "resources": [{"names": names}]}
    server = await start_server(
        tmp_path, server_name="a.test", serve_server_wellknown=True, listeners=[listener]
    )
    try:
        found = {
            name
            for name, path in PATHS.items()
            if (await server.client.get(path, valid=False)).errcode != "M_UNRECOGNIZED"
        }
        assert found == served
    finally:
        await server.close()


async def test_a_server_that_is_not_on_the_list_is_asked_nothing(
    tmp_path: Path, authority: Authority, beta: Federated
) -> None:
    closed = await start_federated(
        tmp_path / "closed", authority, federation_domain_whitelist=["friend.test"]
    )
    try:
        with pytest.raises(RemoteFailure, match="configuration says so"):
            await closed.remote.request(beta.server_name, "GET", "/_matrix/federation/v1/query/profile")
        assert closed.calls == []
    finally:
        await closed.close()


async def test_notary_queries_are_bounded(alpha: Federated) -> None:
    async def ask(body: Any) -> tuple[int, str | None]:
        answer = await alpha.client.post("/_matrix/key/v2/query", json=body, valid=False)
        return answer.status, answer.errcode

    assert await ask({"server_keys": {f"{n}.test": {} for n in range(1001)}}) == (413, "M_TOO_LARGE")
    assert await ask({"server_keys": {"no name": {}}}) == (400, "M_INVALID_PARAM")
    assert await ask({"server_keys": 5}) == (400, "M_BAD_JSON")
    assert await ask({}) == (400, "M_MISSING_PARAM")
    assert (await alpha.client.get("/_matrix/key/v2/query/no%20name", valid=False)).status == 400
    own = (await alpha.client.get(f"/_matrix/key/v2/query/{alpha.server_name}")).ok()["server_keys"]
    assert [document["server_name"] for document in own] == [alpha.server_name]
