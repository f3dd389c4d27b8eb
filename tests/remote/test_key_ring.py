"""Keys of servers: found at their servers or through notaries, kept when these are gone, and not asked for in vain."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from tests.remote.scripted import Answered, Scripted

from ranvier.protocol import server_keys
from ranvier.protocol.server_keys import OldKey
from ranvier.protocol.signing import SigningKey
from ranvier.remote.allowed_servers import AllowedServers
from ranvier.remote.back_off import BackOff, BackOffRules
from ranvier.remote.client import ClientRules, FederationClient
from ranvier.remote.failure import RemoteFailure
from ranvier.remote.key_ring import KeyRing
from ranvier.remote.notaries import Notaries, Notary
from ranvier.remote.own_keys import OwnKeys
from ranvier.remote.transport import Call
from ranvier.store.database import Database
from ranvier.store.writer import Writer

NOW = 1_700_000_000_000
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


def key_of(server_name: str, key_id: str = "ed25519:1", seed: int = 1) -> SigningKey:
    return SigningKey(server_name, key_id, bytes([seed]) * 32)


OWN = key_of("own.test")
NOTARY = key_of("notary.test", seed=9)


class Town:
    """Servers by name, each with the document that it publishes; `notes` is what the notary remembers."""

    def __init__(self, database: Database, writer: Writer) -> None:
        self.now = NOW
        self.documents: dict[str, Any] = {}
        self.notes: dict[str, Any] = {}
        self.notary_signs_with = NOTARY
        self.transport = Scripted(self.answer)
        self._database, self._writer = database, writer
        self.ring = self.new_ring([])

    def new_ring(self, notaries: Sequence[Notary]) -> KeyRing:
        """A key ring that has only the store to remember by."""
        back_off = BackOff(BackOffRules(0, 1, 0), self._database, self._writer, lambda: self.now)
        allowed = AllowedServers("own.test")
        client = FederationClient(OWN, self.transport, back_off, allowed, ClientRules(retries=0))
        old = [OldKey("ed25519:old", bytes(32), NOW - DAY_MS)]
        own = OwnKeys([OWN], old, DAY_MS, lambda: self.now)
        self.ring = KeyRing(
            own, client, Notaries(client, notaries), self._database, self._writer, lambda: self.now
        )
        return self.ring

    def publish(self, *signers: SigningKey, old: Sequence[OldKey] = (), valid_ms: int = DAY_MS) -> None:
        self.documents[signers[0].server_name] = server_keys.make(signers, old, self.now + valid_ms)

    def answer(self, call: Call) -> Answered:
        if call.target == "/_matrix/key/v2/query":
            assert call.body is not None
            asked = json.loads(call.body)["server_keys"]
            known = [self.notes[name] for name in asked if name in self.notes]
            return 200, {"server_keys": [self.notary_signs_with.sign_json(document) for document in known]}
        document = self.documents.get(call.destination)
        return (200, document) if document is not None else RemoteFailure(call.destination, "Gone.")

    @property
    def asked(self) -> list[str]:
        """Who was asked, in order."""
        return [call.destination for call in self.transport.calls]


@pytest.fixture
async def town(database: Database, writer: Writer) -> Town:
    return Town(database, writer)


def wanted(*signers: SigningKey, at: int = NOW) -> list[tuple[str, str, int]]:
    return [(signer.server_name, signer.key_id, at) for signer in signers]


@dataclass
class Found:
    ring: KeyRing

    async def has(self, signer: SigningKey, at: int = NOW) -> bool:
        found = (await self.ring.keys(wanted(signer, at=at))).get((signer.server_name, signer.key_id))
        return found is not None and found.public == signer.public and found.is_valid_at(at)


async def test_own_keys_are_known_without_asking_the_retired_ones_until_they_were_retired(town: Town) -> None:
    found = await town.ring.keys([("own.test", OWN.key_id, NOW), ("own.test", "ed25519:old", NOW)])
    assert found["own.test", OWN.key_id].public == OWN.public
    assert found["own.test", "ed25519:old"].is_valid_at(NOW - DAY_MS)
    assert not found["own.test", "ed25519:old"].is_valid_at(NOW)
    assert await town.ring.keys([("own.test", "ed25519:unknown", NOW)]) == {}
    assert town.asked == []


async def test_a_key_is_asked_of_its_server_once_and_kept_over_restarts(town: Town) -> None:
    peer = key_of("peer.test")
    town.publish(peer)
    assert await Found(town.ring).has(peer)
    assert await Found(town.ring).has(peer)
    assert await Found(town.new_ring([])).has(peer)
    assert town.asked == ["peer.test"]


async def test_keys_of_a_server_that_is_gone_stay_good_for_what_it_signed_in_its_time(town: Town) -> None:
    peer = key_of("peer.test")
    town.publish(peer)
    assert await Found(town.ring).has(peer)
    del town.documents["peer.test"]
    town.now += 30 * DAY_MS
    ring = town.new_ring([])
    assert await Found(ring).has(peer, at=NOW + HOUR_MS)
    assert not await Found(ring).has(peer, at=town.now)


async def test_a_key_whose_time_is_over_is_asked_for_anew(town: Town) -> None:
    peer = key_of("peer.test")
    town.publish(peer, valid_ms=HOUR_MS)
    assert await Found(town.ring).has(peer)
    town.now += 2 * HOUR_MS
    town.publish(peer)
    assert await Found(town.ring).has(peer, at=town.now)
    assert town.asked == ["peer.test", "peer.test"]


async def test_a_key_that_its_server_retires_signs_nothing_more(town: Town) -> None:
    before, after = key_of("peer.test"), key_of("peer.test", "ed25519:2", seed=2)
    town.publish(before)
    assert await Found(town.ring).has(before)
    town.now += HOUR_MS
    town.publish(after, old=[OldKey(before.key_id, before.public, town.now - 1000)])
    assert await Found(town.ring).has(after, at=town.now)
    assert await Found(town.ring).has(before, at=town.now - 1000)
    assert not await Found(town.ring).has(before, at=town.now)


async def test_a_server_that_brings_nothing_is_asked_more_and_more_seldom(town: Town) -> None:
    peer = key_of("peer.test")
    moments = []
    for _ in range(2 * 3600):
        assert not await Found(town.ring).has(peer)
        if len(town.asked) > len(moments):
            moments.append(town.now)
        town.now += 1000
    pauses = [(late - early) // 1000 for early, late in pairwise(moments)]
    assert pauses[:5] == [10, 20, 40, 80, 160]
    assert len(moments) < 12


async def test_unknown_key_ids_cost_no_request_each(town: Town) -> None:
    """A stranger may name any key: the server behind it is not asked each time."""
    town.publish(key_of("peer.test"))
    for n in range(50):
        assert not await Found(town.ring).has(key_of("peer.test", f"ed25519:x{n}"))
    assert len(town.asked) == 1


@pytest.mark.parametrize("known", [{NOTARY.key_id: NOTARY.public}, {}], ids=["configured", "asked for"])
async def test_notaries_know_the_keys_of_servers_that_are_gone(town: Town, known: dict[str, bytes]) -> None:
    peer = key_of("peer.test")
    town.notes["peer.test"] = server_keys.make([peer], [], NOW + DAY_MS)
    town.publish(NOTARY)
    assert await Found(town.new_ring([Notary("notary.test", known)])).has(peer)


async def test_what_a_notary_did_not_sign_or_was_not_asked_for_counts_nothing(town: Town) -> None:
    peer, other = key_of("peer.test"), key_of("other.test", seed=3)
    notary = Notary("notary.test", {NOTARY.key_id: NOTARY.public})
    town.notes["peer.test"] = server_keys.make([peer], [], NOW + DAY_MS)
    town.notary_signs_with = key_of("notary.test", seed=8)
    assert not await Found(town.new_ring([notary])).has(peer)
    town.notary_signs_with = NOTARY
    town.notes["peer.test"] = server_keys.make([other], [], NOW + DAY_MS)
    ring = town.new_ring([notary])
    assert not await Found(ring).has(peer)
    town.documents.clear()
    assert not await Found(ring).has(other)


async def test_keys_of_many_servers_cost_one_request_to_a_notary(town: Town) -> None:
    peers = [key_of(f"{n}.test", seed=n) for n in range(1, 100)]
    for peer in peers:
        town.notes[peer.server_name] = server_keys.make([peer], [], NOW + DAY_MS)
    ring = town.new_ring([Notary("notary.test", {NOTARY.key_id: NOTARY.public})])
    assert len(await ring.keys(wanted(*peers))) == 99
    assert town.asked == ["notary.test"]


async def test_an_older_document_from_a_notary_takes_no_validity_away(town: Town) -> None:
    peer, unknown = key_of("peer.test"), key_of("peer.test", "ed25519:2")
    town.publish(peer, valid_ms=5 * DAY_MS)
    assert await Found(town.ring).has(peer, at=NOW + 4 * DAY_MS)
    town.notes["peer.test"] = server_keys.make([peer], [], NOW + HOUR_MS)
    town.now += HOUR_MS
    ring = town.new_ring([Notary("notary.test", {NOTARY.key_id: NOTARY.public})])
    assert not await Found(ring).has(unknown)
    assert await Found(ring).has(peer, at=NOW + 4 * DAY_MS)


async def test_as_a_notary_it_asks_the_servers_themselves_and_gives_what_it_kept_when_they_are_gone(
    town: Town,
) -> None:
    peer = key_of("peer.test")
    town.publish(peer)
    ask = {"peer.test": {}, "nobody.test": {}, "own.test": {}}
    names = [document["server_name"] for document in await town.ring.documents(ask, NOW)]
    assert names == ["peer.test", "own.test"]
    del town.documents["peer.test"]
    town.now += 20 * DAY_MS
    [document] = await town.ring.documents({"peer.test": {peer.key_id: town.now}}, town.now)
    assert server_keys.parse(document, NOW).keys[peer.key_id].public == peer.public


@pytest.mark.parametrize("document", [[], {}, {"server_name": "peer.test"}, 5, "x"])
async def test_a_document_of_another_form_is_no_key(town: Town, document: Any) -> None:
    town.documents["peer.test"] = document
    assert not await Found(town.ring).has(key_of("peer.test"))
