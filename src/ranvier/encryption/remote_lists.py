"""Following the devices of users of other servers.

Source: Server-Server API, "Device Management": lists are fetched when somebody asks and kept up to date by their
server's news while a room is shared; where news were missed, the next who asks leads to a new fetch.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import orjson

from ranvier.encryption import key_forms
from ranvier.protocol.identifiers import BadIdentifier, server_name_of
from ranvier.protocol.refusal import Refusal, bad_json, forbidden
from ranvier.remote.client import FederationClient
from ranvier.remote.user_devices import get_user_devices
from ranvier.store import cross_signing
from ranvier.store import remote_devices as store
from ranvier.store.cross_signing import CrossSigningRow, Purpose
from ranvier.store.database import Database, Transaction
from ranvier.store.device_keys import announce_device_list, announce_for_later
from ranvier.store.remote_devices import RemoteDevice
from ranvier.store.writer import Writer

MAX_DEVICES: Final = 1_000
"""Devices of one user that are kept."""
_OBJECT_BYTES: Final = 32 * 1024
_NAME_BYTES: Final = 255
_PREVIOUS: Final = 100
_GREATEST: Final = 2**63 - 1
"""The greatest stream_id that can be kept."""

Content = Mapping[str, Any]


class RemoteLists:
    """Keeps the lists."""

    def __init__(
        self,
        server_name: str,
        database: Database,
        writer: Writer,
        client: FederationClient,
        now: Callable[[], int],
    ) -> None:
        self._server_name = server_name
        self._database = database
        self._writer = writer
        self._client = client
        self._now = now
        self._under_way: dict[str, asyncio.Task[None]] = {}

    async def fetch(self, user_id: str) -> None:
        """Get a user's list from their server and keep it. Raises RemoteFailure.

        All who ask for one user at the same time wait for one answer.
        """
        task = self._under_way.get(user_id)
        if task is None:
            task = asyncio.create_task(self._fetch(user_id))
            self._under_way[user_id] = task
            task.add_done_callback(lambda _: self._under_way.pop(user_id, None))
        await asyncio.shield(task)

    async def _fetch(self, user_id: str) -> None:
        began = self._now()
        server = server_name_of(user_id)
        told = await get_user_devices(self._client, server, user_id)
        devices = [
            device
            for one in told.devices[:MAX_DEVICES]
            if (device := _device(user_id, one.device_id, one.keys or None, one.display_name)) is not None
        ]
        signing = _cross_signing(user_id, told.master_key, told.self_signing_key)

        async def write(transaction: Transaction) -> None:
            await store.replace_list(transaction, user_id, told.stream_id, devices, began)
            await _keep_signing_keys(transaction, user_id, signing)

        await self._writer.run(write)

    async def take_update(self, origin: str, content: Content) -> None:
        """News of one device (`m.device_list_update`). Raises `Refusal`."""
        user_id, device_id = content.get("user_id"), content.get("device_id")
        stream_id = content.get("stream_id")
        if not isinstance(device_id, str) or type(stream_id) is not int or not 0 <= stream_id <= _GREATEST:
            raise bad_json("An m.device_list_update unit has a user_id, a device_id and a stream_id.")
        user_id = _own_user(origin, user_id)
        previous = content.get("prev_id")
        previous = previous[:_PREVIOUS] if isinstance(previous, list) else []
        deleted = content.get("deleted") is True
        keys = content.get("keys")
        device = _device(
            user_id, device_id, keys if isinstance(keys, dict) else None, content.get("device_display_name")
        )

        async def write(transaction: Transaction) -> None:
            known = await store.stream_id_of(transaction, user_id)
            if known is not None and known >= stream_id:
                return
            if known is not None:
                if device is not None and all(isinstance(one, int) and one <= known for one in previous):
                    await _apply(transaction, user_id, device, stream_id, deleted=deleted)
                else:
                    await store.mark_stale(transaction, user_id)
            if await store.read_sharing(transaction, [user_id], self._server_name):
                await announce_device_list(transaction, user_id)
            else:
                await announce_for_later(transaction, user_id)

        await self._writer.run(write)

    async def take_signing_keys(self, origin: str, content: Content) -> None:
        """New cross-signing keys of a user (`m.signing_key_update`). Raises `Refusal`."""
        user_id = _own_user(origin, content.get("user_id"))
        keys = _cross_signing(user_id, content.get("master_key"), content.get("self_signing_key"))

        async def write(transaction: Transaction) -> None:
            if await store.stream_id_of(transaction, user_id) is not None:
                await _keep_signing_keys(transaction, user_id, keys)
            elif await store.read_sharing(transaction, [user_id], self._server_name):
                await announce_device_list(transaction, user_id)
            else:
                await announce_for_later(transaction, user_id)

        await self._writer.run(write)


def _own_user(origin: str, user_id: Any) -> str:
    try:
        if isinstance(user_id, str) and server_name_of(user_id) == origin:
            return user_id
    except BadIdentifier:
        pass
    raise forbidden("A server can only tell of its own users' devices.")


def _device(user_id: str, device_id: str, keys: dict[str, Any] | None, name: Any) -> RemoteDevice | None:
    """The device as it is kept; None if what is told of it can't be.

    Keys of another user or device would lead messages astray, so they count as none.
    """
    if len(device_id.encode()) > _NAME_BYTES:
        return None
    shown = name[:_NAME_BYTES] if isinstance(name, str) else None
    text: str | None = None
    if keys is not None and keys.get("user_id") == user_id and keys.get("device_id") == device_id:
        text = orjson.dumps(keys).decode()
        text = text if len(text) <= _OBJECT_BYTES else None
    return RemoteDevice(device_id, text, shown)


def _cross_signing(user_id: str, master: Any, self_signing: Any) -> list[CrossSigningRow]:
    """The cross-signing keys that have the form of such."""
    rows = []
    told: tuple[tuple[Purpose, Any], ...] = (("master", master), ("self_signing", self_signing))
    for purpose, key in told:
        try:
            if isinstance(key, dict):
                rows.append(key_forms.check_cross_signing_key(key, purpose, user_id))
        except Refusal:
            # As if the user had none: whoever relied on it will find out.
            continue
    return rows


async def _apply(
    transaction: Transaction, user_id: str, device: RemoteDevice, stream_id: int, *, deleted: bool
) -> None:
    if deleted:
        await store.delete_device(transaction, user_id, device.device_id)
    else:
        await store.write_devices(transaction, user_id, [device])
    await store.follow(transaction, user_id, stream_id)


async def _keep_signing_keys(transaction: Transaction, user_id: str, keys: Sequence[CrossSigningRow]) -> None:
    known = (await cross_signing.read_cross_signing_keys(transaction, [user_id])).get(user_id, {})
    changed = [row for row in keys if row.purpose not in known or known[row.purpose].key != row.key]
    if not changed:
        return
    replaced = [
        known[row.purpose].public_key
        for row in changed
        if row.purpose in known and known[row.purpose].public_key != row.public_key
    ]
    await cross_signing.write_cross_signing_keys(transaction, user_id, changed, replaced)
