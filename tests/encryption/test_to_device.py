"""Messages to devices: sent once, kept until acknowledged."""

import asyncio

import orjson
import pytest
from tests.encryption.conftest import log_in
from tests.encryption.people import Person

from ranvier.encryption.to_device import ToDevice
from ranvier.protocol.refusal import Refusal
from ranvier.store import device_keys
from ranvier.store import to_device as store
from ranvier.store.database import Database
from ranvier.store.log import Kind, Tail
from ranvier.store.to_device import Outgoing
from ranvier.store.writer import Writer

ALICE, BOB = "@alice:example.org", "@bob:example.org"


async def waiting(
    database: Database, tail: Tail, user_id: str, device_id: str, after: int = 0
) -> list[object]:
    found = await store.read_to_device(database, user_id, device_id, after, tail.tip, 1_000)
    return [orjson.loads(one.message) for one in found]


def event(body: str) -> dict[str, object]:
    return {"type": "m.test", "sender": ALICE, "content": {"body": body}}


async def test_a_message_waits_for_its_device_and_for_no_other(
    to_device: ToDevice, alice: Person, bob: Person, database: Database, tail: Tail
):
    await to_device.send(ALICE, "PHONE", "m.test", "1", {BOB: {"TABLET": {"body": "hello"}}})
    assert await waiting(database, tail, BOB, "TABLET") == [event("hello")]
    assert await waiting(database, tail, ALICE, "PHONE") == []


async def test_a_star_means_all_devices_and_a_named_device_gets_its_own(
    to_device: ToDevice, alice: Person, bob: Person, database: Database, tail: Tail
):
    await to_device.send(
        ALICE, "PHONE", "m.test", "1", {ALICE: {"*": {"body": "all"}, "PHONE": {"body": "own"}}}
    )
    assert await waiting(database, tail, ALICE, "LAPTOP") == [event("all")]
    assert await waiting(database, tail, ALICE, "PHONE") == [event("own")]


async def test_a_repeated_transaction_sends_nothing_again(
    to_device: ToDevice, alice: Person, bob: Person, database: Database, tail: Tail
):
    sends = [
        to_device.send(ALICE, device, kind, txn_id, {BOB: {"TABLET": {"body": "hello"}}})
        for device, kind, txn_id in [
            ("PHONE", "m.test", "1"),
            ("PHONE", "m.test", "1"),
            ("PHONE", "m.test", "2"),
            ("PHONE", "m.other", "1"),
            ("LAPTOP", "m.test", "1"),
        ]
    ]
    await asyncio.gather(*sends)
    assert len(await waiting(database, tail, BOB, "TABLET")) == 4


async def test_devices_that_do_not_exist_and_users_elsewhere_get_nothing(
    to_device: ToDevice, alice: Person, database: Database, tail: Tail
):
    messages = {
        ALICE: {"NONE": {}, "PHONE": {"body": "hello"}},
        "@nobody:example.org": {"*": {}},
        "@carol:elsewhere.org": {"X": {}},
    }
    await to_device.send(ALICE, "PHONE", "m.test", "1", messages)
    assert await waiting(database, tail, ALICE, "PHONE") == [event("hello")]
    assert await database.fetch_value("SELECT COUNT(*) FROM to_device_messages") == 1


async def test_messages_come_in_the_order_in_which_they_were_answered(
    to_device: ToDevice, alice: Person, bob: Person, database: Database, tail: Tail
):
    for i in range(30):
        await to_device.send(ALICE, "PHONE", "m.test", str(i), {BOB: {"TABLET": {"body": str(i)}}})
    found = await waiting(database, tail, BOB, "TABLET")
    assert found == [event(str(i)) for i in range(30)]


async def test_messages_are_deleted_up_to_what_was_acknowledged(
    to_device: ToDevice, alice: Person, bob: Person, database: Database, writer: Writer, tail: Tail
):
    for i in range(5):
        await to_device.send(ALICE, "PHONE", "m.test", str(i), {BOB: {"TABLET": {"body": str(i)}}})
    first = await store.read_to_device(database, BOB, "TABLET", 0, tail.tip, 2)
    assert [orjson.loads(one.message) for one in first] == [event("0"), event("1")]
    again = await store.read_to_device(database, BOB, "TABLET", 0, tail.tip, 2)
    assert again == first
    assert await writer.run(lambda t: store.acknowledge(t, BOB, "TABLET", first[-1].position)) == 2
    assert await waiting(database, tail, BOB, "TABLET") == [event(str(i)) for i in (2, 3, 4)]
    assert await waiting(database, tail, BOB, "TABLET", after=tail.tip) == []
    assert await store.waits(database, BOB, "TABLET")
    await writer.run(lambda t: store.acknowledge(t, BOB, "TABLET", tail.tip))
    assert not await store.waits(database, BOB, "TABLET")


