"""Cross-signing keys and signatures on keys."""

from typing import Any

import pytest
from nacl.signing import SigningKey
from tests.encryption.people import Person, public, sign
from tests.encryption.test_keys import enter, entries_of, upload_identity

from ranvier.encryption.cross_signing import AuthenticationNeeded, CrossSigning
from ranvier.encryption.keys import Keys
from ranvier.protocol.refusal import Refusal
from ranvier.store import devices
from ranvier.store.database import Database
from ranvier.store.log import Kind, Tail
from ranvier.store.writer import Writer

ALICE, BOB, CAROL = "@alice:example.org", "@bob:example.org", "@carol:example.org"


async def publish(cross_signing: CrossSigning, person: Person, *, authenticated: bool = False) -> None:
    await cross_signing.upload(person.user_id, person.cross_signing_keys(), authenticated=authenticated)


async def master_seen_by(keys: Keys, viewer: str, user_id: str) -> dict[str, Any]:
    found: dict[str, Any] = (await keys.query(viewer, {user_id: []}))["master_keys"][user_id]
    return found


def signed_by_user_signing(signer: Person, other: Person) -> dict[str, Any]:
    return sign(other.master_key(), signer.user_id, public(signer.user_signing), signer.user_signing)


async def test_first_keys_and_the_same_keys_need_no_authentication(
    cross_signing: CrossSigning, keys: Keys, alice: Person
):
    await publish(cross_signing, alice)
    await publish(cross_signing, alice)
    assert (await master_seen_by(keys, BOB, ALICE))["keys"] == alice.master_key()["keys"]


@pytest.mark.parametrize("purpose", ["master", "self_signing", "user_signing"])
async def test_another_key_needs_authentication(
    cross_signing: CrossSigning, keys: Keys, alice: Person, purpose: str
):
    await publish(cross_signing, alice)
    before = await keys.query(ALICE, {ALICE: []})
    if purpose == "master":
        changed = Person(ALICE).cross_signing_keys()
    else:
        changed = {purpose: alice.signed_by_master(purpose, SigningKey.generate())}
    with pytest.raises(AuthenticationNeeded):
        await cross_signing.upload(ALICE, changed, authenticated=False)
    assert await keys.query(ALICE, {ALICE: []}) == before
    await cross_signing.upload(ALICE, changed, authenticated=True)
    assert (await keys.query(ALICE, {ALICE: []}))[f"{purpose}_keys"][ALICE]["keys"] == changed[purpose][
        "keys"
    ]


async def test_keys_that_the_master_key_did_not_sign_are_refused(cross_signing: CrossSigning, alice: Person):
    stranger = Person(ALICE)
    for purpose in ("self_signing", "user_signing"):
        given = {**alice.cross_signing_keys(), purpose: stranger.cross_signing_keys()[purpose]}
        with pytest.raises(Refusal) as refused:
            await cross_signing.upload(ALICE, given, authenticated=True)
        assert refused.value.errcode == "M_INVALID_SIGNATURE"


async def test_keys_without_any_master_key_are_refused(cross_signing: CrossSigning, alice: Person):
    given = {"self_signing": alice.cross_signing_keys()["self_signing"]}
    with pytest.raises(Refusal) as refused:
        await cross_signing.upload(ALICE, given, authenticated=False)
    assert refused.value.errcode == "M_MISSING_PARAM"


@pytest.mark.parametrize(
    "change",
    [
        {"user_id": BOB},
        {"usage": ["self_signing"]},
        {"keys": {}},
        {"keys": {"ed25519:one": "one"}},
        {"keys": {"ed25519:" + "A" * 43: "B" * 43}},
    ],
)
async def test_a_key_of_the_wrong_form_is_refused(
    cross_signing: CrossSigning, alice: Person, change: dict[str, Any]
):
    with pytest.raises(Refusal) as refused:
        await cross_signing.upload(ALICE, {"master": {**alice.master_key(), **change}}, authenticated=False)
    assert refused.value.errcode == "M_INVALID_PARAM"


async def test_a_public_key_that_names_a_device_is_refused(
    cross_signing: CrossSigning, alice: Person, writer: Writer
):
    await writer.run(lambda t: devices.add(t, ALICE, public(alice.master), None, 0))
    with pytest.raises(Refusal) as refused:
        await publish(cross_signing, alice)
    assert refused.value.errcode == "M_FORBIDDEN"


async def test_new_keys_are_announced_where_the_user_is_and_old_ones_again_are_not(
    cross_signing: CrossSigning, alice: Person, database: Database, writer: Writer, tail: Tail
):
    await enter(writer, ALICE, 3)
    await publish(cross_signing, alice)
    await publish(cross_signing, alice)
    assert await entries_of(database, tail, Kind.DEVICE_LIST) == [(ALICE, ALICE), ("r3", ALICE)]


async def test_a_device_signed_by_the_self_signing_key_shows_that_to_everybody(
    cross_signing: CrossSigning, keys: Keys, alice: Person, database: Database, writer: Writer, tail: Tail
):
    await publish(cross_signing, alice)
    await upload_identity(keys, alice, "PHONE")
    await enter(writer, ALICE, 3)
    before = len(await entries_of(database, tail, Kind.DEVICE_LIST))
    signed = sign(alice.device("PHONE").keys(), ALICE, public(alice.self_signing), alice.self_signing)
    assert await cross_signing.add_signatures(ALICE, {ALICE: {"PHONE": signed}}) == {}
    for viewer in (ALICE, BOB):
        shown = (await keys.query(viewer, {ALICE: []}))["device_keys"][ALICE]["PHONE"]
        assert shown["signatures"] == signed["signatures"]
    assert (await entries_of(database, tail, Kind.DEVICE_LIST))[before:] == [(ALICE, ALICE), ("r3", ALICE)]


