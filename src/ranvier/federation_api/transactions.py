"""Transactions: what other servers have to say."""

from typing import Any

from ranvier.federation.inbox import Inbox
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.protocol.refusal import bad_json

_BODY_LIMIT = 20 * 1024 * 1024
"""Bytes: 50 PDUs of 64 KiB, and EDUs, whose size the specification leaves open."""


@endpoint(
    "PUT", "/_matrix/federation/v1/send/{txnId}", access="server", body_limit=_BODY_LIMIT, takes_turns=False
)
async def send_transaction(request: Request, inbox: Inbox) -> Answer:
    """Take the events and ephemera of a transaction; one that can't be used keeps no other from being taken."""
    body = request.content()
    pdus, edus = _units(body, "pdus"), _units(body, "edus")
    return await inbox.take(request.origin, request.parameters["txnId"], pdus, edus)


def _units(body: dict[str, Any], key: str) -> list[dict[str, Any]]:
    units = body.get(key, [])
    if not isinstance(units, list) or not all(isinstance(unit, dict) for unit in units):
        raise bad_json(f"'{key}' must be an array of objects.")
    return units
