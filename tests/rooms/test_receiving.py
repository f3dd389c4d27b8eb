"""What members of a room that several servers write can rely on: all come to the same, in whatever order."""

import asyncio
import random
from pathlib import Path

import pytest
from tests.protocol.room_script import ALICE, BOB, CAROL
from tests.rooms.peer_histories import PeerHistory, Receiver, some_order
from tests.server import Server, start_server

from ranvier.protocol.refusal import Refusal
from ranvier.rooms.receiving import Missing
from ranvier.store.events import Judgement


@pytest.mark.parametrize("version", ["1", "6", "10", "11", "12"])
async def test_the_state_before_each_event_is_what_its_branches_resolve_to(
    server: Server, version: str
) -> None:
    for seed in range(4):
        history = PeerHistory(version, seed=seed, name=f"room{seed}", wild=0.1, calm=False)
        history.grow(30)
        receiver = Receiver(server, history)
        await receiver.found_at_its_beginning()
        for event in some_order(history, random.Random(seed)):
            [judgement] = await receiver.receive(event)
            assert await receiver.state_before(event.event_id) == history.before(event.prev_events), seed
            assert (judgement is Judgement.REJECTED) == (event.event_id in history.rejected), seed
        current = await receiver.current_state()
        assert current == await receiver.head_state() == await receiver.root_state()
        extremities = await receiver.extremities()
        assert extremities == await receiver.extremities(anew=True)
        assert current == history.before(sorted(extremities)), seed


async def test_whatever_order_events_come_in_servers_end_with_the_same_room(
    server: Server, tmp_path: Path
) -> None:
    other = await start_server(tmp_path / "other")
    for seed in range(4):
        history = PeerHistory("10", seed=seed, name=f"order{seed}")
        history.grow_calmly(25, [ALICE, BOB, CAROL])
        ends = []
        for turn, place in enumerate([server, other]):
            receiver = Receiver(place, history)
            await receiver.found_at_its_beginning()
            await receiver.receive(*some_order(history, random.Random(turn)))
            assert set(receiver.judgements.values()) == {Judgement.ACCEPTED}
            ends.append((await receiver.extremities(), await receiver.current_state()))
        assert ends[0] == ends[1], seed
    await other.close()


async def test_branches_are_joined_by_the_next_event_of_this_server(server: Server) -> None:
    alice = await server.register("alice")
    history = PeerHistory()
    join = history.join(alice.user_id)
    receiver = Receiver(server, history)
    room = await receiver.found(join)
    branches = [history.text(ALICE, f"branch {number}", after=[join]) for number in range(3)]
    assert await receiver.receive(*branches) == [Judgement.ACCEPTED] * 3
    assert await receiver.extremities() == {event.event_id for event in branches}
    sent = await receiver.kept(await alice.send(room.room_id, "here"))
    assert set(sent.event.prev_events) == {event.event_id for event in branches}
    assert sent.event.depth == branches[0].depth + 1
    assert await receiver.extremities() == {sent.event.event_id}


async def test_many_branches_are_joined_where_nobody_speaks(server: Server) -> None:
    alice = await server.register("alice")
    history = PeerHistory()
    join = history.join(alice.user_id)
    receiver = Receiver(server, history)
    await receiver.found(join)
    branches = [history.text(ALICE, f"branch {number}", after=[join]) for number in range(30)]
    for event in branches:
        await receiver.receive(event)
        assert len(await receiver.extremities()) <= 10


async def test_an_event_whose_past_is_missing_is_not_kept(server: Server) -> None:
    history = PeerHistory()
    join = history.join(BOB)
    receiver = Receiver(server, history)
    room = await receiver.found(join)
    first = history.text(BOB, "first")
    second = history.text(BOB, "second")
    assert await receiver.receiving.receive(room, second) == Missing((first.event_id,))
    assert await receiver.events.by_id(second.event_id) is None
    assert await receiver.receive(first, second) == [Judgement.ACCEPTED] * 2


async def test_the_same_event_comes_in_once_however_often_it_is_sent(server: Server) -> None:
    history = PeerHistory()
    receiver = Receiver(server, history)
    room = await receiver.found(history.join(BOB))
    event = history.text(BOB, "once")
    answers = await asyncio.gather(*(receiver.receiving.receive(room, event) for _ in range(8)))
    assert set(answers) == {Judgement.ACCEPTED}
    version = room.head.version if room.head is not None else 0
    assert await receiver.receive(event) == [Judgement.ACCEPTED]
    assert room.head is not None and room.head.version == version == 2


async def test_what_the_room_no_longer_allows_is_shown_to_nobody(server: Server) -> None:
    alice = await server.register("alice")
    history = PeerHistory()
    history.join(BOB)
    join = history.join(alice.user_id)
    receiver = Receiver(server, history)
    room = await receiver.found(join)
    ban = history.say("m.room.member", ALICE, {"membership": "ban"}, BOB, after=[join])
    late = history.text(BOB, "from before the ban", after=[join])
    answer = history.text(ALICE, "an answer", after=[ban, late])
    assert await receiver.receive(ban, late) == [Judgement.ACCEPTED, Judgement.SOFT_FAILED]
    assert await receiver.extremities() == {ban.event_id}
    assert await receiver.receive(answer) == [Judgement.ACCEPTED]
    assert await receiver.extremities() == {answer.event_id}
    path = f"/_matrix/client/v3/rooms/{room.room_id}"
    for answered in (
        await alice.get(f"{path}/event/{late.event_id}"),
        await alice.get(f"{path}/context/{late.event_id}"),
    ):
        assert answered.errcode == "M_NOT_FOUND"
    page = (await alice.get(f"{path}/messages", query={"dir": "b", "limit": "50"})).ok()
    synced = (await alice.sync())["rooms"]["join"][room.room_id]["timeline"]["events"]
    shown = {event["event_id"] for event in (*page["chunk"], *synced)}
    assert answer.event_id in shown
    assert late.event_id not in shown


