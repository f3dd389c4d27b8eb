"""A conversation of two people with different SDKs: each step alone, then all of them in one room."""

from __future__ import annotations

import pytest
from tests.clients.conversation import STEPS, TALKING, Conversation, Step


def _name(step: Step) -> str:
    return step.__name__


async def test_two_people_meet_in_an_encrypted_room_of_version_12(conversation: Conversation) -> None:
    await conversation.meet()


@pytest.mark.parametrize("step", TALKING, ids=_name)
async def test_in_an_encrypted_room(step: Step, conversation: Conversation) -> None:
    await conversation.meet()
    async for _ in step(conversation):
        pass


async def test_a_whole_conversation_repeats_nothing(conversation: Conversation) -> None:
    for step in STEPS:
        async for _ in step(conversation):
            pass
    assert not conversation.alice.repeats
