"""What is taken out when its time is over, and what stays."""

from typing import Any

import pytest
from tests.http_client import path_of
from tests.server import Server, UserClient
from tests.store.invariants import find_faults

from ranvier.main.compose import milliseconds_now
from ranvier.main.housekeeping import ROUND_MS, Housekeeping, HousekeepingRules
from ranvier.store import trimming
from ranvier.store.shares import Leases

V3 = "_matrix/client/v3"
DAY = 24 * 3_600_000


class Keeper:
    """Housekeeping of a running server, whose clock only moves when it is told to."""

    def __init__(self, server: Server, rules: HousekeepingRules) -> None:
        self.ground = server.composition.ground
        self.time = milliseconds_now() + 2 * ROUND_MS
        shares = Leases(self.ground.neighbours, self.ground.database).queue("other rounds", "background", 1)
        self._made = Housekeeping(
            rules, self.ground.database, self.ground.writer, self.ground.log, shares, lambda: self.time
        )

    async def after(self, milliseconds: int) -> None:
        """A round, so much later."""
        self.time += milliseconds
        await self._made.tidy()

    async def count(self, table: str) -> int:
        return int(await self.ground.database.fetch_value(f"SELECT COUNT(*) FROM {table}"))

    async def faults(self) -> list[str]:
        return await find_faults(self.ground.database.fetch, trimmed=True)


@pytest.fixture
async def keeper(server: Server) -> Keeper:
    return Keeper(server, HousekeepingRules(originals=7 * DAY))


@pytest.fixture
async def pair(server: Server) -> tuple[UserClient, UserClient, str]:
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await alice.create_room(preset="private_chat", invite=[bob.user_id])
    await bob.join(room_id)
    return alice, bob, room_id


async def post(client: UserClient, other: UserClient, number: int) -> None:
    content = {other.user_id: {other.device_id: {"n": number}}}
    path = path_of(V3, "sendToDevice", "com.example", f"d{number}")
    (await client.put(path, json={"messages": content})).ok()


def posted(answer: Any) -> list[int]:
    return [event["content"]["n"] for event in answer.get("to_device", {}).get("events", [])]


async def test_the_log_is_kept_for_its_time_and_a_token_from_before_gets_a_full_answer(
    keeper: Keeper, pair: Any
):
    alice, bob, room_id = pair
    old = (await bob.sync())["next_batch"]
    await alice.send(room_id, "within")
    await alice.send(room_id, "still within")
    kept = await keeper.count("log")
    await keeper.after(0)
    await keeper.after(29 * DAY)
    assert await keeper.count("log") >= kept
    current = (await bob.sync(old))["next_batch"]
    await keeper.after(2 * DAY)
    assert await keeper.count("log") <= 1 + keeper.ground.log.tail.tip - keeper.ground.log.horizon
    assert keeper.ground.log.horizon > 0
    await alice.send(room_id, "beyond")
    assert await keeper.faults() == []

    def events(answer: Any) -> list[Any]:
        found: list[Any] = answer["rooms"]["join"][room_id]["timeline"]["events"]
        return found

    assert len(events(await bob.sync(old))) == 10
    later = events(await bob.sync(current))
    assert [event["content"]["body"] for event in later][-1] == "beyond"


async def test_a_log_with_too_many_entries_is_trimmed_before_its_time(server: Server, pair: Any):
    alice, _, room_id = pair
    for number in range(40):
        await alice.send(room_id, f"{number}")
    keeper = Keeper(server, HousekeepingRules(originals=None, log_entries=25))
    await keeper.after(0)
    assert await keeper.count("log") == 25
    assert await keeper.faults() == []


async def test_the_log_goes_in_slices_and_its_newest_entry_stays(
    server: Server, pair: Any, monkeypatch: pytest.MonkeyPatch
):
    alice, bob, room_id = pair
    monkeypatch.setattr(trimming, "LOG_SLICE", 3)
    keeper = Keeper(server, HousekeepingRules(originals=None, log_entries=0))
    tip = keeper.ground.log.tail.tip
    await keeper.after(0)
    positions = await keeper.ground.database.fetch("SELECT position FROM log")
    assert [row[0] for row in positions] == [tip]
    since = (await bob.sync())["next_batch"]
    await alice.send(room_id, "goes on")
    assert keeper.ground.log.tail.tip > tip
    assert len((await bob.sync(since))["rooms"]["join"][room_id]["timeline"]["events"]) == 1