async def test_the_own_master_key_may_be_signed_by_own_devices(
    cross_signing: CrossSigning, keys: Keys, alice: Person
):
    await publish(cross_signing, alice)
    await upload_identity(keys, alice, "PHONE")
    signed = sign(alice.master_key(), ALICE, "PHONE", alice.device("PHONE").key)
    given = {ALICE: {public(alice.master): signed}}
    assert await cross_signing.add_signatures(ALICE, given) == {}
    assert (await master_seen_by(keys, BOB, ALICE))["signatures"] == signed["signatures"]


async def test_only_the_signer_sees_whom_they_verified(
    cross_signing: CrossSigning, keys: Keys, alice: Person, bob: Person, database: Database, tail: Tail
):
    await publish(cross_signing, alice)
    await publish(cross_signing, bob)
    before = len(await entries_of(database, tail, Kind.DEVICE_LIST))
    signed = signed_by_user_signing(alice, bob)
    assert await cross_signing.add_signatures(ALICE, {BOB: {public(bob.master): signed}}) == {}
    assert (await master_seen_by(keys, ALICE, BOB))["signatures"] == signed["signatures"]
    for viewer in (BOB, CAROL):
        assert (await master_seen_by(keys, viewer, BOB))["signatures"] == {}
    assert (await entries_of(database, tail, Kind.DEVICE_LIST))[before:] == [(ALICE, BOB)]


async def test_a_signature_that_came_with_the_key_is_hidden_from_others_if_it_tells_of_trust(
    cross_signing: CrossSigning, keys: Keys, alice: Person
):
    given = alice.cross_signing_keys()
    given["master"] = sign(alice.master_key(), ALICE, public(alice.user_signing), alice.user_signing)
    given["master"] = sign(given["master"], CAROL, "DEVICE", SigningKey.generate())
    await cross_signing.upload(ALICE, given, authenticated=False)
    assert (await master_seen_by(keys, BOB, ALICE))["signatures"] == {ALICE: {}}
    assert set((await master_seen_by(keys, CAROL, ALICE))["signatures"]) == {ALICE, CAROL}


async def test_each_wrong_signature_fails_alone_and_says_why(
    cross_signing: CrossSigning, keys: Keys, alice: Person, bob: Person
):
    for person in (alice, bob):
        await publish(cross_signing, person)
    await upload_identity(keys, alice, "PHONE")
    await upload_identity(keys, alice, "LAPTOP")
    phone = alice.device("PHONE").keys()
    forged = sign(phone, ALICE, public(alice.self_signing), SigningKey.generate())
    altered = sign({**phone, "algorithms": []}, ALICE, public(alice.self_signing), alice.self_signing)
    by_wrong_key = sign(phone, ALICE, public(alice.user_signing), alice.user_signing)
    by_nobody = bob.master_key()
    right = sign(alice.device("LAPTOP").keys(), ALICE, public(alice.self_signing), alice.self_signing)
    for wrong in (forged, altered, by_wrong_key):
        failures = await cross_signing.add_signatures(
            ALICE,
            {
                ALICE: {"PHONE": wrong, "LAPTOP": right, "NONE": right},
                BOB: {public(bob.master): by_nobody, "TABLET": by_nobody},
            },
        )
        codes = {user: {key: f["errcode"] for key, f in by_key.items()} for user, by_key in failures.items()}
        assert codes == {
            ALICE: {"PHONE": "M_INVALID_SIGNATURE", "NONE": "M_NOT_FOUND"},
            BOB: {public(bob.master): "M_INVALID_SIGNATURE", "TABLET": "M_NOT_FOUND"},
        }
    shown = (await keys.query(BOB, {ALICE: []}))["device_keys"][ALICE]
    assert set(shown["LAPTOP"]["signatures"][ALICE]) == {
        "ed25519:LAPTOP",
        f"ed25519:{public(alice.self_signing)}",
    }
    assert shown["PHONE"]["signatures"] == phone["signatures"]


async def test_signatures_of_replaced_keys_are_forgotten(
    cross_signing: CrossSigning, keys: Keys, alice: Person, bob: Person, database: Database
):
    await publish(cross_signing, alice)
    await publish(cross_signing, bob)
    await upload_identity(keys, alice, "PHONE")
    signed = sign(alice.device("PHONE").keys(), ALICE, public(alice.self_signing), alice.self_signing)
    await cross_signing.add_signatures(ALICE, {ALICE: {"PHONE": signed}})
    of_bob = signed_by_user_signing(alice, bob)
    of_alice = signed_by_user_signing(bob, alice)
    await cross_signing.add_signatures(ALICE, {BOB: {public(bob.master): of_bob}})
    await cross_signing.add_signatures(BOB, {ALICE: {public(alice.master): of_alice}})
    assert await database.fetch_value("SELECT COUNT(*) FROM key_signatures") == 3
    await publish(cross_signing, Person(ALICE), authenticated=True)
    assert await database.fetch_value("SELECT COUNT(*) FROM key_signatures") == 0
