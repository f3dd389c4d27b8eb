"""Messages from device to device."""

from typing import Any

import msgspec

from ranvier.encryption.to_device import ToDevice
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request

_LARGE = 10 * 1024 * 1024


class _Messages(msgspec.Struct):
    messages: dict[str, dict[str, dict[str, Any]]]


@endpoint("PUT", "/_matrix/client/v3/sendToDevice/{eventType}/{txnId}", body_limit=_LARGE)
async def send_to_device(request: Request, to_device: ToDevice) -> Answer:
    """Send a message to each of the devices."""
    requester = request.requester
    await to_device.send(
        requester.user_id,
        requester.device_id or "",
        request.parameters["eventType"],
        request.parameters["txnId"],
        request.read(_Messages).messages,
    )
    return {}
