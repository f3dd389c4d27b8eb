"""Join rules: which a room version knows, and what a restricted one asks for.

Source: client-server API, "Restricted rooms", "Knocking on rooms", `m.room.join_rules`.
"""

from collections.abc import Mapping
from typing import Any, Final

from ranvier.protocol.room_versions import RoomVersion

DEFAULT_JOIN_RULE: Final = "invite"
"""What holds in a room that has set none."""

MAX_ALLOWED_ROOMS: Final = 50
"""Rooms of a restricted join rule that are looked at for the one who wants to join."""


def known_join_rules(version: RoomVersion) -> frozenset[str]:
    """The join rules that mean something in a room of this version."""
    known = {"public", "invite"}
    if version.knocking:
        known.add("knock")
    if version.restricted_joins:
        known.add("restricted")
    if version.knock_restricted_joins:
        known.add("knock_restricted")
    return frozenset(known)


def read_join_rule(content: Mapping[str, Any] | None) -> str:
    """The rule that the content of `m.room.join_rules` sets; None if there is no such event."""
    rule = None if content is None else content.get("join_rule")
    return rule if isinstance(rule, str) else DEFAULT_JOIN_RULE


def takes_knocks(content: Mapping[str, Any] | None, version: RoomVersion) -> bool:
    """Whether one who is neither in the room nor invited may ask to be."""
    rule = read_join_rule(content)
    return rule in ("knock", "knock_restricted") and rule in known_join_rules(version)


def is_restricted(content: Mapping[str, Any] | None, version: RoomVersion) -> bool:
    """Whether the members of certain other rooms may join without an invite."""
    rule = read_join_rule(content)
    return rule in ("restricted", "knock_restricted") and rule in known_join_rules(version)


def allowed_rooms(content: Mapping[str, Any] | None) -> list[str]:
    """The rooms whose members a restricted join rule lets in; conditions that are not understood count as unmet."""
    allowed = None if content is None else content.get("allow")
    rooms = [
        condition["room_id"]
        for condition in (allowed if isinstance(allowed, list) else [])
        if isinstance(condition, dict)
        and condition.get("type") == "m.room_membership"
        and isinstance(condition.get("room_id"), str)
        and condition["room_id"].startswith("!")
        and "\0" not in condition["room_id"]
    ]
    return rooms[:MAX_ALLOWED_ROOMS]
