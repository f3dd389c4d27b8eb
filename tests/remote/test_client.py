"""What requests to other servers cost at most, what they say of failures, and whom they leave alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from tests.remote.scripted import Answered, Scripted

from ranvier.protocol import x_matrix
from ranvier.protocol.signing import SigningKey
from ranvier.remote.allowed_servers import AllowedServers
from ranvier.remote.back_off import BackOff, BackOffRules
from ranvier.remote.client import ClientRules, FederationClient
from ranvier.remote.failure import RemoteFailure
from ranvier.remote.query import query_room_directory
from ranvier.remote.transport import Call
from ranvier.store.database import Database
from ranvier.store.writer import Writer

SIGNER = SigningKey("own.test", "ed25519:o", bytes(range(32)))
RULES = ClientRules(retries=2, longest_pause_s=0.01)
PATH = "/_matrix/federation/v1/x"


class Clock:
    def __init__(self) -> None:
        self.ms = 1_700_000_000_000

    def __call__(self) -> int:
        return self.ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def back_off(database: Database, writer: Writer, clock: Clock) -> BackOff:
    return BackOff(BackOffRules(1000, 2, 5000), database, writer, clock, lambda: 0.5)


def client_of(
    answer: Callable[[Call], Answered], back_off: BackOff, allowed: AllowedServers | None = None
) -> tuple[FederationClient, Scripted]:
    transport = Scripted(answer)
    return FederationClient(
        SIGNER, transport, back_off, allowed or AllowedServers("own.test"), RULES
    ), transport


def gone(call: Call) -> Answered:
    return RemoteFailure(call.destination, "It can't be reached.")


async def test_requests_are_signed_over_path_query_and_body(back_off: BackOff) -> None:
    client, transport = client_of(lambda call: (200, {"a": 1}), back_off)
    query = [("v", "$a/b"), ("v", "c d"), ("limit", "5")]
    assert await client.request("peer.test", "PUT", PATH, query=query, body={"k": "ü"}) == {"a": 1}
    [call] = transport.calls
    assert call.target == f"{PATH}?v=%24a%2Fb&v=c%20d&limit=5"
    assert call.body == '{"k":"ü"}'.encode()
    expected = x_matrix.make(SIGNER, "peer.test", "PUT", call.target, {"k": "ü"})
    assert call.headers["Authorization"] == expected
    await client.request("peer.test", "GET", PATH, sign=False)
    assert "Authorization" not in transport.calls[-1].headers


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("own.test", "does not ask itself"),
        ("a b", "not a server name"),
        ("", "not a server name"),
        ("bad.test", "does not federate"),
    ],
)
async def test_nothing_is_sent_to_whom_nothing_may_be_sent(back_off: BackOff, name: str, words: str) -> None:
    client, transport = client_of(
        lambda call: (200, {}), back_off, AllowedServers("own.test", None, ["bad.test"])
    )
    with pytest.raises(RemoteFailure, match=words) as caught:
        await client.request(name, "GET", PATH)
    assert not caught.value.was_tried
    assert transport.calls == []
    assert back_off.may_try(name)


async def test_a_refusal_tells_what_the_peer_said_and_is_not_repeated(back_off: BackOff) -> None:
    client, transport = client_of(
        lambda call: (403, {"errcode": "M_FORBIDDEN", "error": "Not here."}), back_off
    )
    with pytest.raises(RemoteFailure, match="Not here") as caught:
        await client.request("peer.test", "GET", PATH)
    failure = caught.value
    assert (failure.status, failure.errcode, failure.refused) == (403, "M_FORBIDDEN", True)
    assert len(transport.calls) == 1
    assert back_off.may_try("peer.test")


@pytest.mark.parametrize(
    ("body", "headers", "wait"),
    [
        ({"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 2500}, {}, 2500),
        ({"errcode": "M_LIMIT_EXCEEDED"}, {"retry-after": "7"}, 7000),
        ({"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 10**15}, {}, 3_600_000),
        ({"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": "soon"}, {"retry-after": "Monday"}, None),
    ],
)
async def test_a_peer_that_is_busy_says_when_to_come_back(
    back_off: BackOff, body: dict[str, Any], headers: dict[str, str], wait: int | None
) -> None:
    client, transport = client_of(lambda call: (429, body), back_off)
    transport.headers = headers
    with pytest.raises(RemoteFailure) as caught:
        await client.request("peer.test", "GET", PATH)
    assert (caught.value.retry_after_ms, caught.value.refused) == (wait, False)


@pytest.mark.parametrize(
    "body",
    [b"", b"nonsense", b"[1]", b'{"a": 1, "a": 2}', b'{"a": NaN}', b"[" * 100_000, b'"\\ud800"', b"<html>"],
)
async def test_an_answer_that_is_no_json_object_is_a_failure(back_off: BackOff, body: bytes) -> None:
    client, _ = client_of(lambda call: (200, body), back_off)
    with pytest.raises(RemoteFailure) as caught:
        await client.request("peer.test", "GET", PATH)
    assert caught.value.status == 200


async def test_an_answer_is_read_up_to_its_bound_and_no_further(back_off: BackOff) -> None:
    client, transport = client_of(lambda call: (200, b" " * 100_000), back_off)
    with pytest.raises(RemoteFailure, match="larger than 20000 bytes"):
        await client.request("peer.test", "GET", PATH, max_bytes=20_000)
    assert len(transport.calls) == 1


@pytest.mark.parametrize("status", [500, 404, 302, 204])
async def test_errors_of_any_form_are_told(back_off: BackOff, status: int) -> None:
    client, _ = client_of(lambda call: (status, b"<html>" + b"x" * 1_000_000), back_off)
    with pytest.raises(RemoteFailure) as caught:
        await client.request("peer.test", "GET", PATH)
    assert (caught.value.status, caught.value.errcode) == (status, None)
    assert back_off.may_try("peer.test"), "it is there"


async def test_a_passing_fault_passes_unnoticed(back_off: BackOff) -> None:
    answers: list[Answered] = [RemoteFailure("peer.test", "Broken."), (502, b"x"), (200, {"ok": True})]
    client, transport = client_of(lambda call: answers.pop(0), back_off)
    assert await client.request("peer.test", "GET", PATH) == {"ok": True}
    assert len(transport.calls) == 3
    assert back_off.may_try("peer.test")


async def test_the_next_attempt_is_made_as_soon_as_the_destination_asks_something_itself(
    back_off: BackOff,
) -> None:
    transport = Scripted(lambda call: gone(call) if len(transport.calls) < 8 else (200, {"ok": True}))
    client = FederationClient(SIGNER, transport, back_off, AllowedServers("own.test"), ClientRules())
    began = asyncio.get_running_loop().time()
    waiting = asyncio.create_task(client.request("peer.test", "GET", PATH, patient=True))
    while not waiting.done():
        await back_off.succeeded("peer.test")
        await asyncio.sleep(0)
    assert waiting.result() == {"ok": True}
    # By themselves the pauses before the eighth attempt last for minutes.
    assert asyncio.get_running_loop().time() - began < 5


async def test_a_pause_lasts_its_time_when_other_destinations_are_heard_of(back_off: BackOff) -> None:
    pause = asyncio.create_task(back_off.pause("peer.test", 0.05))
    await asyncio.sleep(0)
    await back_off.succeeded("other.test")
    await asyncio.sleep(0)
    assert not pause.done()
    await asyncio.wait_for(pause, 5)


async def test_a_server_that_is_away_is_left_alone_longer_each_time_also_by_the_next_process(
    back_off: BackOff, clock: Clock, database: Database, writer: Writer
) -> None:
    client, transport = client_of(gone, back_off)
    waits = []
    for _ in range(4):
        with pytest.raises(RemoteFailure, match="can't be reached"):
            await client.request("peer.test", "GET", PATH)
        waits.append(back_off.wait_ms("peer.test"))
        calls = len(transport.calls)
        with pytest.raises(RemoteFailure, match="left alone") as caught:
            await client.request("peer.test", "GET", PATH)
        assert (caught.value.was_tried, caught.value.retry_after_ms) == (False, waits[-1])
        assert len(transport.calls) == calls
        clock.ms += waits[-1]
    assert waits == [1000, 2000, 4000, 5000]
    clock.ms -= 1000
    later = BackOff(BackOffRules(1000, 2, 5000), database, writer, clock)
    await later.start()
    assert later.wait_ms("peer.test") == 1000
    assert later.failing_since("peer.test") == back_off.failing_since("peer.test")
    assert later.may_try("other.test")


async def test_what_somebody_waits_for_is_tried_all_the_same_and_brings_the_server_back(
    back_off: BackOff, database: Database, writer: Writer, clock: Clock
) -> None:
    client, transport = client_of(gone, back_off)
    with pytest.raises(RemoteFailure):
        await client.request("peer.test", "GET", PATH)
    back: list[str] = []
    back_off.when_back(back.append)
    transport.answer = lambda call: (200, {"room_id": "!a:peer.test", "servers": ["peer.test", "bad name"]})
    target = await query_room_directory(client, "peer.test", "#a:peer.test")
    assert (target.room_id, target.servers) == ("!a:peer.test", ["peer.test"])
    assert back == ["peer.test"]
    assert back_off.may_try("peer.test")
    later = BackOff(BackOffRules(), database, writer, clock)
    await later.start()
    assert later.may_try("peer.test")


async def test_many_failures_at_once_count_as_one(back_off: BackOff) -> None:
    client, _ = client_of(gone, back_off)
    requests = [client.request("peer.test", "GET", PATH) for _ in range(30)]
    await asyncio.gather(*requests, return_exceptions=True)
    assert back_off.wait_ms("peer.test") == 1000


async def test_waits_differ_by_chance(database: Database, writer: Writer, clock: Clock) -> None:
    back_off = BackOff(BackOffRules(1000, 2, 5000), database, writer, clock)
    for n in range(50):
        await back_off.failed(f"{n}.test")
    waits = {back_off.wait_ms(f"{n}.test") for n in range(50)}
    assert len(waits) > 20
    assert min(waits) >= 800
    assert max(waits) <= 1200


async def test_one_destination_gets_a_bounded_number_of_requests_at_once(back_off: BackOff) -> None:
    client, transport = client_of(lambda call: (200, {}), back_off)
    transport.slowness_s = 0.01
    await asyncio.gather(*(client.request("peer.test", "GET", PATH) for _ in range(100)))
    assert transport.most_under_way == 20
    transport.slowness_s = 10
    crowd = [asyncio.create_task(client.request("peer.test", "GET", PATH)) for _ in range(520)]
    await asyncio.sleep(0)
    with pytest.raises(RemoteFailure, match="waiting already") as caught:
        await client.request("peer.test", "GET", PATH)
    assert not caught.value.was_tried
    transport.slowness_s = 0
    assert await client.request("other.test", "GET", PATH) == {}
    for task in crowd:
        task.cancel()
    await asyncio.gather(*crowd, return_exceptions=True)
    assert await client.request("peer.test", "GET", PATH) == {}
