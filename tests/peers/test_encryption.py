"""Devices of the two servers find each other's keys, and what they say in secret is read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.clients.traffic import Traffic
from tests.clients.waiting import eventually
from tests.http_client import path_of
from tests.peers.pair import Pair, Side, hears_from_now
from tests.server import PASSWORD, UserClient

if TYPE_CHECKING:
    from tests.clients.nio_device import NioDevice


class Devices:
    """Opens devices with matrix-nio, on either server."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._opened: list[NioDevice] = []

    async def open(self, side: Side, user: UserClient) -> NioDevice:
        """One more device of the user's, syncing."""
        from tests.clients.nio_device import NioDevice

        localpart = user.user_id[1:].partition(":")[0]
        name = f"nio-{localpart}-{len(self._opened)}"
        made = NioDevice(name, side.base_url, localpart, self._folder / name, Traffic())
        self._opened.append(made)
        await made.login(PASSWORD)
        await made.start()
        return made

    async def close(self) -> None:
        """Log nobody out; stop their syncs."""
        for device in self._opened:
            await device.close()


@pytest.fixture
async def devices(tmp_path: Path) -> AsyncIterator[Devices]:
    pytest.importorskip(
        "nio", reason="matrix-nio with encryption is not installed (pip install -e '.[clients]')"
    )
    pytest.importorskip(
        "vodozemac", reason="matrix-nio with encryption is not installed (pip install -e '.[clients]')"
    )
    made = Devices(tmp_path)
    yield made
    await made.close()


async def _body(device: NioDevice, event_id: str) -> str:
    return str((await device.content(event_id))["body"])


async def test_encrypted_messages_are_read_on_the_other_server(pair: Pair, devices: Devices) -> None:
    alice, bob = await pair.at_home("alice"), await pair.from_away("bob")
    state = [{"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}]
    phone, laptop = await devices.open(pair.home, alice), await devices.open(pair.away, bob)
    room_id = await pair.shared(alice, bob, initial_state=state)

    async def both_know() -> bool:
        rooms = [device.client.rooms.get(room_id) for device in (phone, laptop)]
        return all(
            room is not None and room.encrypted and {alice.user_id, bob.user_id} <= set(room.users)
            for room in rooms
        )

    await eventually(both_know, "both devices know who is in the room")
    for number in range(3):
        said = await phone.send_text(room_id, f"tea {number}")
        assert await _body(laptop, said) == f"tea {number}"
        answer = await laptop.send_text(room_id, f"coffee {number}")
        assert await _body(phone, answer) == f"coffee {number}"
    # A device that is new is told of, and can read from then on.
    tablet = await devices.open(pair.away, bob)
    await phone.hears("bob has another device", lambda: phone.changed_devices[bob.user_id])

    async def knows_tablet() -> bool:
        return tablet.device_id in phone.client.device_store[bob.user_id]

    await eventually(knows_tablet, "the phone knows of the tablet")
    said = await phone.send_text(room_id, "for all devices")
    assert await _body(tablet, said) == await _body(laptop, said) == "for all devices"


def _keys(user: UserClient) -> dict[str, Any]:
    return {
        "user_id": user.user_id,
        "device_id": user.device_id,
        "algorithms": ["m.megolm.v1.aes-sha2"],
        "keys": {f"ed25519:{user.device_id}": "x" * 43},
        "signatures": {user.user_id: {f"ed25519:{user.device_id}": "y" * 86}},
    }


async def test_keys_are_found_and_claimed_and_messages_to_devices_arrive(pair: Pair) -> None:
    alice, bob = await pair.at_home("alice"), await pair.from_away("bob")
    await pair.shared(alice, bob)
    hears = {alice: await hears_from_now(alice), bob: await hears_from_now(bob)}
    for owner, asker in ((alice, bob), (bob, alice)):
        one_time = {
            "signed_curve25519:AAAA": {"key": "z" * 43, "signatures": {owner.user_id: {"ed25519:x": "s"}}}
        }
        sent = {"device_keys": _keys(owner), "one_time_keys": one_time}
        (await owner.post("/_matrix/client/v3/keys/upload", json=sent)).ok()
        await hears[asker].until(
            lambda answer, owner=owner: owner.user_id in answer.get("device_lists", {}).get("changed", []),
            "new keys",
        )
        query = {"device_keys": {owner.user_id: []}}
        found = (await asker.post("/_matrix/client/v3/keys/query", json=query)).ok()
        assert found["device_keys"][owner.user_id][owner.device_id]["keys"] == _keys(owner)["keys"]
        wanted = {"one_time_keys": {owner.user_id: {owner.device_id: "signed_curve25519"}}}
        claimed = (await asker.post("/_matrix/client/v3/keys/claim", json=wanted)).ok()
        assert claimed["one_time_keys"][owner.user_id][owner.device_id] == one_time
        path = path_of("_matrix/client/v3/sendToDevice", "org.example.secret", f"to {owner.user_id}")
        messages = {owner.user_id: {owner.device_id: {"secret": "tea"}}}
        (await asker.put(path, json={"messages": messages})).ok()
        told = await hears[owner].until(
            lambda answer: answer.get("to_device", {}).get("events"), "the message to the device"
        )
        assert told[0]["content"] == {"secret": "tea"} and told[0]["sender"] == asker.user_id


async def test_a_device_that_is_renamed_or_logged_out_is_told_of(pair: Pair) -> None:
    alice, bob = await pair.at_home("alice"), await pair.from_away("bob")
    await pair.shared(alice, bob)
    for owner, asker, side in ((alice, bob, pair.home), (bob, alice, pair.away)):
        second = await side.login(owner.user_id[1:].partition(":")[0])
        asks = await hears_from_now(asker)
        (await second.post("/_matrix/client/v3/keys/upload", json={"device_keys": _keys(second)})).ok()

        async def names(owner: UserClient = owner, asker: UserClient = asker) -> dict[str, Any]:
            query = {"device_keys": {owner.user_id: []}}
            found = (await asker.post("/_matrix/client/v3/keys/query", json=query)).ok()
            return {
                device: keys.get("unsigned", {}).get("device_display_name")
                for device, keys in found["device_keys"].get(owner.user_id, {}).items()
            }

        async def is_there(second: UserClient = second, names: Any = names) -> bool:
            return second.device_id in await names()

        await eventually(is_there, "the second device is seen")
        path = path_of("_matrix/client/v3/devices", second.device_id)
        (await second.put(path, json={"display_name": "tablet"})).ok()

        async def is_renamed(second: UserClient = second, names: Any = names) -> bool:
            return bool((await names()).get(second.device_id) == "tablet")

        await eventually(is_renamed, "its new name is seen")
        asks.answers.clear()
        (await second.post("/_matrix/client/v3/logout", json={})).ok()

        async def is_gone(second: UserClient = second, names: Any = names) -> bool:
            return second.device_id not in await names()

        await eventually(is_gone, "it is gone")
