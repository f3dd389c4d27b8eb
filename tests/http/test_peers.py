"""What another server must show to be served: a signature over the raw request, for this server, by a valid key."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from tests.http.raw import RawConnection, request

from ranvier.accounts.requester import Requester
from ranvier.http.application import Application
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.limits import Limits
from ranvier.http.listening import Address, Listening
from ranvier.http.metrics import Traffic
from ranvier.http.peer_limits import PeerLimit, PeerLimits
from ranvier.http.peers import Peers
from ranvier.http.request import Request
from ranvier.http.router import Router, route_of
from ranvier.protocol import x_matrix
from ranvier.protocol.refusal import Refusal
from ranvier.protocol.server_keys import VerifyKey
from ranvier.protocol.signing import SigningKey
from ranvier.remote.allowed_servers import AllowedServers

NOW = 1_700_000_000_000
OWN = "ranvier.test"
PEER = SigningKey("peer.test", "ed25519:p", bytes(range(32)))
OTHER = SigningKey("peer.test", "ed25519:q", bytes(range(1, 33)))
PATH = "/_matrix/federation/v1/make_join/%21room%2Fx%3Apeer.test/%40u%3Apeer.test"
BODY = {"pdus": [{"n": 1}]}


@endpoint("GET", "/_matrix/federation/v1/make_join/{roomId}/{userId}", access="server")
async def make_join(request: Request) -> Answer:
    return {"origin": request.origin, **request.parameters}


@endpoint("PUT", "/_matrix/federation/v1/send/{txnId}", access="server", takes_turns=False)
async def send(request: Request) -> Answer:
    return {"origin": request.origin, "content": request.content()}


class Nobody:
    async def authenticate(self, token: str, *, locked_ok: bool = False) -> Requester:
        raise Refusal("M_UNKNOWN_TOKEN", "Unknown.", soft_logout=False)


class Keys:
    """A key ring that knows what it was given; `asked` counts look-ups."""

    def __init__(self) -> None:
        self.known = {("peer.test", PEER.key_id): VerifyKey(PEER.public, NOW + 1000)}
        self.asked = 0

    async def keys(self, wanted: Any) -> dict[tuple[str, str], VerifyKey]:
        self.asked += 1
        return {want[:2]: self.known[want[:2]] for want in wanted if want[:2] in self.known}


class Contacts:
    """Back-off that notes who was heard from."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    async def succeeded(self, destination: str) -> None:
        self.heard.append(destination)


class Gate:
    """A listener with two endpoints for servers."""

    def __init__(self, limit: PeerLimit, allowed: AllowedServers) -> None:
        self.keys, self.contacts = Keys(), Contacts()
        limits = PeerLimits(limit, asyncio.get_running_loop().time)
        peers = Peers(self.keys, allowed, self.contacts, limits, OWN, lambda: NOW)  # type: ignore[arg-type]
        marks = [mark for handler in (make_join, send) for mark in handler.__endpoints__]  # type: ignore[attr-defined]
        routes = [route_of(mark, {}, Limits({}, lambda: 0.0)) for mark in marks]
        application = Application(Router(routes), Nobody(), Traffic(), peers=peers)
        self.listening = Listening(application, [Address("127.0.0.1", 0)])

    async def ask(
        self, method: str, target: str, headers: Sequence[str], body: bytes = b""
    ) -> tuple[int, dict[str, Any]]:
        bound = self.listening.bound[0]
        lines = [f"Authorization: {header}" for header in headers]
        async with await RawConnection.open((bound.host, bound.port)) as raw:
            await raw.send(request(method, target, body, *lines))
            answer = await raw.answer()
            return answer.status, json.loads(answer.body)

    async def get(self, header: str | None) -> tuple[int, dict[str, Any]]:
        return await self.ask("GET", PATH, [header] if header is not None else [])


@pytest.fixture
async def gate(request: pytest.FixtureRequest) -> Any:
    limit, allowed = getattr(request, "param", (PeerLimit(), AllowedServers(OWN)))
    made = Gate(limit, allowed)
    await made.listening.start()
    yield made
    made.listening.stop_accepting()
    await made.listening.drain(1)


def signed(
    method: str = "GET", uri: str = PATH, content: dict[str, Any] | None = None, signer: SigningKey = PEER
) -> str:
    return x_matrix.make(signer, OWN, method, uri, content)


async def test_a_signed_request_is_served_and_the_parameters_are_decoded_after_the_check(gate: Gate) -> None:
    status, answer = await gate.get(signed())
    assert status == 200
    assert answer == {"origin": "peer.test", "roomId": "!room/x:peer.test", "userId": "@u:peer.test"}
    assert gate.contacts.heard == ["peer.test"]


async def test_query_and_body_are_signed_as_they_were_sent(gate: Gate) -> None:
    target = "/_matrix/federation/v1/send/a%2Fb?x=%20&x=+"
    body = json.dumps(BODY, indent=3).encode()
    status, answer = await gate.ask("PUT", target, [signed("PUT", target, BODY)], body)
    assert (status, answer["content"]) == (200, BODY)
    for wrong in (signed("PUT", target, None), signed("PUT", target.replace("%20", "+"), BODY)):
        assert (await gate.ask("PUT", target, [wrong], body))[0] == 401
    assert (await gate.ask("PUT", target, [signed("PUT", target, BODY)], b'{"pdus": []}'))[0] == 401


