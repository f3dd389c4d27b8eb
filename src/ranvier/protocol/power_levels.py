"""Power levels: who may do what in a room (client-server API, `m.room.power_levels`; room versions)."""

import math
import re
from collections.abc import Mapping
from typing import Any, Final

from ranvier.protocol.events import Event
from ranvier.protocol.room_versions import RoomVersion

INFINITE_POWER: Final = 2**63 - 1
"""The power of creators where the room version makes it infinite: above all that an event there can hold."""

_CREATOR_POWER_WITHOUT_EVENT: Final = 100
_LEVEL_TEXT: Final = re.compile(r"\s*[+-]?[0-9]{1,200}\s*\Z")


class PowerLevels:
    """The levels that a create event and a power levels event, if there is one, give rise to.

    Values that the room version cannot read count as absent. Ask `power_levels_of` for one: it keeps the view
    with the event.
    """

    __slots__ = (
        "_creators_without_event",
        "_events",
        "_infinite",
        "_notifications",
        "_users",
        "ban",
        "create_id",
        "events_default",
        "invite",
        "kick",
        "redact",
        "state_default",
        "users_default",
    )

    def __init__(self, create: Event, power_levels: Event | None) -> None:
        version = create.room_version
        content = {} if power_levels is None else power_levels.content
        self.create_id = create.event_id
        creators = creators_of(create)
        nobody: frozenset[str] = frozenset()
        self._infinite = creators if version.creators_have_infinite_power else nobody
        self._creators_without_event = creators if power_levels is None else nobody
        self._users = read_levels(content.get("users"), version)
        self._events = read_levels(content.get("events"), version)
        self._notifications = read_levels(content.get("notifications"), version)
        self.users_default = _level_or(content, "users_default", 0, version)
        self.events_default = _level_or(content, "events_default", 0, version)
        self.state_default = _level_or(content, "state_default", 50, version)
        self.invite = _level_or(content, "invite", 0, version)
        self.kick = _level_or(content, "kick", 50, version)
        self.ban = _level_or(content, "ban", 50, version)
        self.redact = _level_or(content, "redact", 50, version)

    def of_user(self, user_id: str) -> int:
        """The power of a user, member or not; `INFINITE_POWER` for creators where the version says so."""
        if user_id in self._infinite:
            return INFINITE_POWER
        level = self._users.get(user_id)
        if level is not None:
            return level
        if user_id in self._creators_without_event:
            return _CREATOR_POWER_WITHOUT_EVENT
        return self.users_default

    def for_event(self, type: str, is_state: bool) -> int:
        """The power that sending an event of this type takes."""
        level = self._events.get(type)
        if level is not None:
            return level
        return self.state_default if is_state else self.events_default

    def notifications(self, key: str) -> int:
        """The power that notifying in this way takes, as `room` for `@room`."""
        return self._notifications.get(key, 50)

    @property
    def users(self) -> Mapping[str, int]:
        """Levels of the users whom the power levels event names."""
        return self._users


def power_levels_of(create: Event, power_levels: Event | None) -> PowerLevels:
    """The view of these two events, made once and kept with the later one."""
    keeper = create if power_levels is None else power_levels
    view = keeper.view
    if isinstance(view, PowerLevels) and view.create_id == create.event_id:
        return view
    view = PowerLevels(create, power_levels)
    keeper.view = view
    return view


def creators_of(create: Event) -> frozenset[str]:
    """The room's creators: one, except where `additional_creators` counts (room version 12)."""
    version = create.room_version
    if version.create_names_creator:
        creator = create.content.get("creator")
        return frozenset({creator}) if isinstance(creator, str) else frozenset()
    if version.creators_have_infinite_power:
        additional = create.content.get("additional_creators")
        if isinstance(additional, list):
            return frozenset({create.sender, *(user for user in additional if isinstance(user, str))})
    return frozenset({create.sender})


def read_level(value: Any, version: RoomVersion) -> int | None:
    """A level as the room version reads it, None for what is none.

    Until version 9 text that is an integer is one, and until version 5 floats are truncated (room version 1,
    "Deprecated event content schemas").
    """
    kind = type(value)
    if kind is int:
        return int(value)
    if version.integer_power_levels:
        return None
    if kind is str and _LEVEL_TEXT.match(value) is not None:
        return int(value)
    if kind is float and version.float_power_levels and math.isfinite(value):
        return int(value)
    return None


def read_levels(value: Any, version: RoomVersion) -> dict[str, int]:
    """Levels by key, those that cannot be read left out; nothing for what is no object."""
    if not isinstance(value, dict):
        return {}
    levels = {}
    for key, item in value.items():
        level = read_level(item, version)
        if level is not None:
            levels[key] = level
    return levels


def _level_or(content: Mapping[str, Any], key: str, default: int, version: RoomVersion) -> int:
    level = read_level(content.get(key), version)
    return default if level is None else level
