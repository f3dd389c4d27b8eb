"""Events from elsewhere: those that their servers signed come through, the others with the reason."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from ranvier.protocol import events
from ranvier.protocol.events import BadEvent, Event
from ranvier.protocol.room_versions import ROOM_VERSIONS, RoomVersion
from ranvier.protocol.server_keys import VerifyKey
from ranvier.protocol.signing import SigningKey
from ranvier.remote.key_ring import Key, Wanted
from ranvier.remote.verifying import Unverifiable, Verifying

NOW = 1_700_000_000_000
A = SigningKey("a.test", "ed25519:1", bytes([1]) * 32)
B = SigningKey("b.test", "ed25519:1", bytes([2]) * 32)
VERSIONS = ["1", "4", "6", "10", "11", "12"]


class Ring:
    """Keys of a.test and b.test."""

    def __init__(self, valid_until: int = NOW + 1000) -> None:
        self.known: dict[Key, VerifyKey] = {
            (signer.server_name, signer.key_id): VerifyKey(signer.public, valid_until) for signer in (A, B)
        }
        self.batches: list[list[Wanted]] = []

    async def keys(self, wanted: Iterable[Wanted]) -> dict[Key, VerifyKey]:
        self.batches.append(list(wanted))
        return {want[:2]: self.known[want[:2]] for want in self.batches[-1] if want[:2] in self.known}


@pytest.fixture
def ring() -> Ring:
    return Ring()


@pytest.fixture
def verifying(ring: Ring) -> Any:
    made = Verifying(ring)  # type: ignore[arg-type]
    yield made
    made.stop()


def version_of(identifier: str) -> RoomVersion:
    return ROOM_VERSIONS[identifier]


def pdu_of(
    version: RoomVersion,
    body: str = "hello",
    signer: SigningKey = A,
    origin_server_ts: int = NOW,
    **more: Any,
) -> dict[str, Any]:
    reference = "$" + "x" * 43 if version.event_id_is_hash else "$x:a.test"
    built = events.build(
        version,
        room_id="!" + "r" * 43 if version.room_id_is_create_event_id else "!r:a.test",
        sender="@u:a.test",
        type="m.room.message",
        content={"body": body, **more},
        prev_events=[reference],
        auth_events=[],
        depth=5,
        origin_server_ts=origin_server_ts,
        reference_hashes={reference: "x"},
        signer=signer,
    )
    return {**built.pdu}


async def one(verifying: Verifying, pdu: Any, version: RoomVersion) -> Event | BadEvent:
    [found] = await verifying.check([pdu], version)
    return found


@pytest.mark.parametrize("identifier", VERSIONS)
async def test_an_event_comes_through_as_its_server_signed_it(verifying: Verifying, identifier: str) -> None:
    version = version_of(identifier)
    pdu = pdu_of(version)
    found = await one(verifying, {**pdu, "unsigned": {"age": 5}}, version)
    assert isinstance(found, Event)
    assert found.pdu == pdu


@pytest.mark.parametrize("identifier", VERSIONS)
async def test_a_changed_content_leaves_only_the_redacted_event(
    verifying: Verifying, identifier: str
) -> None:
    version = version_of(identifier)
    pdu = pdu_of(version)
    whole = await one(verifying, pdu, version)
    found = await one(verifying, {**pdu, "content": {"body": "other"}}, version)
    assert isinstance(found, Event)
    assert isinstance(whole, Event)
    assert (found.content, found.event_id) == ({}, whole.event_id)


@pytest.mark.parametrize("identifier", VERSIONS)
async def test_an_event_that_its_server_did_not_sign_is_dropped(
    verifying: Verifying, identifier: str
) -> None:
    version = version_of(identifier)
    pdu = pdu_of(version)
    for wrong, words in (
        ({**pdu, "sender": "@other:a.test"}, "is false"),
        ({**pdu, "depth": 6}, "is false"),
        ({**pdu, "signatures": {}}, "not signed by a.test"),
        (pdu_of(version, signer=B), "not signed by a.test"),
        ({**pdu, "signatures": {"a.test": {"ed25519:1": "nonsense"}}}, "is false"),
        ({**pdu, "depth": "deep"}, "depth"),
        ("text", "JSON object"),
        (None, "JSON object"),
    ):
        found = await one(verifying, wrong, version)
        assert isinstance(found, BadEvent)
        assert words in str(found)
        assert not isinstance(found, Unverifiable)


async def test_one_false_signature_of_a_server_spoils_its_right_one(verifying: Verifying, ring: Ring) -> None:
    version = version_of("11")
    second = SigningKey("a.test", "ed25519:2", bytes([3]) * 32)
    ring.known["a.test", "ed25519:2"] = VerifyKey(second.public, NOW)
    pdu = pdu_of(version)
    both = events.cosigned(events.parse(pdu, version), second).pdu
    assert isinstance(await one(verifying, both, version), Event)
    both["signatures"]["a.test"]["ed25519:2"] = both["signatures"]["a.test"]["ed25519:1"]
    assert isinstance(await one(verifying, both, version), BadEvent)


async def test_without_the_signers_keys_an_event_may_be_good_another_day(
    verifying: Verifying, ring: Ring
) -> None:
    ring.known.clear()
    found = await one(verifying, pdu_of(version_of("11")), version_of("11"))
    assert isinstance(found, Unverifiable)


@pytest.mark.parametrize(("identifier", "counts"), [("4", True), ("6", False), ("11", False)])
async def test_a_key_must_have_been_valid_when_the_event_was_made_as_of_room_version_5(
    verifying: Verifying, ring: Ring, identifier: str, counts: bool
) -> None:
    ring.known["a.test", A.key_id] = VerifyKey(A.public, NOW - 1)
    version = version_of(identifier)
    found = await one(verifying, pdu_of(version), version)
    assert isinstance(found, Event if counts else Unverifiable)
    assert ring.batches[-1] == [("a.test", A.key_id, 0 if counts else NOW)]


async def test_a_restricted_join_needs_the_signature_of_the_server_that_authorised_it(
    verifying: Verifying,
) -> None:
    version = version_of("11")
    event = events.build(
        version,
        room_id="!r:b.test",
        sender="@u:a.test",
        type="m.room.member",
        state_key="@u:a.test",
        content={"membership": "join", "join_authorised_via_users_server": "@v:b.test"},
        prev_events=["$" + "x" * 43],
        auth_events=[],
        depth=5,
        origin_server_ts=NOW,
        signer=A,
    )
    found = await one(verifying, event.pdu, version)
    assert isinstance(found, BadEvent)
    assert "b.test" in str(found)
    assert isinstance(await one(verifying, events.cosigned(event, B).pdu, version), Event)


async def test_of_many_moments_at_which_a_key_must_be_valid_the_latest_is_asked_for(
    verifying: Verifying, ring: Ring
) -> None:
    version = version_of("11")
    moments = [NOW + (n * 7) % 100 for n in range(100)]
    pdus = [pdu_of(version, origin_server_ts=ts) for ts in moments]
    assert all(isinstance(found, Event) for found in await verifying.check(pdus, version))
    assert ring.batches == [[("a.test", A.key_id, NOW + 99)]]


async def test_a_large_batch_keeps_its_order_asks_for_keys_once_and_leaves_the_loop_free(
    verifying: Verifying, ring: Ring
) -> None:
    version = version_of("11")
    pdus: list[Any] = [pdu_of(version, f"{n}", more="x" * 500) for n in range(2000)]
    pdus[7] = {**pdus[7], "depth": 6}
    loop = asyncio.get_running_loop()
    gaps: list[float] = []

    async def watch() -> None:
        while True:
            before = loop.time()
            await asyncio.sleep(0.001)
            gaps.append(loop.time() - before)

    watcher = asyncio.create_task(watch())
    found = await verifying.check(pdus, version)
    watcher.cancel()
    assert isinstance(found[7], BadEvent)
    bodies = [event.content["body"] for event in found if isinstance(event, Event)]
    assert bodies == [str(n) for n in range(2000) if n != 7]
    assert ring.batches == [[("a.test", A.key_id, NOW)]]
    assert sorted(gaps)[len(gaps) // 2] < 0.05
    assert len(gaps) > 10, "others had their turn meanwhile"
