"""What users can rely on when they are the first of this server in a room, the first again, or early in a big one."""

import asyncio

import pytest
from tests.protocol.room_script import ALICE, BOB, CAROL
from tests.rooms.peer_histories import PeerHistory, Receiver
from tests.server import Server

from ranvier.protocol.events import Event
from ranvier.protocol.refusal import Refusal
from ranvier.rooms.completing import Completing
from ranvier.rooms.heads import RECENT
from ranvier.rooms.outliers import Outliers
from ranvier.rooms.servers import Servers
from ranvier.store.events import Judgement

LAZY = '{"room":{"state":{"lazy_load_members":true}}}'


async def test_a_join_that_the_rooms_state_forbids_makes_no_room(server: Server) -> None:
    dave = await server.register("dave")
    history = PeerHistory()
    history.say("m.room.join_rules", ALICE, {"join_rule": "public"}, "")
    join = history.join(dave.user_id)
    receiver = Receiver(server, history)
    state = [event for event in history.state_at(join) if event.type != "m.room.join_rules"]
    with pytest.raises(Refusal) as refused:
        await receiver.founding.found(
            history.version, join.room_id, join, state, history.chain_of([join, *state])
        )
    assert refused.value.errcode == "M_FORBIDDEN"
    assert "rooms" not in await dave.sync()
    assert await receiver.heads.get(join.room_id) is None
    # The next try succeeds upon what is there already.
    await receiver.found(join)
    assert join.room_id in (await dave.sync())["rooms"]["join"]


async def test_asking_twice_to_enter_a_room_enters_it_once(server: Server) -> None:
    dave = await server.register("dave")
    history = PeerHistory()
    join = history.join(dave.user_id)
    receiver = Receiver(server, history)
    room = await receiver.found(join)
    assert await receiver.found(join) is room
    assert room.head is not None and room.head.version == 1


async def test_who_comes_back_to_a_room_finds_it_as_it_has_become(server: Server) -> None:
    dave = await server.register("dave")
    history = PeerHistory()
    history.join(BOB)
    receiver = Receiver(server, history)
    room = await receiver.found(history.join(dave.user_id))
    leave = history.say("m.room.member", dave.user_id, {"membership": "leave"}, dave.user_id)
    await receiver.receive(leave)
    since = (await dave.sync())["next_batch"]
    # Nobody here hears of this.
    history.say("m.room.member", ALICE, {"membership": "ban"}, BOB)
    history.join(CAROL)
    history.say("m.room.name", ALICE, {"name": "Changed"}, "")
    again = history.join(dave.user_id)
    await receiver.found(again)
    assert await receiver.current_state() == history.after[again.event_id] == await receiver.head_state()
    section = (await dave.sync(since))["rooms"]["join"][room.room_id]
    assert section["timeline"]["limited"]
    members = {
        e["state_key"]: e["content"]["membership"]
        for e in section["state"]["events"]
        if e["type"] == "m.room.member"
    }
    assert members[BOB] == "ban" and members[CAROL] == "join"
    assert section["summary"]["m.joined_member_count"] == 3
    path = f"/_matrix/client/v3/rooms/{room.room_id}/joined_members"
    joined = (await dave.get(path)).ok()["joined"]
    assert set(joined) == {ALICE, CAROL, dave.user_id}
    # Clients find both keys, whether there is something to show or not.
    assert joined[ALICE] == {"display_name": None, "avatar_url": None}


async def test_a_room_knows_whose_servers_are_in_it_and_were(server: Server) -> None:
    dave = await server.register("dave")
    servers = server.composition.parts.get(Servers)
    history = PeerHistory()
    join = history.join(dave.user_id)
    receiver = Receiver(server, history)
    room = await receiver.found(join)
    assert await servers.in_room(room) == {"one.example", server.server_name}
    carol = history.join(CAROL)
    text = history.text(CAROL, "hello")
    leave = history.say("m.room.member", CAROL, {"membership": "leave"}, CAROL)
    await receiver.receive(carol, text, leave)
    assert await servers.in_room(room) == {"one.example", server.server_name}
    with_carol = {"one.example", "two.example", server.server_name}

    async def check() -> None:
        assert await servers.at(room, await receiver.kept(text.event_id)) == with_carol
        assert await servers.at(room, await receiver.kept(leave.event_id)) == with_carol
        assert await servers.at(room, await receiver.kept(carol.event_id)) == with_carol - {"two.example"}

    await check()
    # The same once it is no longer among what a room has at hand.
    await receiver.receive(*(history.text(ALICE, f"later {number}") for number in range(RECENT)))
    await check()


