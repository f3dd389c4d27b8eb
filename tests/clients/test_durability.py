"""What the server has answered outlives its death by SIGKILL, and the clients go on as if nothing had been."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Container
from typing import TYPE_CHECKING

import pytest
from tests.clients.conversation import MEETING, STEPS, TALKING, Conversation, Step
from tests.clients.homeserver import HomeserverProcess
from tests.clients.ledger import Ledger
from tests.clients.recovery import RECOVERY
from tests.clients.traffic import Traffic
from tests.clients.waiting import eventually

if TYPE_CHECKING:
    from tests.clients.people import People

# "all" kills the server in every step, each in a conversation of its own, and once in all of them.
KILLS = "RANVIER_TEST_KILLS"
SEED = "RANVIER_TEST_SEED"
FEW = 2

_ALL = os.environ.get(KILLS) == "all"
_DICE = random.Random(os.environ.get(SEED))


def _pick(steps: tuple[Step, ...]) -> list[Step]:
    return list(steps) if _ALL else _DICE.sample(steps, FEW)


async def _die_and_return(server: HomeserverProcess, people: People, traffic: Traffic) -> None:
    with traffic.outage():
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        await people.come_back()


async def _talk(
    steps: tuple[Step, ...],
    victims: Container[Step],
    conversation: Conversation,
    server: HomeserverProcess,
    traffic: Traffic,
) -> None:
    """Runs the steps, with a death between what the victims do and what comes of it; then reads all back."""
    for step in steps:
        async for _ in step(conversation):
            if step in victims:
                await _die_and_return(server, conversation.people, traffic)
    assert not conversation.alice.repeats, "a sync brought again what another had brought"
    lost = await asyncio.to_thread(Ledger(server, traffic).read_back)
    assert not lost, "what was answered is not there:\n" + "\n".join(lost)


async def test_all_that_was_answered_can_be_read_back(
    conversation: Conversation, server: HomeserverProcess, traffic: Traffic
) -> None:
    """Without any death: the ledger itself holds."""
    await _talk((*MEETING, *RECOVERY, *TALKING), (), conversation, server, traffic)


@pytest.mark.parametrize("victim", _pick(STEPS), ids=lambda step: step.__name__)
async def test_a_conversation_loses_nothing_when_the_server_dies_while(
    victim: Step, conversation: Conversation, server: HomeserverProcess, traffic: Traffic
) -> None:
    await _talk(STEPS, (victim,), conversation, server, traffic)


@pytest.mark.parametrize("victim", _pick(RECOVERY), ids=lambda step: step.__name__)
async def test_other_devices_lose_nothing_when_the_server_dies_while(
    victim: Step, conversation: Conversation, server: HomeserverProcess, traffic: Traffic
) -> None:
    await _talk((*MEETING, *RECOVERY), (victim,), conversation, server, traffic)


@pytest.mark.timeout(900)
async def test_a_conversation_outlives_many_deaths(
    conversation: Conversation, server: HomeserverProcess, traffic: Traffic
) -> None:
    steps = (*MEETING, *RECOVERY, *TALKING)
    await _talk(steps, _pick(steps), conversation, server, traffic)


async def test_messages_in_flight_when_the_server_dies_are_there_once(
    conversation: Conversation, server: HomeserverProcess, traffic: Traffic
) -> None:
    alice, bob, people = conversation.alice, conversation.bob, conversation.people
    square = await conversation.public_square()
    words = [f"word {number}" for number in range(60)]
    from_alice = [asyncio.create_task(alice.send_text(square, word)) for word in words[::2]]
    from_bob = [asyncio.create_task(bob.do("sendText", roomId=square, body=word)) for word in words[1::2]]

    async def some_are_answered() -> bool:
        return sum(task.done() for task in from_alice + from_bob) >= 10

    await eventually(some_are_answered, "ten messages are answered")
    await _die_and_return(server, people, traffic)
    await asyncio.gather(*from_alice)  # nio repeats what was not answered, with the same transaction id
    outcomes = await asyncio.gather(*from_bob, return_exceptions=True)
    unsent = sum(isinstance(outcome, Exception) for outcome in outcomes)
    assert len(await bob.do("resendUnsent", roomId=square)) == unsent
    ledger = Ledger(server, traffic)
    lost = await asyncio.to_thread(ledger.read_back)
    assert not lost, "\n".join(lost)
    spoken = [
        event["content"]["body"] for event in ledger.history(square) if event["type"] == "m.room.message"
    ]
    assert sorted(spoken) == sorted(words)
    await bob.do("paginate", roomId=square)  # the sync may have left a gap
    for event in ledger.history(square):
        await bob.event(square, event["event_id"])
        if event["type"] == "m.room.message":
            await alice.event(event["event_id"])
    assert not alice.repeats
