"""Publishing, looking up and claiming keys of devices."""

import asyncio

import pytest
from tests.encryption.conftest import Clock
from tests.encryption.people import Person, public, sign

from ranvier.encryption.cross_signing import CrossSigning
from ranvier.encryption.keys import Keys
from ranvier.protocol.refusal import Refusal
from ranvier.store import cross_signing as cross_signing_store
from ranvier.store import device_keys, devices, log, one_time_keys
from ranvier.store.database import Database, Transaction
from ranvier.store.log import Kind, Tail
from ranvier.store.rooms import Membership, set_memberships
from ranvier.store.writer import Writer

ALICE, BOB = "@alice:example.org", "@bob:example.org"
SIGNED = "signed_curve25519"


async def upload_identity(keys: Keys, person: Person, device_id: str, **changes: object) -> None:
    await keys.upload(person.user_id, device_id, person.device(device_id).keys(**changes), {}, {})


async def upload_one_time(keys: Keys, person: Person, device_id: str, *names: str) -> dict[str, int]:
    one_time = person.device(device_id).one_time_keys(*names)
    return await keys.upload(person.user_id, device_id, None, one_time, {})


async def claim(keys: Keys, device_id: str = "PHONE") -> str | None:
    answer = await keys.claim({ALICE: {device_id: SIGNED}})
    found = answer["one_time_keys"].get(ALICE, {}).get(device_id)
    return next(iter(found)).partition(":")[2] if found else None


async def enter(writer: Writer, user_id: str, *rooms: int) -> None:
    """Make somebody a member of rooms, by number."""
    members = [
        Membership(user_id, f"!{room}:example.org", room, "join", 0, user_id, False, None) for room in rooms
    ]
    await writer.run(lambda transaction: set_memberships(transaction, members))


async def entries_of(database: Database, tail: Tail, kind: Kind) -> list[tuple[str, str]]:
    """(audience, ref) of the log's entries of a kind."""
    rows = await database.fetch(
        "SELECT audience, ref FROM log WHERE kind = $1 AND position <= $2 ORDER BY position",
        int(kind),
        tail.tip,
    )
    return [(row[0], row[1]) for row in rows]


async def test_uploaded_device_keys_are_found_with_the_devices_name(keys: Keys, alice: Person):
    await upload_identity(keys, alice, "PHONE")
    found = await keys.query(BOB, {ALICE: []})
    expected = {**alice.device("PHONE").keys(), "unsigned": {"device_display_name": "PHONE's name"}}
    assert found["device_keys"] == {ALICE: {"PHONE": expected}}
    assert found["failures"] == {}


async def test_a_query_names_only_the_devices_that_it_asks_for(keys: Keys, alice: Person):
    await upload_identity(keys, alice, "PHONE")
    await upload_identity(keys, alice, "LAPTOP")
    assert set((await keys.query(BOB, {ALICE: []}))["device_keys"][ALICE]) == {"PHONE", "LAPTOP"}
    assert set((await keys.query(BOB, {ALICE: ["LAPTOP", "NONE"]}))["device_keys"][ALICE]) == {"LAPTOP"}


async def test_users_of_other_servers_are_failures_and_nothing_is_pretended(keys: Keys, alice: Person):
    found = await keys.query(ALICE, {"@carol:elsewhere.org": [], ALICE: []})
    assert set(found["failures"]) == {"elsewhere.org"}
    assert set(found["device_keys"]) == {ALICE}
    claimed = await keys.claim({"@carol:elsewhere.org": {"X": SIGNED}})
    assert set(claimed["failures"]) == {"elsewhere.org"}