class Partial:
    """A room that Dave joined early: of its members only Alice is known; Bob and Carol are still to come."""

    def __init__(self, server: Server, user_id: str) -> None:
        self.server = server
        self.history = PeerHistory()
        self.history.join(BOB)
        self.history.join(CAROL)
        self.join = self.history.join(user_id)
        self.state = self.history.state_at(self.join)
        self.receiver = Receiver(server, self.history)

    async def enter(self) -> None:
        """Join without Bob and Carol."""
        known = [event for event in self.state if event.state_key not in (BOB, CAROL)]
        await self.receiver.founding.found(
            self.history.version,
            self.join.room_id,
            self.join,
            known,
            self.history.chain_of([self.join, *known]),
            servers=["one.example", "two.example"],
            partial=True,
        )
        self.receiver.room = await self.receiver.heads.get(self.join.room_id)

    async def know(self, *events: Event) -> None:
        """Their auth events are fetched, as the server does when they are missing."""
        room = self.receiver.room
        assert room is not None
        outliers = self.server.composition.parts.get(Outliers)
        await outliers.keep(room.version, room.room_id, self.history.chain_of(events))

    async def complete(self) -> None:
        """The rest of the members comes."""
        completing = self.server.composition.parts.get(Completing)
        assert self.receiver.room is not None
        await completing.complete(self.receiver.room, self.state, self.history.chain_of(self.state))
        assert await completing.incomplete() == []


async def test_a_room_joined_early_is_there_at_once_for_who_loads_members_lazily(server: Server) -> None:
    dave = await server.register("dave")
    partial = Partial(server, dave.user_id)
    await partial.enter()
    room_id = partial.join.room_id
    lazily, fully = await dave.sync(filter=LAZY), await dave.sync()
    assert room_id in lazily["rooms"]["join"]
    assert "rooms" not in fully
    # Bob is not known here, and speaks all the same.
    hello = partial.history.text(BOB, "hello")
    await partial.know(hello)
    assert await partial.receiver.receive(hello) == [Judgement.ACCEPTED]
    sent = await dave.send(room_id, "here")
    assert "rooms" not in await dave.sync(fully["next_batch"])
    await partial.complete()
    assert await partial.receiver.current_state() == await partial.receiver.root_state()
    section = (await dave.sync(fully["next_batch"]))["rooms"]["join"][room_id]
    members = {e["state_key"] for e in section["state"]["events"] if e["type"] == "m.room.member"}
    assert {ALICE, BOB, CAROL} <= members
    assert section["timeline"]["events"][-1]["event_id"] == sent
    assert section["summary"]["m.joined_member_count"] == 4
    again = (await dave.sync(lazily["next_batch"], filter=LAZY))["rooms"]["join"][room_id]
    assert again["summary"]["m.joined_member_count"] == 4


async def test_what_needs_all_members_waits_for_them(server: Server) -> None:
    dave = await server.register("dave")
    partial = Partial(server, dave.user_id)
    await partial.enter()
    path = f"/_matrix/client/v3/rooms/{partial.join.room_id}"
    asked = asyncio.create_task(dave.get(f"{path}/joined_members"))
    kick = asyncio.create_task(dave.post(f"{path}/kick", json={"user_id": BOB}))
    await asyncio.sleep(0.2)
    assert not asked.done() and not kick.done()
    await partial.complete()
    assert set((await asked).ok()["joined"]) == {ALICE, BOB, CAROL, dave.user_id}
    assert (await kick).errcode == "M_FORBIDDEN"


async def test_the_servers_of_a_room_joined_early_are_those_that_the_peer_named(server: Server) -> None:
    dave = await server.register("dave")
    servers = server.composition.parts.get(Servers)
    partial = Partial(server, dave.user_id)
    await partial.enter()
    assert partial.receiver.room is not None
    everybody = {"one.example", "two.example", server.server_name}
    assert await servers.in_room(partial.receiver.room) == everybody
    await partial.complete()
    assert await servers.in_room(partial.receiver.room) == everybody


async def test_what_the_whole_state_forbids_is_taken_back(server: Server) -> None:
    dave = await server.register("dave")
    partial = Partial(server, dave.user_id)
    history = partial.history
    bob_joined = next(event for event in partial.state if event.state_key == BOB)
    # Bob was banned before Dave came, which Dave's server does not know yet.
    ban = history.say("m.room.member", ALICE, {"membership": "ban"}, BOB)
    partial.join = history.say("m.room.member", dave.user_id, {"membership": "join", "n": 2}, dave.user_id)
    partial.state = history.state_at(partial.join)
    assert ban in partial.state
    await partial.enter()
    state = history.after[partial.join.event_id]
    keys = [("m.room.create", ""), ("m.room.power_levels", "")]
    authority = [*(state[key] for key in keys), bob_joined.event_id]
    wrong: Event = history.unchecked("m.room.message", BOB, {"body": "no"}, None, authority)
    await partial.know(wrong)
    assert await partial.receiver.receive(wrong) == [Judgement.ACCEPTED]
    await partial.complete()
    kept = await partial.receiver.kept(wrong.event_id)
    assert kept.judgement is Judgement.REJECTED
    path = f"/_matrix/client/v3/rooms/{partial.join.room_id}/messages"
    page = (await dave.get(path, query={"dir": "b", "limit": "10"})).ok()
    assert wrong.event_id not in {event["event_id"] for event in page["chunk"]}


