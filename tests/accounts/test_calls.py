"""What clients learn of relays for calls and of bridges."""

import base64
import hashlib
import hmac
import time

import pytest
from tests.server import Server

TURN = "/_matrix/client/v3/voip/turnServer"
URIS = ["turns:turn.example.org"]


@pytest.mark.parametrize("server_overrides", [{"turn_uris": URIS, "turn_shared_secret": "secret"}])
async def test_credentials_for_a_relay_are_signed_and_pass_away(server: Server):
    alice = await server.register("alice")
    told = (await alice.get(TURN)).ok()
    until, _, user_id = told["username"].partition(":")
    digest = hmac.new(b"secret", told["username"].encode(), hashlib.sha1).digest()
    assert told["password"] == base64.b64encode(digest).decode()
    assert (told["uris"], told["ttl"], user_id) == (URIS, 3600, alice.user_id)
    assert abs(int(until) - time.time() - 3600) < 60


@pytest.mark.parametrize(
    "server_overrides", [{"turn_uris": URIS, "turn_username": "all", "turn_password": "word"}]
)
async def test_one_name_may_do_for_all(server: Server):
    told = (await (await server.register("alice")).get(TURN)).ok()
    assert (told["username"], told["password"]) == ("all", "word")


async def test_without_relays_and_bridges_there_are_none(server: Server):
    alice = await server.register("alice")
    assert (await alice.get(TURN)).status == 404
    path = "/_matrix/client/v3/thirdparty"
    assert (await alice.get(f"{path}/protocols")).ok() == {}
    for kind in ("protocol", "location", "user"):
        assert (await alice.get(f"{path}/{kind}/irc")).status == 404
    assert (await alice.get(f"{path}/location", query={"alias": "#a:ranvier.test"})).json == []
    assert (await alice.get(f"{path}/user", query={"userid": alice.user_id})).json == []
    assert (await alice.get(f"{path}/user", valid=False)).status == 400
