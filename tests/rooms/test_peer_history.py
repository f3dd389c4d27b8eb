"""What other servers can rely on that ask about a room's past: it is whole, in order, and no more than is theirs."""

from tests.protocol.room_script import ALICE, BOB, CAROL
from tests.rooms.peer_histories import PeerHistory, Receiver
from tests.server import Server

from ranvier.rooms.heads import Room
from ranvier.rooms.peer_history import PeerHistory as Past


class Scene:
    """Bob's join, two branches after it, and an event that joins them; Carol of two.example comes at the end."""

    def __init__(self, server: Server) -> None:
        self.past = server.composition.parts.get(Past)
        self.history = PeerHistory()
        self.join = self.history.join(BOB)
        self.receiver = Receiver(server, self.history)
        self.name = self.history.say("m.room.name", ALICE, {"name": "here"}, "", after=[self.join])
        self.text = self.history.text(BOB, "there", after=[self.join])
        self.both = self.history.text(ALICE, "both", after=[self.name, self.text])
        self.carol = self.history.join(CAROL)

    async def enter(self) -> Room:
        """The server takes all of it in."""
        room = await self.receiver.found(self.join)
        await self.receiver.receive(self.name, self.text, self.both, self.carol)
        return room


async def test_the_state_before_an_event_is_told_with_all_that_it_rests_on(server: Server) -> None:
    scene = Scene(server)
    room = await scene.enter()
    for event in (scene.join, scene.text, scene.both, scene.carol):
        found = await scene.past.state_ids(room, event.event_id)
        assert found is not None
        wanted = scene.history.state_at(event)
        assert set(found.state) == {one.event_id for one in wanted}
        assert set(found.auth_chain) == {one.event_id for one in scene.history.chain_of(wanted)}
        chain = {one.event_id for one in scene.history.chain_of([event])}
        assert set(await scene.past.auth_chain(room, [event.event_id])) == chain
    assert await scene.past.state_ids(room, "$unknown") is None


async def test_a_walk_back_gives_each_event_once_the_newest_first(server: Server) -> None:
    scene = Scene(server)
    room = await scene.enter()
    walked = await scene.past.backfill(room, [scene.carol.event_id], 10, "two.example")
    assert [event.event_id for event in walked[:2]] == [scene.carol.event_id, scene.both.event_id]
    assert {event.event_id for event in walked[2:4]} == {scene.name.event_id, scene.text.event_id}
    assert [event.event_id for event in walked[4:]] == [scene.join.event_id]
    assert len(await scene.past.backfill(room, [scene.carol.event_id], 2, "two.example")) == 2


async def test_what_is_missing_between_two_events_is_told_oldest_first(server: Server) -> None:
    scene = Scene(server)
    room = await scene.enter()
    ends = [scene.join.event_id], [scene.carol.event_id]
    found = await scene.past.missing_events(room, *ends, 10, 0, "two.example")
    assert {event.event_id for event in found[:2]} == {scene.name.event_id, scene.text.event_id}
    assert [event.event_id for event in found[2:]] == [scene.both.event_id]
    nearest = await scene.past.missing_events(room, *ends, 10, scene.both.depth, "two.example")
    assert nearest == found[2:]


async def test_what_was_before_a_servers_users_came_is_told_redacted_where_it_is_not_shared(
    server: Server,
) -> None:
    scene = Scene(server)
    history, join = PeerHistory(name="closed"), "m.room.history_visibility"
    history.say(join, ALICE, {"history_visibility": "joined"}, "")
    bob = history.join(BOB)
    receiver = Receiver(server, history)
    room = await receiver.found(bob)
    before = history.text(BOB, "not for Carol")
    carol = history.join(CAROL)
    after = history.text(BOB, "for Carol")
    await receiver.receive(before, carol, after)
    walked = await scene.past.backfill(room, [after.event_id], 10, "two.example")
    told = {event.event_id: event.content for event in walked}
    assert told[before.event_id] == {}
    assert told[carol.event_id]["membership"] == "join"
    assert told[after.event_id]["body"] == "for Carol"
    own = await scene.past.events(room, [before.event_id], "one.example")
    assert own[0].content["body"] == "not for Carol"
