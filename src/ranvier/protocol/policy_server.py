"""Policy servers: which one a room uses, and whether it recommends an event.

Source: server-server API, "Policy Servers" (v1.18).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ranvier.protocol import unpadded_base64
from ranvier.protocol.canonical_json import BadJson
from ranvier.protocol.events import Event
from ranvier.protocol.redaction import redact
from ranvier.protocol.signing import signatures_of, signed_bytes, verify

KEY_ID: Final = "ed25519:policy_server"
"""The ID of every policy server's key."""


@dataclass(frozen=True, slots=True)
class PolicyServer:
    """The server that a room asks about its events, and the public key (Base64) that it signs by.

    The key is as the room names it: one that cannot be read signs nothing.
    """

    via: str
    public_key: str


def policy_server_of(event: Event | None) -> PolicyServer | None:
    """What the room's current `m.room.policy` event (with an empty state key) names; None if nothing valid.

    The room uses it only while a user of that server is joined: that is the caller's to ask.
    """
    if event is None:
        return None
    via, keys = event.content.get("via"), event.content.get("public_keys")
    key = keys.get("ed25519") if isinstance(keys, dict) else None
    return PolicyServer(via, key) if isinstance(via, str) and isinstance(key, str) else None


def is_exempt(event: Event) -> bool:
    """Whether the event needs no policy server's signature: only the event that names one."""
    return event.type == "m.room.policy" and event.state_key == ""


def recommends(policy_server: PolicyServer, event: Event) -> bool:
    """Whether the event carries a valid signature of the policy server, or needs none. It never raises."""
    if is_exempt(event):
        return True
    signature = signatures_of(event.pdu, policy_server.via).get(KEY_ID)
    if signature is None:
        return False
    try:
        public = unpadded_base64.decode(policy_server.public_key)
        message = signed_bytes(redact(event.pdu, event.room_version))
    except (ValueError, BadJson):
        return False
    return verify(public, message, signature)


def signed_by(policy_server: PolicyServer, event: Event, signatures: Mapping[str, Any]) -> Event:
    """The event with the signature that the policy server answered (its signatures by key ID), if there is one.

    Only this one is taken over: a policy server may share its name with the event's origin, whose signatures
    must stay. Whether it is valid is for `recommends` to say.
    """
    signature = signatures.get(KEY_ID)
    if not isinstance(signature, str):
        return event
    standing = event.pdu["signatures"]
    own = {**standing.get(policy_server.via, {}), KEY_ID: signature}
    pdu = {**event.pdu, "signatures": {**standing, policy_server.via: own}}
    return Event(event.event_id, event.room_version, pdu)
