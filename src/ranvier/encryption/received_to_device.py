"""Messages to devices that come from other servers.

Source: Server-Server API, "Send-to-device messaging".
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from ranvier.protocol.identifiers import BadIdentifier, server_name_of
from ranvier.protocol.refusal import bad_json, forbidden
from ranvier.store import device_keys, rooms
from ranvier.store import to_device as store
from ranvier.store.database import Transaction
from ranvier.store.rooms import TransactionKey
from ranvier.store.to_device import Outgoing
from ranvier.store.writer import Writer

MAX_MESSAGES: Final = 10_000
"""Messages that one unit brings, once `*` is written out."""
_MESSAGE_BYTES: Final = 64 * 1024
_NAME_BYTES: Final = 255
_SCOPE: Final = "m.direct_to_device"

_log = logging.getLogger("ranvier.encryption")


class ReceivedToDevice:
    """Queues them for our devices, each unit once."""

    def __init__(self, writer: Writer, server_name: str, now: Callable[[], int]) -> None:
        self._writer = writer
        self._server_name = server_name
        self._now = now

    async def take(self, origin: str, content: Mapping[str, Any]) -> None:
        """Take a unit of the type `m.direct_to_device`; durable on return. Raises `Refusal`."""
        sender, kind, message_id = (content.get(key) for key in ("sender", "type", "message_id"))
        for name in (sender, kind, message_id):
            if not isinstance(name, str) or len(name.encode(errors="replace")) > _NAME_BYTES:
                raise bad_json("An m.direct_to_device unit has a sender, a type and a message_id.")
        assert isinstance(sender, str) and isinstance(kind, str) and isinstance(message_id, str)
        if _server_of(sender) != origin:
            raise forbidden("A server can only send its own users' messages.")
        messages = self._for_own(content.get("messages"))
        now = self._now()
        # Its id is the sender's server's; a retry of the transaction brings it again.
        key = TransactionKey(sender, "", _SCOPE, message_id)

        async def write(transaction: Transaction) -> list[Outgoing]:
            if await rooms.insert_transactions(transaction, [(key, "", now)]) == 0:
                return []
            devices = await device_keys.read_devices(transaction, list(messages))
            outgoing = [
                Outgoing(user_id, device, _event(sender, kind, message))
                for user_id, by_device in messages.items()
                for device in devices.get(user_id, {})
                if (message := by_device.get(device, by_device.get("*"))) is not None
            ]
            fitting = [one for one in outgoing[:MAX_MESSAGES] if len(one.message) <= _MESSAGE_BYTES]
            return await store.write_to_device(transaction, fitting, now)

        for refused in await self._writer.run(write):
            _log.warning(
                "a device's queue is full: a message was dropped",
                extra={"user_id": refused.user_id, "device_id": refused.device_id},
            )

    def _for_own(self, told: Any) -> dict[str, dict[str, dict[str, Any]]]:
        """The messages for users of this server, by user and device; what has not the form of one is passed over."""
        if not isinstance(told, dict):
            raise bad_json("'messages' must be an object of users.")
        return {
            user_id: {device: message for device, message in by_device.items() if isinstance(message, dict)}
            for user_id, by_device in list(told.items())[:MAX_MESSAGES]
            if isinstance(by_device, dict) and _server_of(user_id) == self._server_name
        }


def _server_of(user_id: str) -> str | None:
    try:
        return server_name_of(user_id)
    except BadIdentifier:
        return None


def _event(sender: str, kind: str, content: dict[str, Any]) -> str:
    return orjson.dumps({"content": content, "sender": sender, "type": kind}).decode()
