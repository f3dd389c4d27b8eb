"""Redaction: what of an event survives (room versions, "Redactions").

Hashes and signatures are made over the redacted form, so this is part of every event's making.
"""

from collections.abc import Mapping
from typing import Any

from ranvier.protocol.room_versions import RoomVersion


def redact(pdu: Mapping[str, Any], version: RoomVersion) -> dict[str, Any]:
    """A new PDU with what the room version keeps; values are shared with the old one, never copied."""
    kept = version.redaction.top_level
    redacted = {key: value for key, value in pdu.items() if key in kept}
    content = pdu.get("content")
    redacted["content"] = redact_content(pdu.get("type"), content, version) if content else {}
    return redacted


def redact_content(type: Any, content: Any, version: RoomVersion) -> dict[str, Any]:
    """The part of an event's content that survives; nothing for content that is no object."""
    rules = version.redaction
    if not isinstance(content, dict) or not isinstance(type, str):
        return {}
    if type == "m.room.create" and rules.keeps_all_of_create:
        return content
    kept = rules.content.get(type)
    if kept is None:
        return {}
    redacted = {key: value for key, value in content.items() if key in kept}
    if type == "m.room.member" and rules.keeps_signed_of_third_party_invite:
        invite = content.get("third_party_invite")
        # Without `signed` an empty object stays: the key itself is allowed, only its members are filtered.
        if isinstance(invite, dict):
            redacted["third_party_invite"] = {key: invite[key] for key in ("signed",) if key in invite}
    return redacted
