"""Whose devices a client must look at anew, as /keys/changes and /sync tell it."""

from typing import Any

from tests.encryption.people import Device
from tests.server import Server, UserClient

from ranvier.store.database import Transaction


async def publish(client: UserClient) -> None:
    """Upload new identity keys of the client's device."""
    keys = Device(client.user_id, client.device_id).keys()
    (await client.post("/_matrix/client/v3/keys/upload", json={"device_keys": keys})).ok()


class Watcher:
    """A client that remembers where it has read to."""

    def __init__(self, client: UserClient) -> None:
        self.client = client
        self.since = ""

    async def catch_up(self) -> None:
        """Read all there is."""
        self.since = (await self.client.sync(self.since or None))["next_batch"]

    async def changes(self) -> tuple[set[str], set[str]]:
        """Users changed and left since `catch_up`; sync and /keys/changes must say the same."""
        synced = await self.client.sync(self.since)
        answer = await self.client.get(
            "/_matrix/client/v3/keys/changes", query={"from": self.since, "to": synced["next_batch"]}
        )
        by_changes = answer.ok()
        by_sync: dict[str, Any] = synced.get("device_lists", {})
        told = set(by_changes["changed"]), set(by_changes["left"])
        assert (set(by_sync.get("changed", [])), set(by_sync.get("left", []))) == told
        return told


async def meet(room_of: UserClient, *others: UserClient) -> str:
    """A new room with all of them in it."""
    room_id = await room_of.create_room(preset="public_chat")
    for other in others:
        await other.join(room_id)
    return room_id


async def test_new_devices_of_those_who_share_a_room_are_told(server: Server):
    alice, bob, carol = [await server.register(name) for name in ("alice", "bob", "carol")]
    await meet(alice, bob)
    watcher = Watcher(alice)
    await watcher.catch_up()
    assert await watcher.changes() == (set(), set())
    await publish(bob)
    await publish(carol)
    assert await watcher.changes() == ({bob.user_id}, set())
    await publish(alice)
    assert await watcher.changes() == ({alice.user_id, bob.user_id}, set())
    await watcher.catch_up()
    assert await watcher.changes() == (set(), set())


async def test_a_logged_out_device_is_told_if_it_had_keys(server: Server):
    alice, bob = await server.register("alice"), await server.register("bob")
    with_keys, without = await server.login("bob"), await server.login("bob")
    await meet(alice, bob)
    await publish(with_keys)
    watcher = Watcher(alice)
    await watcher.catch_up()
    (await without.post("/_matrix/client/v3/logout")).ok()
    assert await watcher.changes() == (set(), set())
    (await with_keys.post("/_matrix/client/v3/logout")).ok()
    assert await watcher.changes() == ({bob.user_id}, set())


async def test_who_comes_into_a_shared_room_counts_as_changed(server: Server):
    alice, bob, carol = [await server.register(name) for name in ("alice", "bob", "carol")]
    room_id = await meet(alice, carol)
    watcher = Watcher(alice)
    await watcher.catch_up()
    await alice.invite(room_id, bob.user_id)
    assert await watcher.changes() == (set(), set())
    await bob.join(room_id)
    assert await watcher.changes() == ({bob.user_id}, set())


async def test_entering_a_room_tells_of_all_who_are_in_it(server: Server):
    alice, bob, carol = [await server.register(name) for name in ("alice", "bob", "carol")]
    room_id = await meet(bob, carol)
    watcher = Watcher(alice)
    await watcher.catch_up()
    await alice.join(room_id)
    assert await watcher.changes() == ({alice.user_id, bob.user_id, carol.user_id}, set())


async def test_who_shares_no_room_any_more_has_left(server: Server):
    alice, bob, carol = [await server.register(name) for name in ("alice", "bob", "carol")]
    first, second = await meet(alice, bob, carol), await meet(alice, bob)
    watcher = Watcher(alice)
    await watcher.catch_up()
    await bob.leave(first)
    assert await watcher.changes() == (set(), set())
    await carol.leave(first)
    assert await watcher.changes() == (set(), {carol.user_id})
    await bob.leave(second)
    assert await watcher.changes() == (set(), {bob.user_id, carol.user_id})


async def test_leaving_a_room_leaves_those_in_it(server: Server):
    alice, bob, carol, dave = [await server.register(name) for name in ("alice", "bob", "carol", "dave")]
    room_id = await meet(bob, alice, carol, dave)
    await meet(alice, carol)
    watcher = Watcher(alice)
    await watcher.catch_up()
    await dave.leave(room_id)
    await alice.leave(room_id)
    assert await watcher.changes() == (set(), {bob.user_id, dave.user_id})


async def test_who_was_away_for_a_while_counts_as_changed(server: Server):
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await meet(alice, bob)
    watchers = [Watcher(alice), Watcher(bob)]
    for watcher in watchers:
        await watcher.catch_up()
    await bob.leave(room_id)
    await publish(bob)
    assert await watchers[0].changes() == (set(), {bob.user_id})
    await publish(alice)
    await bob.join(room_id)
    assert await watchers[0].changes() == ({alice.user_id, bob.user_id}, set())
    assert await watchers[1].changes() == ({alice.user_id, bob.user_id}, set())


async def test_who_never_came_in_has_not_left(server: Server):
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await meet(alice)
    watcher = Watcher(alice)
    await watcher.catch_up()
    await alice.invite(room_id, bob.user_id)
    await bob.leave(room_id)
    assert await watcher.changes() == (set(), set())


async def test_a_message_or_a_new_name_is_no_news_of_devices(server: Server):
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await meet(alice, bob)
    watcher = Watcher(alice)
    await watcher.catch_up()
    await bob.send(room_id, "hello")
    await bob.send_state(
        room_id, "m.room.member", {"membership": "join", "displayname": "Robert"}, bob.user_id
    )
    assert await watcher.changes() == (set(), set())


async def test_a_token_that_the_log_does_not_reach_gets_everybody(server: Server):
    alice, bob = await server.register("alice"), await server.register("bob")
    await server.register("carol")
    await meet(alice, bob)
    old = (await alice.sync())["next_batch"]

    async def trim(transaction: Transaction) -> None:
        row = ("log_horizon", "1000000")
        await transaction.insert("meta", "name, value", [row], "(name) DO UPDATE SET value = excluded.value")

    await server.composition.ground.writer.run(trim)
    answer = await alice.get("/_matrix/client/v3/keys/changes", query={"from": old, "to": old})
    assert answer.ok() == {"changed": [alice.user_id, bob.user_id], "left": []}


async def test_what_is_no_token_is_refused(server: Server):
    alice = await server.register("alice")
    token = (await alice.sync())["next_batch"]
    for query in ({"from": "x", "to": token}, {"from": token, "to": "x"}):
        answer = await alice.get("/_matrix/client/v3/keys/changes", query=query)
        assert (answer.status, answer.errcode) == (400, "M_INVALID_PARAM")
    answer = await alice.get("/_matrix/client/v3/keys/changes", query={"from": token}, valid=False)
    assert (answer.status, answer.errcode) == (400, "M_MISSING_PARAM")
