"""Messages to devices (Client-Server API, "Send-to-Device messaging")."""

import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from ranvier.encryption import key_forms
from ranvier.protocol import canonical_json
from ranvier.protocol.identifiers import is_valid_server_name, server_name_of
from ranvier.protocol.refusal import Refusal, invalid_param
from ranvier.store import device_keys, outgoing_to_device, rooms
from ranvier.store import to_device as store
from ranvier.store.database import Transaction
from ranvier.store.rooms import TransactionKey
from ranvier.store.to_device import Outgoing
from ranvier.store.writer import Writer

_RECIPIENTS = 10_000
_MESSAGE_BYTES = 64 * 1024
_NESTING = 200
"""Arrays and objects within each other in a message: the transaction around it takes some more."""
_EDU_BYTES = 48 * 1024
"""An EDU takes no further message if it would be larger with it."""
_QUEUED_BYTES = 64 * 1024 * 1024
"""What one request may put into queues, where `*` stands for many devices."""
_NAME_BYTES = 255

_log = logging.getLogger("ranvier.encryption")


class ToDevice:
    """Takes messages for devices. `now` is the time in milliseconds since the epoch."""

    def __init__(self, writer: Writer, server_name: str, now: Callable[[], int]) -> None:
        self._writer = writer
        self._server_name = server_name
        self._now = now

    async def send(
        self,
        sender: str,
        device_id: str,
        event_type: str,
        txn_id: str,
        messages: Mapping[str, Mapping[str, dict[str, Any]]],
    ) -> None:
        """Queue a message for each device, `*` being all of a user's; the same transaction id does nothing again.

        Those for users of other servers wait until their server has them. Devices that don't exist get nothing.
        """
        for name, what in ((event_type, "event type"), (txn_id, "transaction id")):
            if len(name.encode()) > _NAME_BYTES:
                raise invalid_param(f"The {what} has more than {_NAME_BYTES} bytes.")
        key_forms.check_users(messages)
        if sum(map(len, messages.values())) > _RECIPIENTS:
            raise Refusal("M_TOO_LARGE", f"At most {_RECIPIENTS} messages can be sent at once.")
        local = {
            user_id: {device: _event(sender, event_type, content) for device, content in by_device.items()}
            for user_id, by_device in messages.items()
            if server_name_of(user_id) == self._server_name
        }
        remote = _edus(sender, event_type, messages, self._server_name)
        key = TransactionKey(sender, device_id, f"sendToDevice/{event_type}", txn_id)
        now = self._now()

        async def write(transaction: Transaction) -> tuple[list[Outgoing], dict[str, int]]:
            if await rooms.insert_transactions(transaction, [(key, "", now)]) == 0:
                return [], {}
            devices = await device_keys.read_devices(transaction, list(local))
            outgoing = [
                Outgoing(user_id, device, event)
                for user_id, by_device in local.items()
                for device, event in _addressed(by_device, devices.get(user_id, {})).items()
            ]
            _check_bounds(outgoing)
            kept_out = await outgoing_to_device.write(transaction, remote) if remote else {}
            return await store.write_to_device(transaction, outgoing, now), kept_out

        full, full_servers = await self._writer.run(write)
        for refused in full:
            _log.warning(
                "a device's queue is full: a message was dropped",
                extra={"user_id": refused.user_id, "device_id": refused.device_id},
            )
        for destination, count in full_servers.items():
            _log.warning(
                "a server's queue is full: messages to its users' devices were dropped",
                extra={"destination": destination, "count": count},
            )


def _check_bounds(outgoing: Sequence[Outgoing]) -> None:
    if len(outgoing) > _RECIPIENTS or sum(len(one.message) for one in outgoing) > _QUEUED_BYTES:
        raise Refusal(
            "M_TOO_LARGE",
            f"These are {len(outgoing)} messages once '*' is written out: too many, or too large, for one request.",
        )


def _edus(
    sender: str, event_type: str, messages: Mapping[str, Mapping[str, dict[str, Any]]], own_name: str
) -> dict[str, list[str]]:
    """The EDUs (JSON) for the users of other servers, by server, each of few large messages or many small ones.

    Source: server-server API, "Send-to-device messaging".
    """
    found: dict[str, list[str]] = {}
    for destination, addressed in _by_server(messages, own_name).items():
        size, portion = 0, dict[str, dict[str, Any]]()
        for user_id, device, content in addressed:
            weight = len(_event(sender, event_type, _sendable(content)))
            if portion and size + weight > _EDU_BYTES:
                found.setdefault(destination, []).append(_edu(sender, event_type, portion))
                size, portion = 0, {}
            size += weight
            portion.setdefault(user_id, {})[device] = content
        found.setdefault(destination, []).append(_edu(sender, event_type, portion))
    return found


def _by_server(
    messages: Mapping[str, Mapping[str, dict[str, Any]]], own_name: str
) -> dict[str, list[tuple[str, str, dict[str, Any]]]]:
    found: dict[str, list[tuple[str, str, dict[str, Any]]]] = {}
    for user_id, by_device in messages.items():
        server_name = server_name_of(user_id)
        if server_name != own_name and is_valid_server_name(server_name):
            for device, content in by_device.items():
                found.setdefault(server_name, []).append((user_id, device, content))
    return found


def _sendable(content: dict[str, Any]) -> dict[str, Any]:
    try:
        canonical_json.check(content, strict=False, max_nesting=_NESTING)
    except canonical_json.BadJson as error:
        raise Refusal(
            "M_BAD_JSON", f"A message to a device of another server can't say this: {error}"
        ) from None
    return content


def _edu(sender: str, event_type: str, messages: Mapping[str, Mapping[str, dict[str, Any]]]) -> str:
    # Its id lets the other server know a message that it has already.
    content = {
        "message_id": secrets.token_hex(16),
        "messages": messages,
        "sender": sender,
        "type": event_type,
    }
    return orjson.dumps({"content": content, "edu_type": "m.direct_to_device"}).decode()


def _event(sender: str, event_type: str, content: dict[str, Any]) -> str:
    event = orjson.dumps({"content": content, "sender": sender, "type": event_type})
    if len(event) > _MESSAGE_BYTES:
        raise Refusal("M_TOO_LARGE", f"A message to a device has at most {_MESSAGE_BYTES} bytes.")
    return event.decode()


def _addressed(by_device: Mapping[str, str], devices: Mapping[str, str | None]) -> dict[str, str]:
    """The message for each device that exists; one that is named goes before what is for all."""
    return {
        device: by_device.get(device, by_device.get("*", ""))
        for device in devices
        if device in by_device or "*" in by_device
    }