async def test_a_request_for_another_server_is_refused_and_one_without_destination_is_not(gate: Gate) -> None:
    elsewhere = x_matrix.make(PEER, "other.test", "GET", PATH, None)
    status, answer = await gate.get(elsewhere)
    assert (status, answer["errcode"]) == (401, "M_UNAUTHORIZED")
    assert "other.test" in answer["error"]
    assert (await gate.get(signed().replace(f'destination="{OWN}",', "")))[0] == 200


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (None, "needs an Authorization header"),
        ("Bearer token", "needs an Authorization header"),
        ("X-Matrix nonsense", "name=value"),
        (signed(signer=SigningKey(OWN, "ed25519:p", bytes(32))), "does not ask itself"),
        (signed(uri=PATH.replace("%2F", "/")), "reverse proxy"),
        (signed(signer=OTHER), "No valid key ed25519:q"),
        (signed(signer=SigningKey("peer.test", PEER.key_id, bytes(32))), "signature is false"),
    ],
)
async def test_what_is_not_signed_rightly_is_refused_with_the_reason(
    gate: Gate, header: str | None, words: str
) -> None:
    status, answer = await gate.get(header)
    assert (status, answer["errcode"]) == (401, "M_UNAUTHORIZED")
    assert words in answer["error"]
    assert gate.contacts.heard == []


async def test_a_key_that_is_no_longer_valid_opens_nothing(gate: Gate) -> None:
    gate.keys.known["peer.test", PEER.key_id] = VerifyKey(PEER.public, NOW - 1)
    assert (await gate.get(signed()))[0] == 401


async def test_one_of_several_signatures_must_be_known_and_none_false(gate: Gate) -> None:
    assert (await gate.ask("GET", PATH, [signed(signer=OTHER), signed()]))[0] == 200
    gate.keys.known["peer.test", OTHER.key_id] = VerifyKey(PEER.public, NOW)
    assert (await gate.ask("GET", PATH, [signed(signer=OTHER), signed()]))[0] == 401


@pytest.mark.parametrize(
    "gate",
    [
        (PeerLimit(), AllowedServers(OWN, ["friend.test"])),
        (PeerLimit(), AllowedServers(OWN, None, ["peer.test"])),
    ],
    indirect=True,
)
async def test_servers_that_are_not_allowed_are_refused_before_any_work(gate: Gate) -> None:
    status, answer = await gate.get(signed())
    assert (status, answer["errcode"]) == (403, "M_FORBIDDEN")
    assert gate.keys.asked == 0


@pytest.mark.parametrize("gate", [(PeerLimit(60_000, 2, 60_000, 3, 1), AllowedServers(OWN))], indirect=True)
async def test_an_origin_that_is_too_fast_is_refused_and_no_other_is_slowed(gate: Gate) -> None:
    for _ in range(2):
        assert (await gate.get(signed()))[0] == 200
    waiting = [asyncio.create_task(gate.get(signed())) for _ in range(4)]
    await asyncio.sleep(0.3)
    status, answer = await gate.get(signed())
    assert (status, answer["errcode"]) == (429, "M_LIMIT_EXCEEDED")
    assert answer["retry_after_ms"] > 0
    assert not any(task.done() for task in waiting)
    calm = SigningKey("calm.test", "ed25519:c", bytes(32))
    gate.keys.known["calm.test", "ed25519:c"] = VerifyKey(calm.public, NOW)
    assert (await gate.get(signed(signer=calm)))[0] == 200
    target = "/_matrix/federation/v1/send/1"
    assert (await gate.ask("PUT", target, [signed("PUT", target, {})], b"{}"))[0] == 200, "takes no turns"
    for task in waiting:
        task.cancel()


async def test_an_address_that_often_claims_what_is_not_true_may_cause_no_more_look_ups(gate: Gate) -> None:
    bad = signed(signer=OTHER)
    statuses = [(await gate.get(bad))[0] for _ in range(203)]
    assert set(statuses[:200]) == {401}
    assert statuses[-1] == 429
    assert gate.keys.asked <= 201


async def test_an_integer_that_no_event_may_have_spoils_nothing_else(gate: Gate) -> None:
    """It can't be signed as it was read, so the request is refused in words, not with a failure of the server."""
    target = "/_matrix/federation/v1/send/1"
    header = signed("PUT", target, {})
    status, answer = await gate.ask("PUT", target, [header], b'{"a": 100000000000000000000000}')
    assert (status, answer["errcode"]) == (401, "M_UNAUTHORIZED")
    for body in (b"[]", b"{", b'{"a": 1, "a": 2}', b'{"a": "\\ud800"}'):
        assert (await gate.ask("PUT", target, [header], body))[0] in (400, 401)
