"""One person's other devices get her identity and her past, though the server knows neither."""

from __future__ import annotations

from tests.clients.conversation import Conversation
from tests.clients.recovery import RECOVERY


async def test_other_devices_are_signed_and_read_the_past(conversation: Conversation) -> None:
    await conversation.meet()
    for step in RECOVERY:
        async for _ in step(conversation):
            pass
    assert not conversation.alice.repeats