@pytest.mark.parametrize(
    ("change", "errcode"),
    [
        ({"user_id": BOB}, "M_INVALID_PARAM"),
        ({"device_id": "OTHER"}, "M_INVALID_PARAM"),
        ({"keys": {"ed25519:OTHER": "key"}}, "M_INVALID_PARAM"),
        ({"keys": {"ed25519:PHONE": 5}}, "M_BAD_JSON"),
        ({"algorithms": "m.olm"}, "M_BAD_JSON"),
        ({"extra": 2**60}, "M_BAD_JSON"),
        ({"extra": "x" * 40_000}, "M_TOO_LARGE"),
    ],
)
async def test_device_keys_that_are_wrong_are_refused(
    keys: Keys, alice: Person, change: dict[str, object], errcode: str
):
    value = {**alice.device("PHONE").keys(), **change}
    with pytest.raises(Refusal) as refused:
        await keys.upload(ALICE, "PHONE", value, {}, {})
    assert refused.value.errcode == errcode
    assert (await keys.query(BOB, {ALICE: []}))["device_keys"][ALICE] == {}


async def test_new_identity_keys_replace_the_old_ones_and_all_that_these_signed(
    keys: Keys, cross_signing: CrossSigning, alice: Person, database: Database, tail: Tail
):
    device = alice.device("PHONE")
    await keys.upload(ALICE, "PHONE", device.keys(), device.one_time_keys("one"), {})
    await cross_signing.upload(ALICE, alice.cross_signing_keys(), authenticated=False)
    signed = sign(device.keys(), ALICE, public(alice.self_signing), alice.self_signing)
    assert await cross_signing.add_signatures(ALICE, {ALICE: {"PHONE": signed}}) == {}
    before = len(await entries_of(database, tail, Kind.DEVICE_LIST))
    newer = Person(ALICE, "PHONE").device("PHONE")
    counts = await keys.upload(ALICE, "PHONE", newer.keys(), newer.one_time_keys("two"), {})
    assert counts == {SIGNED: 1}
    shown = (await keys.query(BOB, {ALICE: []}))["device_keys"][ALICE]["PHONE"]
    assert (shown["keys"], shown["signatures"]) == (newer.keys()["keys"], newer.keys()["signatures"])
    assert await claim(keys) == "two"
    assert len(await entries_of(database, tail, Kind.DEVICE_LIST)) == before + 1


async def test_device_keys_may_lack_signatures(keys: Keys, alice: Person):
    value = {key: item for key, item in alice.device("PHONE").keys().items() if key != "signatures"}
    await keys.upload(ALICE, "PHONE", value, {}, {})
    assert (await keys.query(BOB, {ALICE: []}))["device_keys"][ALICE]["PHONE"]["signatures"] == {}


async def test_algorithms_of_a_device_may_change(keys: Keys, alice: Person):
    await upload_identity(keys, alice, "PHONE")
    await upload_identity(keys, alice, "PHONE", algorithms=["new"])
    assert (await keys.query(BOB, {ALICE: []}))["device_keys"][ALICE]["PHONE"]["algorithms"] == ["new"]


async def test_a_device_that_was_logged_out_leaves_no_keys(
    keys: Keys, alice: Person, database: Database, writer: Writer
):
    await upload_identity(keys, alice, "PHONE")
    await upload_one_time(keys, alice, "PHONE", "one")

    async def log_out(transaction: Transaction) -> None:
        await devices.remove(transaction, ALICE, ["PHONE"])
        await device_keys.delete_device_keys(transaction, ALICE, ["PHONE"])

    await writer.run(log_out)
    assert (await keys.query(BOB, {ALICE: []}))["device_keys"] == {ALICE: {}}
    assert await claim(keys) is None
    with pytest.raises(Refusal, match="logged out"):
        await upload_identity(keys, alice, "PHONE")
    assert await device_keys.read_keys_of_device(database, ALICE, "PHONE") is None


async def test_who_shares_a_room_hears_of_changed_devices_and_only_of_changes(
    keys: Keys, alice: Person, database: Database, writer: Writer, tail: Tail
):
    await enter(writer, ALICE, 7, 8)
    await upload_identity(keys, alice, "PHONE")
    expected = [(ALICE, ALICE), ("r7", ALICE), ("r8", ALICE)]
    assert sorted(await entries_of(database, tail, Kind.DEVICE_LIST)) == expected
    await upload_identity(keys, alice, "PHONE")
    assert len(await entries_of(database, tail, Kind.DEVICE_LIST)) == 3
    await writer.run(lambda t: device_keys.delete_device_keys(t, ALICE, ["LAPTOP"]))
    assert len(await entries_of(database, tail, Kind.DEVICE_LIST)) == 3
    await writer.run(lambda t: device_keys.delete_device_keys(t, ALICE, ["PHONE"]))
    assert len(await entries_of(database, tail, Kind.DEVICE_LIST)) == 6