async def test_what_its_own_authority_forbids_is_rejected(server: Server) -> None:
    history = PeerHistory()
    join = history.join(BOB)
    receiver = Receiver(server, history)
    await receiver.found(join)
    state = history.after[join.event_id]
    keys = [("m.room.create", ""), ("m.room.power_levels", ""), ("m.room.member", BOB)]
    # Bob has no power to name the room.
    name = history.unchecked("m.room.name", BOB, {"name": "Bob's"}, "", [state[key] for key in keys])
    assert await receiver.receive(name) == [Judgement.REJECTED]
    assert ("m.room.name", "") not in await receiver.current_state()
    assert await receiver.extremities() == {join.event_id}
    assert await receiver.receive(history.text(BOB, "after it")) == [Judgement.ACCEPTED]


async def test_who_speaks_here_while_branches_come_in_is_heard_and_so_are_they(server: Server) -> None:
    alice = await server.register("alice")
    history = PeerHistory()
    history.say("m.room.power_levels", ALICE, {"users": {ALICE: 100}, "state_default": 0}, "")
    history.join(BOB)
    join = history.join(alice.user_id)
    receiver = Receiver(server, history)
    room = await receiver.found(join)
    names = [history.say("m.room.name", BOB, {"name": f"{n}"}, "", after=[join]) for n in range(6)]
    texts = [history.text(BOB, f"{n}", after=[names[n]]) for n in range(6)]

    async def branch(place: int) -> None:
        assert await receiver.receive(names[place], texts[place]) == [Judgement.ACCEPTED] * 2

    async def speak(place: int) -> None:
        for number in range(8):
            await alice.send(room.room_id, f"{place} {number}", txn_id=f"{place}-{number}")

    await asyncio.gather(*map(branch, range(6)), *map(speak, range(4)))
    assert await receiver.current_state() == await receiver.head_state() == await receiver.root_state()
    limit = '{"room":{"timeline":{"limit":100}}}'
    section = (await alice.sync(filter=limit))["rooms"]["join"][room.room_id]
    told = [event["event_id"] for event in section["timeline"]["events"]]
    assert len(told) == len(set(told))
    assert {event.event_id for event in (*names, *texts)} <= set(told)
    bodies = {e["content"].get("body") for e in section["timeline"]["events"]}
    assert {f"{place} {number}" for place in range(4) for number in range(8)} <= bodies


async def test_what_others_say_counts_as_unread_and_mentions_are_highlighted(server: Server) -> None:
    alice = await server.register("alice")
    history = PeerHistory()
    history.join(BOB)
    join = history.join(alice.user_id)
    receiver = Receiver(server, history)
    room = await receiver.found(join)
    plain = history.text(BOB, "hello")
    mention = history.say(
        "m.room.message",
        BOB,
        {"msgtype": "m.text", "body": "you", "m.mentions": {"user_ids": [alice.user_id]}},
    )
    await receiver.receive(plain, mention)
    section = (await alice.sync())["rooms"]["join"][room.room_id]
    assert section["unread_notifications"] == {"notification_count": 2, "highlight_count": 1}
    await alice.send(room.room_id, "I have read it")
    section = (await alice.sync())["rooms"]["join"][room.room_id]
    assert section["unread_notifications"] == {"notification_count": 0, "highlight_count": 0}


async def test_one_whom_another_server_invites_is_shown_the_room(server: Server) -> None:
    alice, erin = await server.register("alice"), await server.register("erin")
    history = PeerHistory()
    history.say("m.room.name", ALICE, {"name": "Far away"}, "")
    receiver = Receiver(server, history)
    room = await receiver.found(history.join(alice.user_id))
    invite = history.say("m.room.member", ALICE, {"membership": "invite"}, erin.user_id)
    assert await receiver.receive(invite) == [Judgement.ACCEPTED]
    shown = (await erin.sync())["rooms"]["invite"][room.room_id]["invite_state"]["events"]
    assert {"m.room.name", "m.room.create", "m.room.member"} <= {event["type"] for event in shown}


async def test_an_event_that_a_peer_made_of_our_template_is_refused_once_the_room_has_changed(
    server: Server,
) -> None:
    history = PeerHistory()
    join = history.join(BOB)
    receiver = Receiver(server, history)
    room = await receiver.found(join)
    late = history.join(CAROL, after=[join])
    closed = history.say("m.room.join_rules", ALICE, {"join_rule": "invite"}, "", after=[join])
    await receiver.receive(closed)
    with pytest.raises(Refusal) as refused:
        await receiver.receiving.append_signed(room, late)
    assert refused.value.errcode == "M_FORBIDDEN"
    assert await receiver.events.by_id(late.event_id) is None
