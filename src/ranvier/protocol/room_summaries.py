"""What is told of a room to those who are not in it, and to whom.

Source: client-server API, `RoomSummary` of `/hierarchy` and `/room_summary`, `PublishedRoomsChunk` of
`/publicRooms`; who may see a summary: "Spaces", `GET /rooms/{roomId}/hierarchy`, and its federation form.
"""

from collections.abc import Mapping
from typing import Any, Final

from ranvier.protocol.history_visibility import read_visibility
from ranvier.protocol.join_rules import allowed_rooms, is_restricted, read_join_rule, takes_knocks
from ranvier.protocol.room_versions import RoomVersion

SUMMARY_TYPES: Final = (
    "m.room.create",
    "m.room.name",
    "m.room.topic",
    "m.room.avatar",
    "m.room.canonical_alias",
    "m.room.join_rules",
    "m.room.history_visibility",
    "m.room.guest_access",
    "m.room.encryption",
)
"""Types of the state events, each with an empty state key, that a summary is made of."""

Contents = Mapping[str, Mapping[str, Any]]
"""Contents of state events by type, as far as a room has them."""


def published_room(room_id: str, contents: Contents, joined_members: int) -> dict[str, Any]:
    """What the room directory tells of a room."""
    alias = _text(contents, "m.room.canonical_alias", "alias")
    avatar_url = _text(contents, "m.room.avatar", "url")
    said = {
        "name": _text(contents, "m.room.name", "name"),
        "topic": plain_topic(contents.get("m.room.topic")),
        "canonical_alias": alias if alias is not None and alias.startswith("#") else None,
        "avatar_url": avatar_url if avatar_url is not None and avatar_url.startswith("mxc://") else None,
        "room_type": room_type_of(contents),
    }
    return {key: value for key, value in said.items() if value is not None} | {
        "room_id": room_id,
        "num_joined_members": joined_members,
        "world_readable": is_world_readable(contents),
        "guest_can_join": _text(contents, "m.room.guest_access", "guest_access") == "can_join",
        # Clients take a missing one for `public`, rooms for `invite`.
        "join_rule": read_join_rule(contents.get("m.room.join_rules")),
    }


def room_summary(
    room_id: str, version: RoomVersion, contents: Contents, joined_members: int
) -> dict[str, Any]:
    """The whole summary of a room."""
    summary = published_room(room_id, contents, joined_members)
    summary["room_version"] = version.identifier
    encryption = _text(contents, "m.room.encryption", "algorithm")
    if encryption is not None:
        summary["encryption"] = encryption
    rules = contents.get("m.room.join_rules")
    if is_restricted(rules, version):
        summary["allowed_room_ids"] = allowed_rooms(rules)
    return summary


def may_be_shown(
    version: RoomVersion, contents: Contents, membership: str | None, *, is_in_allowed_room: bool
) -> bool:
    """Whether a user may see the summary: a member, one who may join or knock, and all if it is world-readable.

    `membership` is the user's in the room. `is_in_allowed_room` tells whether they are joined to one of the
    rooms that a restricted join rule names. One who is banned can neither join nor knock.
    """
    if membership in ("join", "invite") or is_world_readable(contents):
        return True
    return membership != "ban" and _is_open(version, contents, is_in_allowed_room)


def may_be_shown_to_server(
    version: RoomVersion, contents: Contents, *, has_member_or_invited: bool, is_in_allowed_room: bool
) -> bool:
    """Whether a peer server may see the summary for the sake of any of its users.

    `has_member_or_invited` tells whether one of them is joined or invited, `is_in_allowed_room` whether one is
    joined to a room that a restricted join rule names. It has to ask again for the user that it asks for.
    """
    if has_member_or_invited or is_world_readable(contents):
        return True
    return _is_open(version, contents, is_in_allowed_room)


def is_world_readable(contents: Contents) -> bool:
    """Whether anybody may read what happens in the room now."""
    return read_visibility(contents.get("m.room.history_visibility")) == "world_readable"


def room_type_of(contents: Contents) -> str | None:
    """The room's type, as `m.space`, if its create event has one."""
    return _text(contents, "m.room.create", "type")


def plain_topic(content: Any) -> str | None:
    """The plain text of a topic: the text representation's if there is one."""
    rich = content.get("m.topic") if isinstance(content, Mapping) else None
    parts = rich.get("m.text") if isinstance(rich, dict) else None
    for part in parts if isinstance(parts, list) else ():
        if isinstance(part, dict) and part.get("mimetype", "text/plain") == "text/plain":
            return _text({"": part}, "", "body")
    return _text({"": content}, "", "topic") if isinstance(content, Mapping) else None


def _is_open(version: RoomVersion, contents: Contents, is_in_allowed_room: bool) -> bool:
    rules = contents.get("m.room.join_rules")
    if read_join_rule(rules) == "public" or takes_knocks(rules, version):
        return True
    return is_in_allowed_room and is_restricted(rules, version)


def _text(contents: Contents, type: str, key: str) -> str | None:
    content = contents.get(type)
    value = content.get(key) if isinstance(content, Mapping) else None
    return value if isinstance(value, str) and value else None
