"""What other servers can rely on being sent."""

import asyncio
from typing import Any

from tests.federation.conftest import ServedPlace as Place
from tests.server import UserClient

from ranvier.store import sending

BOB = "@bob:b.test"
CAROL = "@carol:c.test"


async def public_room(alice: UserClient) -> str:
    return await alice.create_room(preset="public_chat")


async def test_each_server_in_the_room_gets_what_a_local_user_sends_in_order(place: Place):
    b, c = place.network.peer("b.test"), place.network.peer("c.test")
    alice = await place.server.register("alice")
    room_id = await public_room(alice)
    await place.member(room_id, BOB)
    await place.member(room_id, CAROL)
    for number in range(120):
        await alice.send(room_id, str(number))
    expected = [str(number) for number in range(120)]
    await place.network.until(lambda: b.bodies() == expected and c.bodies() == expected)
    assert b.most_at_once == 1
    assert all(pdu["room_id"] == room_id for pdu in b.pdus)
    # A join that was made through this server goes to those who were there before, and not to whom it is of.
    assert [pdu["state_key"] for pdu in b.pdus if pdu["type"] == "m.room.member"] == [CAROL]
    assert not [pdu for pdu in c.pdus if pdu["type"] == "m.room.member"]


async def test_a_server_hears_of_its_last_user_being_removed_and_of_nothing_after_that(place: Place):
    b, c = place.network.peer("b.test"), place.network.peer("c.test")
    alice = await place.server.register("alice")
    room_id = await public_room(alice)
    await place.member(room_id, BOB)
    await place.member(room_id, CAROL)
    await place.member(room_id, BOB, "leave", by=alice.user_id)
    await alice.send(room_id, "bob is gone")
    await place.network.until(lambda: c.bodies() == ["bob is gone"])
    assert [pdu["content"]["membership"] for pdu in b.pdus if pdu.get("state_key") == BOB] == ["leave"]
    assert b.bodies() == []


async def test_who_was_invited_hears_that_the_invite_is_taken_back(place: Place):
    b = place.network.peer("b.test")
    alice = await place.server.register("alice")
    room_id = await public_room(alice)
    await place.member(room_id, BOB, "invite", by=alice.user_id)
    await place.member(room_id, BOB, "leave", by=alice.user_id)
    await place.network.until(lambda: len(b.pdus) == 1)
    assert b.pdus[0]["content"]["membership"] == "leave"


async def test_a_server_that_was_away_gets_everything_in_order_and_others_do_not_wait(place: Place):
    b, c = place.network.peer("b.test", away=True), place.network.peer("c.test")
    alice = await place.server.register("alice")
    room_id = await public_room(alice)
    await place.member(room_id, BOB)
    await place.member(room_id, CAROL)
    expected = [str(number) for number in range(130)]
    for body in expected:
        await alice.send(room_id, body)
    await place.network.until(lambda: c.bodies() == expected)
    assert b.attempts > 0
    b.away = False
    await place.network.until(lambda: b.bodies() == expected)
    assert len({txn_id for txn_id, _ in b.transactions}) == len(b.transactions)


async def test_what_was_missed_survives_a_restart(place: Place):
    b = place.network.peer("b.test", away=True)
    alice = await place.server.register("alice")
    room_id = await public_room(alice)
    await place.member(room_id, BOB)
    await alice.send(room_id, "before")
    await place.network.until(lambda: b.attempts > 0)
    await place.stop()
    await alice.send(room_id, "between")
    b.away = False
    await place.start()
    await alice.send(room_id, "after")
    await place.network.until(lambda: b.bodies() == ["before", "between", "after"])


async def test_an_event_that_a_server_refuses_is_not_sent_again(place: Place):
    b = place.network.peer("b.test")
    b.judge = lambda body: (200, {"pdus": {"$x": {"error": "no"}}})
    alice = await place.server.register("alice")
    room_id = await public_room(alice)
    await place.member(room_id, BOB)
    await alice.send(room_id, "one")
    await alice.send(room_id, "two")
    await place.network.until(lambda: b.bodies() == ["one", "two"])