async def test_one_time_keys_are_counted_and_given_out_in_the_order_of_their_upload(
    keys: Keys, alice: Person
):
    assert await upload_one_time(keys, alice, "PHONE", "z", "y") == {SIGNED: 2}
    assert await upload_one_time(keys, alice, "PHONE", "a") == {SIGNED: 3}
    assert {await claim(keys), await claim(keys)} == {"z", "y"}
    assert await claim(keys) == "a"
    assert await claim(keys) is None
    assert await keys.upload(ALICE, "PHONE", None, {}, {}) == {SIGNED: 0}


async def test_no_key_is_given_out_twice_however_many_ask_at_once(keys: Keys, alice: Person):
    names = [f"k{i}" for i in range(40)]
    await upload_one_time(keys, alice, "PHONE", *names)
    claimed = await asyncio.gather(*(claim(keys) for _ in range(60)))
    given = [name for name in claimed if name is not None]
    assert sorted(given) == sorted(names)


async def test_many_devices_are_claimed_in_one_request(keys: Keys, writer: Writer):
    people = Person(ALICE, *(f"D{i}" for i in range(300)))

    async def log_in(transaction: Transaction) -> None:
        for device_id in people.devices:
            await devices.add(transaction, ALICE, device_id, None, 0)

    await writer.run(log_in)
    for device_id in people.devices:
        await upload_one_time(keys, people, device_id, "only")
    answer = await keys.claim({ALICE: dict.fromkeys(people.devices, SIGNED)})
    assert set(answer["one_time_keys"][ALICE]) == set(people.devices)
    assert (await keys.claim({ALICE: dict.fromkeys(people.devices, SIGNED)}))["one_time_keys"] == {}


async def test_a_repeated_upload_adds_nothing_even_after_the_key_was_claimed(keys: Keys, alice: Person):
    await upload_one_time(keys, alice, "PHONE", "one", "two")
    assert await upload_one_time(keys, alice, "PHONE", "one", "two") == {SIGNED: 2}
    assert await claim(keys) == "one"
    assert await upload_one_time(keys, alice, "PHONE", "one", "two") == {SIGNED: 1}
    assert await claim(keys) == "two"
    assert await claim(keys) is None


async def test_the_memory_of_claimed_keys_is_bounded_in_time(
    keys: Keys, alice: Person, database: Database, clock: Clock
):
    await upload_one_time(keys, alice, "PHONE", "one")
    assert await claim(keys) == "one"
    clock.time += 8 * 24 * 3600 * 1000
    await upload_one_time(keys, alice, "PHONE", "two")
    assert await database.fetch_value("SELECT COUNT(*) FROM one_time_keys") == 1


async def test_another_key_under_the_same_name_is_refused_and_the_first_one_stays(keys: Keys, alice: Person):
    await upload_one_time(keys, alice, "PHONE", "one")
    other = {f"{SIGNED}:one": {"key": "another", "signatures": {}}, f"{SIGNED}:two": {"key": "new"}}
    with pytest.raises(Refusal) as refused:
        await keys.upload(ALICE, "PHONE", None, other, {})
    assert refused.value.errcode == "M_INVALID_PARAM"
    answer = await keys.claim({ALICE: {"PHONE": SIGNED}})
    assert answer["one_time_keys"][ALICE]["PHONE"] == alice.device("PHONE").one_time_keys("one")
    assert await claim(keys) is None


async def test_a_device_has_a_bounded_number_of_one_time_keys(keys: Keys, alice: Person):
    first = {f"{SIGNED}:{i}": {"key": str(i)} for i in range(999)}
    await keys.upload(ALICE, "PHONE", None, first, {})
    with pytest.raises(Refusal) as refused:
        await keys.upload(ALICE, "PHONE", None, {f"{SIGNED}:{i}": {"key": "x"} for i in ("a", "b")}, {})
    assert refused.value.errcode == "M_TOO_LARGE"
    await keys.upload(ALICE, "PHONE", None, {f"{SIGNED}:a": {"key": "x"}}, {})