async def test_who_reads_the_table_while_it_is_trimmed_gets_a_full_answer(server: Server, pair: Any):
    alice, bob, room_id = pair
    log = server.composition.ground.log
    log.tail.capacity = 1
    old = (await bob.sync())["next_batch"]
    await alice.send(room_id, "one")
    await alice.send(room_id, "two")
    keeper = Keeper(server, HousekeepingRules(originals=None, log_entries=0))
    await keeper.after(0)
    # As it is in a process that did not trim, and has not heard of it.
    log.horizon = 0
    section = (await bob.sync(old))["rooms"]["join"][room_id]
    assert len(section["timeline"]["events"]) == 10
    assert section["timeline"]["events"][0]["type"] == "m.room.create"


async def test_messages_that_wait_for_a_device_outlive_the_log_s_entries(server: Server, pair: Any):
    alice, bob, _ = pair
    since = (await bob.sync())["next_batch"]
    for number in range(5):
        await post(alice, bob, number)
    keeper = Keeper(server, HousekeepingRules(originals=None, log_entries=1))
    await keeper.after(0)
    first = await bob.sync(since)
    assert posted(first) == [0, 1, 2, 3, 4]
    assert await keeper.faults() == []
    assert await keeper.count("log") >= 5
    assert posted(await bob.sync(first["next_batch"])) == []
    await keeper.after(ROUND_MS)
    assert await keeper.count("log") <= 2
    assert await keeper.count("to_device_messages") == 0


async def test_a_transaction_id_is_known_for_two_days(keeper: Keeper, pair: Any):
    alice, _, room_id = pair
    event_id = await alice.send(room_id, "once", txn_id="same")
    await keeper.after(DAY)
    assert await alice.send(room_id, "once", txn_id="same") == event_id
    await keeper.after(DAY)
    assert await keeper.count("transactions") == 0


async def test_the_original_of_a_redacted_event_is_kept_for_its_time_and_no_longer(keeper: Keeper, pair: Any):
    alice, bob, room_id = pair
    event_id = await alice.send(room_id, "to be regretted")
    other = await alice.send(room_id, "of no regret")
    path = path_of(V3, "rooms", room_id, "redact", event_id, "r")
    (await alice.put(path, json={})).ok()

    async def original() -> str:
        sql = "SELECT pdu FROM events WHERE event_id = $1"
        return bytes(await keeper.ground.database.fetch_value(sql, event_id)).decode()

    await keeper.after(6 * DAY)
    assert "regretted" in await original()
    await keeper.after(2 * DAY)
    assert "regretted" not in await original()
    assert await keeper.count("kept_originals") == 0
    assert await keeper.faults() == []
    shown = (await bob.get(path_of(V3, "rooms", room_id, "event", event_id))).ok()
    assert shown["content"] == {} and shown["unsigned"]["redacted_because"]
    assert (await bob.get(path_of(V3, "rooms", room_id, "event", other))).ok()["content"][
        "body"
    ] == "of no regret"


async def test_originals_stay_for_ever_if_that_is_wished(server: Server, pair: Any):
    alice, _, room_id = pair
    event_id = await alice.send(room_id, "kept")
    (await alice.put(path_of(V3, "rooms", room_id, "redact", event_id, "r"), json={})).ok()
    keeper = Keeper(server, HousekeepingRules(originals=None))
    await keeper.after(3650 * DAY)
    assert await keeper.count("kept_originals") == 1


async def test_ids_of_commits_are_forgotten_once_nobody_can_be_unsure_of_them(keeper: Keeper):
    database = keeper.ground.database
    if database.dialect == "sqlite":
        # A commit to a file is never in doubt: there is nothing to be kept.
        assert await database.fetch("SELECT 1 FROM sqlite_master WHERE name = 'batches'") == []
        await keeper.after(0)
        return
    await database.run_script(["UPDATE batches SET committed_at = 1"])
    await keeper.after(0)
    assert await database.fetch_value("SELECT COUNT(*) FROM batches WHERE committed_at = 1") == 0
