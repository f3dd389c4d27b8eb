"""Presence: whether users are there, and what peers tell of theirs.

Source: Client-Server API, "Presence"; Server-Server API, "Presence".
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from ranvier.protocol.identifiers import BadIdentifier, parse_user_id

ONLINE: Final = "online"
UNAVAILABLE: Final = "unavailable"
OFFLINE: Final = "offline"
STATES: Final = (ONLINE, UNAVAILABLE, OFFLINE)
"""The strongest first: a user with several devices is what the strongest of these says."""
MAX_STATUS: Final = 1024
"""Characters of a status message."""
MAX_UPDATES: Final = 1000
"""Users in one EDU that are read."""
_LONGEST_AGO: Final = 10 * 365 * 24 * 3_600_000


@dataclass(frozen=True, slots=True)
class PresenceTimes:
    """Milliseconds without an activity until a user is idle, until `currently_active` ends, and without a device
    until they are offline."""

    idle: int = 300_000
    active: int = 60_000
    gone: int = 30_000


class Presence(NamedTuple):
    """What is shown of a user, beside when they were last active."""

    state: str = OFFLINE
    status_msg: str | None = None
    currently_active: bool = False

    def content(self, last_active_ago: int | None) -> dict[str, Any]:
        """The content of `m.presence`; milliseconds since the user's last activity, None if that is not known."""
        content: dict[str, Any] = {"presence": self.state}
        if last_active_ago is not None:
            content["last_active_ago"] = last_active_ago
        if self.status_msg is not None:
            content["status_msg"] = self.status_msg
        if self.state == ONLINE:
            content["currently_active"] = self.currently_active
        return content


class Verdict(NamedTuple):
    """What devices and activity make of a user, and when (ms since the epoch) that changes by itself, if ever."""

    state: str
    currently_active: bool
    until: int | None


def decide(
    devices: Iterable[tuple[str, int | None]], last_active: int, now: int, times: PresenceTimes
) -> Verdict:
    """What a user is whose devices say this, each up to a time (None: without end). Times are ms since the epoch."""
    said = [(state, until) for state, until in devices if until is None or until > now]
    state = next((state for state in STATES if any(one == state for one, _ in said)), OFFLINE)
    ends = [until for _, until in said if until is not None]
    active = False
    if state == ONLINE:
        if last_active + times.idle <= now:
            state = UNAVAILABLE
        else:
            ends.append(last_active + times.idle)
            active = last_active + times.active > now
            if active:
                ends.append(last_active + times.active)
    return Verdict(state, active, min(ends, default=None))


class PeerUpdate(NamedTuple):
    """What a peer says of one of its users."""

    user_id: str
    presence: Presence
    last_active_ago: int


def read_updates(content: Mapping[str, Any], origin: str) -> list[PeerUpdate]:
    """What an `m.presence` EDU says of users of the server that sent it; all else in it is left out."""
    push = content.get("push")
    found = [_read_update(one, origin) for one in push[:MAX_UPDATES]] if isinstance(push, list) else []
    return [update for update in found if update is not None]


def _read_update(said: Any, origin: str) -> PeerUpdate | None:
    if not isinstance(said, dict) or said.get("presence") not in STATES:
        return None
    user_id, status, ago = said.get("user_id"), said.get("status_msg"), said.get("last_active_ago")
    if not isinstance(user_id, str) or not _is_of(user_id, origin):
        return None
    if isinstance(ago, bool) or not isinstance(ago, int):
        return None
    status = status[:MAX_STATUS] if isinstance(status, str) and "\0" not in status else None
    presence = Presence(said["presence"], status or None, said.get("currently_active") is True)
    return PeerUpdate(user_id, presence, min(max(ago, 0), _LONGEST_AGO))


def _is_of(user_id: str, server_name: str) -> bool:
    try:
        return parse_user_id(user_id)[1] == server_name
    except BadIdentifier:
        return False


def update_json(updates: Sequence[PeerUpdate]) -> dict[str, Any]:
    """The content of the `m.presence` EDU that says this."""
    return {
        "push": [
            {"user_id": update.user_id, **update.presence.content(update.last_active_ago)}
            for update in updates
        ]
    }
