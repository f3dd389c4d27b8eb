"""Reading the filters that clients send: checked once, in every part, and bounded.

A wrong filter is refused with M_BAD_JSON or M_INVALID_PARAM and the place of the fault. Keys beyond the
specification are let through.

Source: Client-Server API, "Filtering".
"""

from collections.abc import Mapping
from typing import Any, Final

from ranvier.protocol.filters import (
    EVERYTHING,
    EventFilter,
    FieldProjection,
    Filter,
    RoomFilter,
    TypePatterns,
)
from ranvier.protocol.refusal import bad_json, invalid_param

MAX_LIMIT: Final = 1_000
"""The most events that a `limit` can ask for; a greater one counts as this."""
MAX_ENTRIES: Final = 2_000
"""Entries of one list of users or rooms."""
MAX_PATTERNS: Final = 200
"""Entries of one list of event types, rel_types or fields."""
MAX_ENTRY: Final = 512
"""Characters of one entry."""

_FORMATS: Final = ("client", "federation")


def parse_filter(definition: object) -> Filter:
    """The filter for sync that a client uploaded or gave inline."""
    source = _object(definition, "A filter")
    event_format = source.get("event_format", "client")
    if event_format not in _FORMATS:
        raise invalid_param('`event_format` must be "client" or "federation".')
    return Filter(
        definition=source,
        event_fields=_parse_fields(source),
        event_format=event_format,
        presence=_part(source, "presence", "presence", in_room=False),
        account_data=_part(source, "account_data", "account_data", in_room=False),
        room=_parse_room_filter(source.get("room")),
    )


def parse_room_event_filter(definition: object) -> EventFilter:
    """A RoomEventFilter by itself, as `/messages`, `/context` and `/search` take it."""
    return _parse_event_filter(_object(definition, "A filter"), "", in_room=True)


def _parse_room_filter(definition: object) -> RoomFilter:
    if definition is None:
        return RoomFilter()
    source = _object(definition, "`room`")
    return RoomFilter(
        rooms=_ids(source, "rooms", "!", "room."),
        not_rooms=_ids(source, "not_rooms", "!", "room.") or frozenset(),
        include_leave=_flag(source, "include_leave", "room."),
        timeline=_part(source, "timeline", "room.timeline", in_room=True),
        state=_part(source, "state", "room.state", in_room=True),
        ephemeral=_part(source, "ephemeral", "room.ephemeral", in_room=True),
        account_data=_part(source, "account_data", "room.account_data", in_room=True),
    )


def _part(source: Mapping[str, Any], name: str, path: str, *, in_room: bool) -> EventFilter:
    definition = source.get(name)
    if definition is None:
        return EVERYTHING
    return _parse_event_filter(_object(definition, f"`{path}`"), f"{path}.", in_room=in_room)


def _parse_event_filter(source: Mapping[str, Any], path: str, *, in_room: bool) -> EventFilter:
    limit = _limit(source, path)
    types = _patterns(source, "types", path)
    not_types = _patterns(source, "not_types", path)
    senders = _ids(source, "senders", "@", path)
    not_senders = _ids(source, "not_senders", "@", path) or frozenset()
    if not in_room:
        return EventFilter(limit, types, not_types, senders, not_senders)
    return EventFilter(
        limit,
        types,
        not_types,
        senders,
        not_senders,
        contains_url=_optional_flag(source, "contains_url", path),
        rooms=_ids(source, "rooms", "!", path),
        not_rooms=_ids(source, "not_rooms", "!", path) or frozenset(),
        lazy_load_members=_flag(source, "lazy_load_members", path),
        include_redundant_members=_flag(source, "include_redundant_members", path),
        unread_thread_notifications=_flag(source, "unread_thread_notifications", path),
        related_by_senders=_ids(source, "related_by_senders", "@", path),
        related_by_rel_types=_rel_types(source, "related_by_rel_types", path),
        rel_types=_rel_types(source, "org.matrix.msc3874.rel_types", path),
        not_rel_types=_rel_types(source, "org.matrix.msc3874.not_rel_types", path) or frozenset(),
    )


def _object(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise bad_json(f"{what} must be an object.")
    return value


def _limit(source: Mapping[str, Any], path: str) -> int | None:
    limit = source.get("limit")
    if limit is None:
        return None
    if not isinstance(limit, int) or isinstance(limit, bool):
        raise bad_json(f"`{path}limit` must be an integer.")
    # The specification wants it above 0, but clients that want no events at all ask for 0.
    if limit < 0:
        raise invalid_param(f"`{path}limit` must not be negative.")
    return min(limit, MAX_LIMIT)


def _optional_flag(source: Mapping[str, Any], name: str, path: str) -> bool | None:
    flag = source.get(name)
    if flag is not None and not isinstance(flag, bool):
        raise bad_json(f"`{path}{name}` must be true or false.")
    return flag


def _flag(source: Mapping[str, Any], name: str, path: str) -> bool:
    return _optional_flag(source, name, path) or False


def _texts(source: Mapping[str, Any], name: str, path: str, most: int) -> list[str] | None:
    texts = source.get(name)
    if texts is None:
        return None
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise bad_json(f"`{path}{name}` must be an array of strings.")
    if len(texts) > most or any(len(text) > MAX_ENTRY for text in texts):
        raise invalid_param(
            f"`{path}{name}` may have at most {most} entries of at most {MAX_ENTRY} characters."
        )
    return texts


def _ids(source: Mapping[str, Any], name: str, sigil: str, path: str) -> frozenset[str] | None:
    identifiers = _texts(source, name, path, MAX_ENTRIES)
    if identifiers is None:
        return None
    for identifier in identifiers:
        # Rooms of version 12 and later have no server's name in their ID.
        if not identifier.startswith(sigil) or (sigil == "@" and ":" not in identifier):
            raise invalid_param(f"`{path}{name}` holds {identifier!r}, which is no {_SIGILS[sigil]}.")
    return frozenset(identifiers)


_SIGILS: Final = {"@": "user ID", "!": "room ID"}


def _patterns(source: Mapping[str, Any], name: str, path: str) -> TypePatterns | None:
    patterns = _texts(source, name, path, MAX_PATTERNS)
    return None if patterns is None else TypePatterns(patterns)


def _rel_types(source: Mapping[str, Any], name: str, path: str) -> frozenset[str] | None:
    rel_types = _texts(source, name, path, MAX_PATTERNS)
    return None if rel_types is None else frozenset(rel_types)


def _parse_fields(source: Mapping[str, Any]) -> FieldProjection | None:
    # A list without entries would leave nothing of any event; more fields than asked for may be given.
    fields = _texts(source, "event_fields", "", MAX_PATTERNS)
    return FieldProjection(fields) if fields else None