@pytest.mark.parametrize("name", ["nocolon", ":id", "algorithm:", "a:" + "x" * 300])
async def test_names_of_one_time_keys_have_a_form(keys: Keys, alice: Person, name: str):
    with pytest.raises(Refusal) as refused:
        await keys.upload(ALICE, "PHONE", None, {name: {"key": "x"}}, {})
    assert refused.value.errcode == "M_INVALID_PARAM"


async def test_a_fallback_key_is_given_when_no_one_time_key_is_left_and_then_counts_as_used(
    keys: Keys, alice: Person, database: Database
):
    fallback = alice.device("PHONE").one_time_keys("fall", fallback=True)
    await keys.upload(ALICE, "PHONE", None, alice.device("PHONE").one_time_keys("one"), fallback)
    assert await one_time_keys.unused_fallback_key_types(database, ALICE, "PHONE") == [SIGNED]
    assert await claim(keys) == "one"
    assert await one_time_keys.unused_fallback_key_types(database, ALICE, "PHONE") == [SIGNED]
    assert await claim(keys) == "fall"
    assert await claim(keys) == "fall"
    assert await one_time_keys.unused_fallback_key_types(database, ALICE, "PHONE") == []
    await keys.upload(ALICE, "PHONE", None, {}, fallback)
    assert await one_time_keys.unused_fallback_key_types(database, ALICE, "PHONE") == []
    newer = alice.device("PHONE").one_time_keys("newer", fallback=True)
    await keys.upload(ALICE, "PHONE", None, {}, newer)
    assert await one_time_keys.unused_fallback_key_types(database, ALICE, "PHONE") == [SIGNED]
    assert await claim(keys) == "newer"


async def test_two_fallback_keys_of_one_algorithm_are_refused(keys: Keys, alice: Person):
    two = alice.device("PHONE").one_time_keys("one", "two", fallback=True)
    with pytest.raises(Refusal, match="only one fallback key"):
        await keys.upload(ALICE, "PHONE", None, {}, two)


async def test_a_device_hears_that_its_keys_were_claimed(
    keys: Keys, alice: Person, database: Database, tail: Tail
):
    fallback = alice.device("PHONE").one_time_keys("fall", fallback=True)
    await keys.upload(ALICE, "PHONE", None, alice.device("PHONE").one_time_keys("one"), fallback)
    audience = log.device_audience(ALICE, "PHONE")
    for _ in range(4):
        await claim(keys)
    # The upload, the last one-time key, the fallback key's first use; not its further uses.
    assert await entries_of(database, tail, Kind.ONE_TIME_KEYS) == [(audience, "")] * 3


async def test_a_user_signing_key_is_shown_to_its_owner_only(
    keys: Keys, cross_signing: CrossSigning, alice: Person, bob: Person
):
    await cross_signing.upload(ALICE, alice.cross_signing_keys(), authenticated=False)
    own = await keys.query(ALICE, {ALICE: []})
    others = await keys.query(BOB, {ALICE: []})
    assert own["user_signing_keys"] == {ALICE: alice.cross_signing_keys()["user_signing"]}
    assert others["user_signing_keys"] == {}
    for found in (own, others):
        assert found["self_signing_keys"] == {ALICE: alice.cross_signing_keys()["self_signing"]}
        assert found["master_keys"] == {ALICE: {**alice.master_key(), "signatures": {}}}


async def test_closing_an_account_takes_its_cross_signing_keys(
    keys: Keys, cross_signing: CrossSigning, alice: Person, writer: Writer
):
    await cross_signing.upload(ALICE, alice.cross_signing_keys(), authenticated=False)
    await writer.run(lambda t: cross_signing_store.delete_cross_signing_keys(t, ALICE))
    assert (await keys.query(ALICE, {ALICE: []}))["master_keys"] == {}