async def test_what_was_refused_for_the_sake_of_something_wrong_counts_after_all(server: Server) -> None:
    dave = await server.register("dave")
    partial = Partial(server, dave.user_id)
    history = partial.history
    # Bob has gone and Carol may name the room, before Dave comes.
    bob_joined, carol_joined = [
        next(event for event in partial.state if event.state_key == user) for user in (BOB, CAROL)
    ]
    levels = {"users": {ALICE: 100, BOB: 100, CAROL: 50}}
    history.say("m.room.power_levels", ALICE, levels, "")
    history.say("m.room.member", BOB, {"membership": "leave"}, BOB)
    partial.join = history.say("m.room.member", dave.user_id, {"membership": "join", "n": 2}, dave.user_id)
    partial.state = history.state_at(partial.join)
    await partial.enter()
    state = history.after[partial.join.event_id]
    authority = [state["m.room.create", ""], state["m.room.power_levels", ""]]
    named = [*authority, bob_joined.event_id, carol_joined.event_id]
    kick = history.unchecked("m.room.member", BOB, {"membership": "leave"}, CAROL, named)
    named = [*authority, carol_joined.event_id]
    name = history.unchecked("m.room.name", CAROL, {"name": "Carol's"}, "", named, after=kick)
    named = [*authority, state["m.room.member", ALICE]]
    hello = history.unchecked("m.room.message", ALICE, {"body": "hello"}, None, named, after=name)
    await partial.know(kick, name, hello)
    outcomes = await partial.receiver.receive(kick, name, hello)
    assert outcomes == [Judgement.ACCEPTED, Judgement.REJECTED, Judgement.ACCEPTED]
    await partial.complete()
    now = await partial.receiver.current_state()
    assert now == await partial.receiver.root_state()
    assert now["m.room.name", ""] == name.event_id
    assert now["m.room.member", CAROL] == carol_joined.event_id
    before = await partial.receiver.state_before(hello.event_id)
    assert (before["m.room.name", ""], before["m.room.member", CAROL]) == (
        name.event_id,
        carol_joined.event_id,
    )
    room_id = partial.join.room_id
    seen = await dave.get(f"/_matrix/client/v3/rooms/{room_id}/event/{name.event_id}")
    gone = await dave.get(f"/_matrix/client/v3/rooms/{room_id}/event/{kick.event_id}")
    assert (seen.status, gone.status) == (200, 404)


async def test_who_was_wrongly_kicked_before_the_members_came_may_leave_by_themselves(server: Server) -> None:
    dave = await server.register("dave")
    partial = Partial(server, dave.user_id)
    history = partial.history
    # Bob may kick, and has gone, before Dave comes.
    bob_joined = next(event for event in partial.state if event.state_key == BOB)
    history.say("m.room.power_levels", ALICE, {"users": {ALICE: 100, BOB: 50}}, "")
    history.say("m.room.member", BOB, {"membership": "leave"}, BOB)
    partial.join = history.say("m.room.member", dave.user_id, {"membership": "join", "n": 2}, dave.user_id)
    partial.state = history.state_at(partial.join)
    await partial.enter()
    frank = history.join("@frank:two.example")
    state = history.after[frank.event_id]
    authority = [state["m.room.create", ""], state["m.room.power_levels", ""]]
    out = {"membership": "leave"}
    named = [*authority, bob_joined.event_id]
    kick = history.unchecked("m.room.member", BOB, out, "@frank:two.example", named)
    named = [*authority, frank.event_id]
    leave = history.unchecked(
        "m.room.member", "@frank:two.example", out, "@frank:two.example", named, after=kick
    )
    await partial.know(frank, kick, leave)
    assert await partial.receiver.receive(frank, kick, leave) == [Judgement.ACCEPTED] * 3
    await partial.complete()
    now = await partial.receiver.current_state()
    assert now == await partial.receiver.root_state()
    assert now["m.room.member", "@frank:two.example"] == leave.event_id
    assert (await partial.receiver.kept(kick.event_id)).judgement is Judgement.REJECTED