async def test_a_message_announces_itself_to_its_device_with_its_text(
    to_device: ToDevice, alice: Person, bob: Person, tail: Tail
):
    await to_device.send(ALICE, "PHONE", "m.test", "1", {BOB: {"*": {"body": "hello"}}})
    [entry] = tail.between(0, tail.tip)
    assert (entry.kind, entry.audience) == (Kind.TO_DEVICE, "@bob:example.org/TABLET")
    assert orjson.loads(entry.payload) == event("hello")


async def test_messages_of_a_deleted_device_are_gone(
    to_device: ToDevice, alice: Person, bob: Person, database: Database, writer: Writer
):
    await to_device.send(ALICE, "PHONE", "m.test", "1", {BOB: {"TABLET": {}}, ALICE: {"PHONE": {}}})
    await writer.run(lambda t: device_keys.delete_device_keys(t, BOB, ["TABLET"]))
    rows = await database.fetch("SELECT user_id FROM to_device_messages")
    assert [row[0] for row in rows] == [ALICE]


async def test_a_full_queue_takes_no_more_until_some_was_fetched(
    database: Database, writer: Writer, tail: Tail
):
    many = [Outgoing(BOB, "TABLET", str(i)) for i in range(store.QUEUE)]
    one = [Outgoing(BOB, "TABLET", "one more"), Outgoing(ALICE, "PHONE", "other queue")]
    assert await writer.run(lambda t: store.write_to_device(t, many, 0)) == []
    assert await writer.run(lambda t: store.write_to_device(t, one, 0)) == one[:1]
    assert len(await store.read_to_device(database, ALICE, "PHONE", 0, tail.tip, 5)) == 1
    [oldest] = await store.read_to_device(database, BOB, "TABLET", 0, tail.tip, 1)
    await writer.run(lambda t: store.acknowledge(t, BOB, "TABLET", oldest.position))
    assert await writer.run(lambda t: store.write_to_device(t, one, 0)) == []
    assert await writer.run(lambda t: store.write_to_device(t, one, 0)) == one[:1]


async def test_many_devices_are_reached_by_one_request(
    to_device: ToDevice, writer: Writer, database: Database, tail: Tail
):
    person = Person(BOB, *(f"D{i}" for i in range(600)))
    await log_in(writer, [person])
    await to_device.send(ALICE, "PHONE", "m.test", "1", {BOB: {"*": {"body": "hello"}}})
    assert await database.fetch_value("SELECT COUNT(*) FROM to_device_messages") == 600
    assert len(tail.between(0, tail.tip)) == 600


@pytest.mark.parametrize(
    ("messages", "errcode"),
    [
        ({"bob": {"X": {}}}, "M_INVALID_PARAM"),
        ({BOB: {"X": {"body": "x" * 70_000}}}, "M_TOO_LARGE"),
        ({BOB: {str(i): {} for i in range(10_001)}}, "M_TOO_LARGE"),
    ],
)
async def test_what_is_too_large_or_nobodys_is_refused(
    to_device: ToDevice, messages: dict[str, dict[str, dict[str, str]]], errcode: str
):
    with pytest.raises(Refusal) as refused:
        await to_device.send(ALICE, "PHONE", "m.test", "1", messages)
    assert refused.value.errcode == errcode


async def test_a_request_that_would_fill_very_many_queues_sends_nothing(
    to_device: ToDevice, writer: Writer, database: Database, monkeypatch: pytest.MonkeyPatch
):
    await log_in(writer, [Person(BOB, *(f"D{i}" for i in range(30)))])
    monkeypatch.setattr("ranvier.encryption.to_device._QUEUED_BYTES", 10_000)
    to_all = {BOB: {"*": {"body": "x" * 500}}}
    with pytest.raises(Refusal, match="M_TOO_LARGE"):
        await to_device.send(ALICE, "PHONE", "m.test", "1", to_all)
    assert await database.fetch_value("SELECT COUNT(*) FROM to_device_messages") == 0
    await to_device.send(ALICE, "PHONE", "m.test", "1", {BOB: {"*": {"body": "x" * 100}}})
    assert await database.fetch_value("SELECT COUNT(*) FROM to_device_messages") == 30


async def test_names_have_bounds(to_device: ToDevice):
    for event_type, txn_id in (("x" * 256, "1"), ("m.test", "x" * 256)):
        with pytest.raises(Refusal) as refused:
            await to_device.send(ALICE, "PHONE", event_type, txn_id, {})
        assert refused.value.errcode == "M_INVALID_PARAM"