async def test_a_server_with_which_this_one_does_not_federate_is_sent_nothing(place: Place):
    denied, b = place.network.peer("denied.test"), place.network.peer("b.test")
    alice = await place.server.register("alice")
    room_id = await public_room(alice)
    await place.member(room_id, "@eve:denied.test")
    await place.member(room_id, BOB)
    await alice.send(room_id, "hello")
    await place.network.until(lambda: b.bodies() == ["hello"])
    assert denied.attempts == 0


async def test_a_server_away_for_longer_than_the_log_reaches_back_gets_everything_room_by_room(place: Place):
    b, c = place.network.peer("b.test", away=True), place.network.peer("c.test")
    alice = await place.server.register("alice")
    rooms = [await public_room(alice) for _ in range(3)]
    for room_id in rooms:
        await place.member(room_id, BOB)
        await place.member(room_id, CAROL)
        for number in range(30):
            await alice.send(room_id, str(number))
    await place.member(rooms[2], BOB, "leave", by=alice.user_id)
    await alice.send(rooms[2], "not for b")
    await place.network.until(lambda: len(c.bodies()) == 91 and b.attempts > 0)
    await place.stop()
    await place.trim_log()
    b.away = False
    await place.start()
    await place.network.until(lambda: len(b.bodies()) == 90)
    for room_id in rooms:
        said = [pdu for pdu in b.pdus if pdu["room_id"] == room_id and pdu["type"] == "m.room.message"]
        assert [pdu["content"]["body"] for pdu in said] == [str(number) for number in range(30)]
    last = b.pdus[-1]
    assert (last["state_key"], last["content"]["membership"]) == (BOB, "leave")
    await alice.send(rooms[0], "and on")
    await place.network.until(lambda: b.bodies()[-1] == "and on")


async def test_what_a_server_refuses_as_a_whole_is_narrowed_down_and_the_rest_arrives(place: Place):
    b = place.network.peer("b.test", away=True)
    alice = await place.server.register("alice")
    room_id = await public_room(alice)
    await place.member(room_id, BOB)
    await alice.send(room_id, "0")
    await place.network.until(lambda: b.attempts > 0)
    for number in range(1, 20):
        await alice.send(room_id, str(number))

    def judge(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        said = [pdu["content"].get("body") for pdu in body["pdus"]]
        return (400, {"errcode": "M_BAD_JSON"}) if "7" in said else (200, {"pdus": {}})

    b.judge = judge
    b.away = False
    place.impatient()
    expected = [str(number) for number in range(20) if number != 7]
    await place.network.until(lambda: b.bodies() == expected)


async def test_a_destination_that_is_up_to_date_has_no_row(place: Place):
    b, c = place.network.peer("b.test"), place.network.peer("c.test", away=True)
    alice = await place.server.register("alice")
    room_id = await public_room(alice)
    await place.member(room_id, BOB)
    await place.member(room_id, CAROL)
    await alice.send(room_id, "hello")
    await place.network.until(lambda: bool(b.bodies() and c.attempts))
    await place.stop()
    database = place.composition.ground.database
    assert [lag.destination for lag in await sending.read_lags(database)] == ["c.test"]
    c.away = False
    await place.start()
    await place.network.until(lambda: bool(c.bodies()))
    await place.rest()
    await place.stop()
    assert await sending.read_lags(database) == []


async def test_who_watches_the_server_sees_what_was_sent_and_who_is_behind(place: Place):
    b, c = place.network.peer("b.test"), place.network.peer("c.test", away=True)
    alice = await place.server.register("alice")
    room_id = await public_room(alice)
    await place.member(room_id, BOB)
    await place.member(room_id, CAROL)
    for number in range(3):
        await alice.send(room_id, str(number))
    await place.network.until(lambda: len(b.bodies()) == 3 and c.attempts > 1)
    of_b, of_c = place.destinations.find("b.test"), place.destinations.find("c.test")
    async with asyncio.timeout(10):
        while of_b.has_work or not of_c.behind:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    lines = place.server.process.figures.text().decode().splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert (
        values['synapse_federation_client_sent_pdu_destinations_count_total{server_name="ranvier.test"}']
        == "4"
    )
    assert values["ranvier_federation_destinations_behind"] == "1"
    lag = 'synapse_event_processing_lag_by_event_count{name="federation_sender",server_name="ranvier.test"}'
    assert int(values[lag]) >= 4
