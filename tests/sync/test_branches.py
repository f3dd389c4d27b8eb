"""What clients can rely on in rooms whose branches meet: what sync tells of the state is what it is."""

import random
from typing import Any

import pytest
from tests.protocol.room_script import ALICE, BOB, CAROL
from tests.rooms.peer_histories import PeerHistory, Receiver
from tests.server import Server, UserClient

LAZY = '{"room":{"state":{"lazy_load_members":true}}}'


class Follower:
    """A client that keeps the state that `state_after` tells it."""

    def __init__(self, user: UserClient, room_id: str) -> None:
        self.user, self.room_id = user, room_id
        self.since: str | None = None
        self.state: dict[tuple[str, str], str] = {}
        self.timeline: list[str] = []

    async def sync(self) -> None:
        """Take in what is new."""
        query: dict[str, Any] = {"use_state_after": "true"}
        answer = await self.user.sync(self.since, **query)
        self.since = answer["next_batch"]
        section = answer.get("rooms", {}).get("join", {}).get(self.room_id)
        if section is not None:
            self.timeline += [event["event_id"] for event in section["timeline"]["events"]]
            for event in section["state_after"]["events"]:
                self.state[event["type"], event["state_key"]] = event["event_id"]


@pytest.mark.parametrize("version", ["6", "10", "12"])
async def test_who_follows_the_state_after_each_sync_knows_what_the_room_is(
    server: Server, version: str
) -> None:
    dave = await server.register("dave")
    for seed in range(3):
        history = PeerHistory(version, seed=seed, name=f"follow{seed}")
        join = history.join(dave.user_id)
        receiver = Receiver(server, history)
        room = await receiver.found(join)
        follower = Follower(dave, room.room_id)
        chance = random.Random(seed)
        shown = len(history.events)
        history.grow_calmly(30, [ALICE, BOB, CAROL])
        for event in list(history.events.values())[shown:]:
            await receiver.receive(event)
            if chance.random() < 0.3:
                await follower.sync()
                assert follower.state == await receiver.current_state()
        await follower.sync()
        assert follower.state == await receiver.current_state()
        assert len(follower.timeline) == len(set(follower.timeline))


async def test_only_what_the_branches_resolved_to_is_told_as_state(server: Server) -> None:
    dave = await server.register("dave")
    history = PeerHistory()
    history.say("m.room.power_levels", ALICE, {"users": {ALICE: 100, BOB: 50}}, "")
    history.join(BOB)
    join = history.join(dave.user_id)
    receiver = Receiver(server, history)
    room = await receiver.found(join)
    since = (await dave.sync())["next_batch"]
    # On one branch Bob names the room, on the other Alice takes his power away and sets a topic.
    name = history.say("m.room.name", BOB, {"name": "Bob's"}, "", after=[join])
    levels = history.say("m.room.power_levels", ALICE, {"users": {ALICE: 100}}, "", after=[join])
    topic = history.say("m.room.topic", ALICE, {"topic": "order"}, "", after=[levels])
    await receiver.receive(name, levels, topic)
    assert ("m.room.name", "") not in await receiver.current_state()
    section = (await dave.sync(since, use_state_after="true"))["rooms"]["join"][room.room_id]
    told = {event["type"] for event in section["state_after"]["events"]}
    assert told == {"m.room.power_levels", "m.room.topic"}


async def test_a_room_that_is_new_begins_at_the_join_and_its_state_is_there(server: Server) -> None:
    dave = await server.register("dave")
    since = (await dave.sync())["next_batch"]
    history = PeerHistory()
    history.say("m.room.name", ALICE, {"name": "Far away"}, "")
    join = history.join(dave.user_id)
    room = await Receiver(server, history).found(join)
    for answer in (await dave.sync(since), await dave.sync(), await dave.sync(since, filter=LAZY)):
        section = answer["rooms"]["join"][room.room_id]
        assert [event["event_id"] for event in section["timeline"]["events"]] == [join.event_id]
        assert section["timeline"]["limited"]
        assert section["timeline"]["prev_batch"]
        state = {(event["type"], event["state_key"]) for event in section["state"]["events"]}
        assert {("m.room.create", ""), ("m.room.name", ""), ("m.room.power_levels", "")} <= state
        assert ("m.room.member", dave.user_id) not in state
        assert section["summary"]["m.joined_member_count"] == 2
