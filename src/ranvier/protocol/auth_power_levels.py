"""The authorisation rule on `m.room.power_levels`.

Numbers in comments are those of room version 12; verdicts quote the numbers of the event's own version.
"""

from collections.abc import Mapping
from typing import Any, Final

from ranvier.protocol.auth_failure import AuthFailure
from ranvier.protocol.events import Event
from ranvier.protocol.identifiers import is_user_id_shaped
from ranvier.protocol.power_levels import creators_of, read_level, read_levels
from ranvier.protocol.room_versions import RoomVersion

_LEVELS: Final = ("users_default", "events_default", "state_default", "ban", "redact", "kick", "invite")


def check_power_levels(event: Event, previous: Event | None, create: Event, power: int) -> AuthFailure | None:
    """Rule 10 of version 12, for a sender of this power; `previous` is the room's event before."""
    failure = _check_form(event, create)
    # 10.5
    if failure is not None or previous is None:
        return failure
    return (
        _check_readable(event)
        or _check_levels(event, previous.content, power)
        or _check_event_levels(event, previous.content, power)
        or _check_user_levels(event, previous.content, power)
    )


def _check_form(event: Event, create: Event) -> AuthFailure | None:
    version, content = event.room_version, event.content
    rule = version.rules.power_levels
    if version.integer_power_levels:
        for key in _LEVELS:
            if key in content and type(content[key]) is not int:
                # 10.1
                return AuthFailure(f"{rule}.1", f"{key} must be an integer.")
        for key in ("events", "notifications"):
            if key in content and not _are_levels(content[key], version):
                # 10.2
                return AuthFailure(f"{rule}.2", f"{key} must be an object of integers.")
    users = content.get("users", {})
    # COMPAT(synapse, all): of a user ID it asks no more here than `@` and a colon, nor do we: rooms have such
    # keys, and who rejects their power levels event has another room.
    if not _are_levels(users, version) or not all(map(is_user_id_shaped, users)):
        # 10.3
        return AuthFailure(f"{rule}.{version.rules.levels_users}", "users must be integers by user ID.")
    if version.creators_have_infinite_power and not creators_of(create).isdisjoint(users):
        # 10.4
        return AuthFailure(f"{rule}.{version.rules.levels_creators}", "Creators cannot have a power level.")
    return None


def _are_levels(value: Any, version: RoomVersion) -> bool:
    return isinstance(value, dict) and all(read_level(item, version) is not None for item in value.values())


def _check_readable(event: Event) -> AuthFailure | None:
    """Before version 10 nothing says of these values that they are numbers, yet they are to be compared."""
    version, content = event.room_version, event.content
    rules = version.rules
    for key in _LEVELS:
        if key in content and read_level(content[key], version) is None:
            return AuthFailure(f"{rules.power_levels}.{rules.levels_defaults}", f"{key} is not a number.")
    for key in _event_keys(version):
        # COMPAT(synapse, all): to it an empty array has no entries, as an empty object has none.
        if content.get(key) != [] and not _are_levels(content.get(key, {}), version):
            return AuthFailure(f"{rules.power_levels}.{rules.levels_events_new}", f"{key} must hold numbers.")
    return None


def _event_keys(version: RoomVersion) -> tuple[str, ...]:
    return ("events", "notifications") if version.limits_notification_levels else ("events",)


def _check_levels(event: Event, before: Mapping[str, Any], power: int) -> AuthFailure | None:
    version = event.room_version
    rule = f"{version.rules.power_levels}.{version.rules.levels_defaults}"
    for key in _LEVELS:
        old = read_level(before.get(key), version)
        new = read_level(event.content.get(key), version)
        if old == new:
            continue
        if old is not None and old > power:
            # 10.6.1
            return AuthFailure(f"{rule}.1", f"{key} is above the sender's power level.")
        if new is not None and new > power:
            # 10.6.2
            return AuthFailure(f"{rule}.2", f"{key} would be above the sender's power level.")
    return None


def _check_event_levels(event: Event, before: Mapping[str, Any], power: int) -> AuthFailure | None:
    version = event.room_version
    rules = version.rules
    for key in _event_keys(version):
        for name, old, new in _changes(before.get(key), event.content.get(key), version):
            if old is not None and old > power:
                # 10.7.1
                rule = f"{rules.power_levels}.{rules.levels_events_old}.1"
                return AuthFailure(rule, f"The level of {name} is above the sender's power level.")
            if new is not None and new > power:
                # 10.8.1
                rule = f"{rules.power_levels}.{rules.levels_events_new}.1"
                return AuthFailure(rule, f"The level of {name} would be above the sender's power level.")
    return None


def _check_user_levels(event: Event, before: Mapping[str, Any], power: int) -> AuthFailure | None:
    version = event.room_version
    rules = version.rules
    for user, old, new in _changes(before.get("users"), event.content.get("users"), version):
        if old is not None and old >= power and user != event.sender:
            # 10.9.1
            rule = f"{rules.power_levels}.{rules.levels_users_old}.1"
            return AuthFailure(rule, f"{user} has a power level that is not below the sender's.")
        if new is not None and new > power:
            # 10.10.1
            rule = f"{rules.power_levels}.{rules.levels_users_new}.1"
            return AuthFailure(rule, f"{user} would have a power level above the sender's.")
    return None


def _changes(before: Any, after: Any, version: RoomVersion) -> list[tuple[str, int | None, int | None]]:
    """Key, old and new level of each entry that was added, changed or removed."""
    if before == after:
        return []
    old, new = read_levels(before, version), read_levels(after, version)
    changed: list[tuple[str, int | None, int | None]]
    changed = [(key, level, new.get(key)) for key, level in old.items() if new.get(key) != level]
    changed += [(key, None, level) for key, level in new.items() if key not in old]
    return changed
