"""What readers can rely on where a part of a room's history is missing here, and when it comes later."""

from tests.protocol.room_script import ALICE, BOB
from tests.rooms.peer_histories import PeerHistory, Receiver
from tests.rooms.reading import ids, messages
from tests.server import Server

from ranvier.protocol.events import Event
from ranvier.store import gaps as gaps_store
from ranvier.store.events import Judgement


class Gap:
    """A room whose middle is missing: Dave joined, then there was much that did not come, then more."""

    def __init__(self, server: Server, user_id: str) -> None:
        self.history = PeerHistory()
        self.history.join(BOB)
        self.early = [self.history.text(ALICE, f"early {number}") for number in range(3)]
        self.join = self.history.join(user_id)
        self.receiver = Receiver(server, self.history)
        self.missing = [
            self.history.say("m.room.name", ALICE, {"name": f"name {number}"}, "")
            if number == 5
            else self.history.text(BOB, f"missing {number}")
            for number in range(8)
        ]
        self.last = self.history.text(ALICE, "after the gap")

    async def leap(self) -> None:
        """Join, and receive the newest event with the state before it, without what is between."""
        room = await self.receiver.found(self.join)
        state = self.history.state_at(self.last)
        judgement = await self.receiver.receiving.receive_with_state(
            room, self.last, state, self.history.chain_of([self.last, *state])
        )
        assert judgement is Judgement.ACCEPTED


async def test_a_sync_across_a_gap_is_limited_and_begins_after_it(server: Server) -> None:
    dave = await server.register("dave")
    gap = Gap(server, dave.user_id)
    room = await gap.receiver.found(gap.join)
    since = (await dave.sync())["next_batch"]
    await gap.leap()
    for answer in (await dave.sync(since), await dave.sync()):
        section = answer["rooms"]["join"][room.room_id]
        assert [event["event_id"] for event in section["timeline"]["events"]] == [gap.last.event_id]
        assert section["timeline"]["limited"]
        names = [e["content"]["name"] for e in section["state"]["events"] if e["type"] == "m.room.name"]
        assert names == ["name 5"]
    assert await gap.receiver.current_state() == await gap.receiver.root_state()


async def test_what_was_missing_is_shown_in_its_place_once_it_has_come(server: Server) -> None:
    dave = await server.register("dave")
    gap = Gap(server, dave.user_id)
    await gap.leap()
    room = gap.receiver.room
    assert room is not None
    before = await gap.receiver.current_state()
    since = (await dave.sync())["next_batch"]
    assert await gap.receiver.backfilling.needs_state(room, gap.missing[3:]) == [gap.missing[3].event_id]
    states = {gap.missing[3].event_id: gap.history.state_at(gap.missing[3])}
    judged = await gap.receiver.backfilling.backfill(room, list(reversed(gap.missing[3:])), states)
    assert set(judged.values()) == {Judgement.ACCEPTED}
    left, *_ = await gaps_store.newest(gap.receiver.database, room.nid, gap.last.depth, 10)
    assert left.event_id == gap.missing[2].event_id
    assert await gap.receiver.backfilling.backfill(room, gap.missing, {}) == dict.fromkeys(
        [event.event_id for event in gap.missing], Judgement.ACCEPTED
    )
    path = f"/_matrix/client/v3/rooms/{room.room_id}/messages"
    page = (await dave.get(path, query={"dir": "b", "limit": "9"})).ok()
    wanted: list[Event] = [gap.last, *reversed(gap.missing)]
    assert [event["event_id"] for event in page["chunk"]] == [event.event_id for event in wanted]
    # Nothing of it is news, and what the room is did not change.
    assert "rooms" not in await dave.sync(since)
    assert await gap.receiver.current_state() == before
    for event in gap.missing:
        assert await gap.receiver.state_before(event.event_id) == gap.history.before(event.prev_events)


async def test_who_came_later_reads_what_was_before_if_the_room_shares_it(server: Server) -> None:
    dave = await server.register("dave")
    gap = Gap(server, dave.user_id)
    room = await gap.receiver.found(gap.join)
    states = {gap.early[0].event_id: gap.history.state_at(gap.early[0])}
    await gap.receiver.backfilling.backfill(room, gap.early, states)
    path = f"/_matrix/client/v3/rooms/{room.room_id}/messages"
    page = (await dave.get(path, query={"dir": "b", "limit": "10"})).ok()
    assert [event["event_id"] for event in page["chunk"]] == [
        event.event_id for event in (gap.join, *reversed(gap.early))
    ]


async def test_an_event_that_others_build_on_already_is_no_end_of_the_room(server: Server) -> None:
    dave = await server.register("dave")
    gap = Gap(server, dave.user_id)
    await gap.leap()
    assert await gap.receiver.receive(*gap.missing) == [Judgement.ACCEPTED] * len(gap.missing)
    assert await gap.receiver.extremities() == {gap.last.event_id}
    assert await gap.receiver.current_state() == gap.history.after[gap.last.event_id]


async def test_who_reads_on_from_a_sync_gets_what_came_before_it_though_a_branch_came_late(
    server: Server,
) -> None:
    alice = await server.register("alice")
    history = PeerHistory()
    history.join(BOB)
    join = history.join(alice.user_id)
    receiver = Receiver(server, history)
    await receiver.found(join)
    early = [history.text(BOB, f"early {number}") for number in range(4)]
    late = history.text(BOB, "late", after=[join])
    for event in (*early, late):
        assert await receiver.receive(event) == [Judgement.ACCEPTED]
    wanted = '{"room": {"timeline": {"limit": 1}}}'
    timeline = (await alice.sync(filter=wanted))["rooms"]["join"][join.room_id]["timeline"]
    assert ids(timeline["events"]) == [late.event_id]
    found: list[str] = []
    start = timeline["prev_batch"]
    while start is not None and len(found) < 4:
        page = await messages(alice, join.room_id, "b", start=start, limit=3)
        found += ids(page["chunk"])
        start = page.get("end")
    assert found[:4] == [event.event_id for event in reversed(early)]
