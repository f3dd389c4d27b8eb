"""The authorisation rules of all room versions (room versions, "Authorisation rules").

A rule applies where the room version has it; which those are, and their numbers, is data of the version.
Numbers in comments are those of room version 12 unless they say otherwise; verdicts quote the numbers of the
event's own version. The rules on memberships and on power levels have modules of their own.
"""

from collections.abc import Iterable
from typing import Any, Final

from ranvier.protocol.auth_failure import AuthFailure
from ranvier.protocol.auth_membership import State, check_membership, join_rule_of, membership_of
from ranvier.protocol.auth_power_levels import check_power_levels
from ranvier.protocol.auth_selection import auth_types, check_auth_events
from ranvier.protocol.events import Event
from ranvier.protocol.identifiers import BadIdentifier, check_user_id
from ranvier.protocol.owned_state import owner_of
from ranvier.protocol.power_levels import PowerLevels, power_levels_of
from ranvier.protocol.room_versions import ROOM_VERSIONS

__all__ = [
    "AuthFailure",
    "State",
    "as_state",
    "auth_types",
    "check",
    "check_auth_events",
    "join_rule_of",
    "membership_of",
]

_CREATE: Final = ("m.room.create", "")
_POWER_LEVELS: Final = ("m.room.power_levels", "")


def as_state(events: Iterable[Event]) -> dict[tuple[str, str], Event]:
    """State events by type and state key; what is no state event is left out.

    An event's auth events are a state to `check` against; where the room version keeps the create event out
    of them, it has to be among the events given here.
    """
    return {(event.type, event.state_key): event for event in events if event.state_key is not None}


def check(event: Event, state: State) -> AuthFailure | None:
    """Whether the state allows the event; None means yes.

    The state must hold what `auth_types` names, as far as it exists, and the create event in any case. It
    never raises for an event that `parse` or `build` made.
    """
    if event.type == "m.room.create":
        # 1
        return _check_create(event)
    version = event.room_version
    rules = version.rules
    create = state.get(_CREATE)
    if create is None:
        # 2; before version 12: 2.4
        rule = "2" if version.room_id_is_create_event_id else f"{rules.auth_events}.4"
        return AuthFailure(rule, "There is no create event in the room's state.")
    if version.room_id_is_create_event_id and create.event_id[1:] != event.room_id[1:]:
        # 2
        return AuthFailure("2", "The room ID is not that of the room's create event.")
    sender = event.sender
    if create.content.get("m.federate") is False and _domain(sender) != _domain(create.sender):
        # 4
        return AuthFailure(str(rules.federate), "The room is not open to other servers.")
    if version.aliases_rule and event.type == "m.room.aliases":
        # Versions 1 to 5: 4
        return _check_aliases(event)
    if event.type == "m.room.member":
        # 5
        return check_membership(event, state, create)
    if membership_of(state, sender) != "join":
        # 6
        return AuthFailure(str(rules.sender_membership), "The sender is not in the room.")
    power_levels = state.get(_POWER_LEVELS)
    levels = power_levels_of(create, power_levels)
    power = levels.of_user(sender)
    if event.type == "m.room.third_party_invite":
        # 7.1
        if power >= levels.invite:
            return None
        return AuthFailure(
            f"{rules.third_party_invite}.1", f"Inviting takes a power level of {levels.invite}."
        )
    state_key = event.state_key
    required = levels.for_event(event.type, state_key is not None)
    if required > power:
        # 8
        reason = f"Sending {event.type} takes a power level of {required}; the sender has {power}."
        return AuthFailure(str(rules.required_power), reason)
    if state_key is not None and state_key[:1] == "@" and state_key != sender:
        # 9
        failure = _check_owner(event, state_key, levels, power)
        if failure is not None:
            return failure
    if event.type == "m.room.power_levels":
        # 10
        return check_power_levels(event, power_levels, create, power)
    if version.redaction_rule and event.type == "m.room.redaction":
        # Versions 1 and 2: 11
        return _check_redaction(event, levels, power)
    # 11
    return None


def _check_owner(event: Event, state_key: str, levels: PowerLevels, power: int) -> AuthFailure | None:
    """A key that begins with @ is its owner's and, with owned state (MSC3757), that of those with more power."""
    version = event.room_version
    rule = str(version.rules.state_key)
    if not version.owned_state:
        return AuthFailure(rule, "A state key that begins with @ must be the sender.")
    owner = owner_of(state_key)
    if owner is None:
        return AuthFailure(
            rule, "A state key that begins with @ must begin with a user ID, alone or before _."
        )
    if owner == event.sender or power > levels.of_user(owner):
        return None
    return AuthFailure(rule, f"The state is {owner}'s: changing it takes more power than theirs.")


def _check_create(event: Event) -> AuthFailure | None:
    version = event.room_version
    content = event.content
    if event.prev_events:
        # 1.1
        return AuthFailure("1.1", "A create event comes first: it has no prev_events.")
    if version.room_id_is_create_event_id:
        if "room_id" in event.pdu:
            # 1.2
            return AuthFailure("1.2", "A create event has no room_id: its own ID is the room's.")
    elif _domain(event.room_id) != _domain(event.sender):
        # Before version 12: 1.2
        return AuthFailure("1.2", "The room ID is not of the sender's server.")
    if "room_version" in content and not _is_room_version(content["room_version"]):
        # 1.3
        return AuthFailure("1.3", "The room version is not known.")
    if version.create_names_creator and "creator" not in content:
        # Versions 1 to 10: 1.4
        return AuthFailure("1.4", "content has no creator.")
    if version.creators_have_infinite_power and "additional_creators" in content:
        # 1.4
        return _check_additional_creators(content["additional_creators"])
    # 1.5
    return None


def _is_room_version(value: Any) -> bool:
    return isinstance(value, str) and value in ROOM_VERSIONS


def _check_additional_creators(value: Any) -> AuthFailure | None:
    if not isinstance(value, list):
        return AuthFailure("1.4", "additional_creators must be an array of user IDs.")
    for user_id in value:
        if not isinstance(user_id, str):
            return AuthFailure("1.4", "additional_creators must hold user IDs.")
        try:
            check_user_id(user_id)
        except BadIdentifier as error:
            return AuthFailure("1.4", f"additional_creators must hold user IDs: {error}")
    return None


def _check_aliases(event: Event) -> AuthFailure | None:
    if event.state_key is None:
        # Versions 1 to 5: 4.1
        return AuthFailure("4.1", "m.room.aliases needs a state_key.")
    if _domain(event.sender) != event.state_key:
        # Versions 1 to 5: 4.2
        return AuthFailure("4.2", "The state key of m.room.aliases must be the sender's server.")
    # Versions 1 to 5: 4.3
    return None


def _check_redaction(event: Event, levels: PowerLevels, power: int) -> AuthFailure | None:
    rule = event.room_version.rules.redaction
    if power >= levels.redact:
        # Versions 1 and 2: 11.1
        return None
    redacted_at = _domain(event.redacts or "")
    if redacted_at and redacted_at == _domain(event.event_id):
        # Versions 1 and 2: 11.2
        return None
    # Versions 1 and 2: 11.3
    return AuthFailure(f"{rule}.3", f"Redacting others' events takes a power level of {levels.redact}.")


def _domain(identifier: str) -> str:
    return identifier.partition(":")[2]
