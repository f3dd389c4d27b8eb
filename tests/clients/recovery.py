"""Bob's other devices: cross-signing, secret storage, key backup; as steps of a conversation (see conversation.py)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from tests.clients.conversation import Conversation, Step
from tests.clients.js_device import JsDevice
from tests.clients.waiting import eventually


async def _is_cross_signed(watcher: JsDevice, device: JsDevice) -> dict[str, Any]:
    """What the watching device thinks of the other, once it thinks it cross-signed."""

    async def look() -> dict[str, Any] | None:
        user_id, device_id = device.user_id, device.device_id
        status = await watcher.do("deviceStatus", userId=user_id, deviceId=device_id)
        return status if status and status["crossSigned"] else None

    return await eventually(look, f"{watcher.name} sees {device.name} cross-signed") or {}


async def _are_backed_up(talk: Conversation, sessions: int) -> None:
    async def look() -> bool:
        backup = await talk.people.ask("GET", "/_matrix/client/v3/room_keys/version", talk.bob.access_token)
        return bool(backup["count"] == sessions)

    await eventually(look, f"{sessions} sessions are backed up")


async def _devices_that_alice_knows(talk: Conversation, *devices: JsDevice) -> None:
    expected = {device.device_id for device in devices}

    def known() -> set[str]:
        store = talk.alice.client.device_store
        return {device.id for device in store.active_user_devices(talk.bob.user_id)}

    await talk.alice.hears("which devices Bob has", lambda: known() == expected)


async def _devices_that_bob_knows(watcher: JsDevice, *devices: JsDevice) -> None:
    expected = {device.device_id for device in devices}

    async def look() -> bool:
        return set(await watcher.do("devicesOf", userId=watcher.user_id)) == expected

    await eventually(look, f"{watcher.name} knows the devices of its owner")


async def an_identity_a_vault_and_a_backup_are_made(talk: Conversation) -> AsyncIterator[None]:
    changes = talk.alice.changed_devices[talk.bob.user_id]
    talk.recovery_key = await talk.bob.do("setUpRecovery")
    yield
    status = await talk.bob.do("encryptionStatus")
    assert status["crossSigningReady"]
    assert status["secretStorageReady"]
    assert status["backupVersion"] == status["backup"]["version"]
    assert (await _is_cross_signed(talk.bob, talk.bob))["signedByOwner"]
    await talk.alice.hears(
        "that Bob's keys have changed", lambda: talk.alice.changed_devices[talk.bob.user_id] > changes
    )


async def what_is_said_is_backed_up(talk: Conversation) -> AsyncIterator[None]:
    talk.remembered = {
        await talk.from_alice("to be remembered"): talk.alice.user_id,
        await talk.from_bob("to be remembered"): talk.bob.user_id,
    }
    await _are_backed_up(talk, 2)
    yield
    await _are_backed_up(talk, 2)


async def a_second_device_is_seen_and_cannot_read_the_past(talk: Conversation) -> AsyncIterator[None]:
    talk.second = await talk.people.another_js(talk.bob)
    yield
    await _devices_that_alice_knows(talk, talk.bob, talk.second)
    assert talk.second.device_id in await talk.bob.do("devicesOf", userId=talk.bob.user_id)
    for event_id in talk.remembered:
        await talk.second.cannot_read(talk.room, event_id)
    status = await talk.bob.do("deviceStatus", userId=talk.bob.user_id, deviceId=talk.second.device_id)
    assert not status["crossSigned"]


async def the_recovery_key_makes_it_bobs(talk: Conversation) -> AsyncIterator[None]:
    await talk.second.do("recover", recoveryKey=talk.recovery_key)
    yield
    assert (await _is_cross_signed(talk.second, talk.second))["signedByOwner"]
    await _is_cross_signed(talk.bob, talk.second)


async def the_backup_gives_the_past_back(talk: Conversation) -> AsyncIterator[None]:
    restored = await talk.second.do("restoreBackup")
    assert restored["imported"] == restored["total"] >= 2
    yield
    for event_id, sender in talk.remembered.items():
        assert (await talk.second.event(talk.room, event_id, encrypted=True))["sender"] == sender


async def new_words_reach_both_devices(talk: Conversation) -> AsyncIterator[None]:
    from_alice = await talk.alice.send_text(talk.room, "To all that is Bob.")
    from_second = await talk.second.do("sendText", roomId=talk.room, body="All that is Bob thanks you.")
    yield
    for device in (talk.bob, talk.second):
        await device.event(talk.room, from_alice, content={"body": "To all that is Bob."})
        await device.event(talk.room, from_second, content={"body": "All that is Bob thanks you."})
    assert (await talk.alice.content(from_second))["body"] == "All that is Bob thanks you."


async def a_third_device_is_verified_by_looking_at_both(talk: Conversation) -> AsyncIterator[None]:
    third = talk.third = await talk.people.another_js(talk.bob)
    await _devices_that_alice_knows(talk, talk.bob, talk.second, third)
    await _devices_that_bob_knows(third, talk.bob, talk.second, third)
    verification = await third.do("requestVerification")

    async def in_phase(device: JsDevice, phase: str) -> None:
        async def look() -> bool:
            state = await device.do("verification", transactionId=verification)
            return state is not None and state["phase"] == phase

        await eventually(look, f"the verification is {phase} on {device.name}")

    async def emoji(device: JsDevice) -> Any:
        async def look() -> Any:
            state = await device.do("verification", transactionId=verification)
            return state and state["emoji"]

        return await eventually(look, f"{device.name} shows emoji")

    await in_phase(talk.bob, "Requested")
    await talk.bob.do("acceptVerification", transactionId=verification)
    await in_phase(third, "Ready")
    await third.do("startSas", transactionId=verification)
    await in_phase(talk.bob, "Started")
    await talk.bob.do("continueSas", transactionId=verification)
    assert await emoji(talk.bob) == await emoji(third)
    await talk.bob.do("confirmSas", transactionId=verification)
    await third.do("confirmSas", transactionId=verification)
    for device in (talk.bob, third):
        await in_phase(device, "Done")
    await _is_cross_signed(talk.bob, third)
    yield
    await _is_cross_signed(talk.second, third)
    await _is_cross_signed(third, third)
    for event_id in talk.remembered:  # the keys come from the backup, its key from the other device
        await third.event(talk.room, event_id, encrypted=True)


async def a_device_that_logs_out_is_gone(talk: Conversation) -> AsyncIterator[None]:
    await talk.second.logout()
    yield
    await _devices_that_alice_knows(talk, talk.bob, talk.third)
    remaining = {talk.bob.device_id, talk.third.device_id}
    assert {device["device_id"] for device in await talk.bob.do("devices")} == remaining

    await _devices_that_bob_knows(talk.bob, talk.bob, talk.third)


RECOVERY: tuple[Step, ...] = (
    an_identity_a_vault_and_a_backup_are_made,
    what_is_said_is_backed_up,
    a_second_device_is_seen_and_cannot_read_the_past,
    the_recovery_key_makes_it_bobs,
    the_backup_gives_the_past_back,
    new_words_reach_both_devices,
    a_third_device_is_verified_by_looking_at_both,
    a_device_that_logs_out_is_gone,
)
