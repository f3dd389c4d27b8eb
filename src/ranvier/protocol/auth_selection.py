"""Which state authorises an event, and whether its auth events are such (server-server API, "Auth events
selection"; room versions, the authorisation rule on `auth_events`)."""

from collections.abc import Container, Mapping
from typing import Any

from ranvier.protocol.auth_failure import AuthFailure
from ranvier.protocol.events import MAX_FIELD_BYTES, Event, exceeded_limit
from ranvier.protocol.room_versions import RoomVersion


def auth_types(
    version: RoomVersion, type: str, sender: str, state_key: str | None, content: Mapping[str, Any]
) -> list[tuple[str, str]]:
    """Type and state key of the state that an event's auth_events are picked from, as far as it exists."""
    if type == "m.room.create":
        return []
    keys = [("m.room.power_levels", ""), ("m.room.member", sender)]
    if version.create_is_auth_event:
        keys.append(("m.room.create", ""))
    if type == "m.room.member" and state_key is not None:
        if state_key != sender:
            keys.append(("m.room.member", state_key))
        _add_membership_types(keys, version, content)
    return keys


def check_auth_events(
    event: Event, auth_events: Mapping[str, Event], rejected: Container[str] = frozenset()
) -> AuthFailure | None:
    """The rules on the auth events themselves: rule 3 of version 12, rule 2 before; and limits of size, which no
    state can make good: their failure has the number 0.

    `auth_events` holds them by ID, and `rejected` the IDs of those that were rejected when they came in. An
    auth event that is in neither is a failure: it must be fetched first.
    """
    too_long = exceeded_limit(event)
    if too_long is not None:
        return AuthFailure("0", f"{too_long} is longer than {MAX_FIELD_BYTES} bytes.")
    if event.type == "m.room.create":
        # 1: a create event is allowed or rejected before its auth events are considered.
        return None
    version = event.room_version
    rule = version.rules.auth_events
    selected = set(auth_types(version, event.type, event.sender, event.state_key, event.content))
    seen: set[tuple[str, str]] = set()
    for event_id in event.auth_events:
        if event_id in rejected:
            # 3.3
            return AuthFailure(f"{rule}.3", f"The auth event {event_id} was rejected.")
        auth_event = auth_events.get(event_id)
        if auth_event is None:
            return AuthFailure(str(rule), f"The auth event {event_id} is not known.")
        if auth_event.state_key is None:
            # 3.2
            return AuthFailure(f"{rule}.2", f"The auth event {event_id} is not a state event.")
        key = (auth_event.type, auth_event.state_key)
        if key in seen:
            # 3.1
            return AuthFailure(f"{rule}.1", f"Two auth events are of type {key[0]} and the same state key.")
        seen.add(key)
        if key not in selected:
            # 3.2
            return AuthFailure(
                f"{rule}.2", f"No event of type {key[0]} with this state key authorises this one."
            )
        if auth_event.room_id != event.room_id:
            # 3.5
            return AuthFailure(f"{rule}.5", f"The auth event {event_id} is of another room.")
    if version.create_is_auth_event and ("m.room.create", "") not in seen:
        # Before version 12: 2.4
        return AuthFailure(f"{rule}.4", "The auth events lack the create event.")
    return None


def _add_membership_types(
    keys: list[tuple[str, str]], version: RoomVersion, content: Mapping[str, Any]
) -> None:
    membership = content.get("membership")
    if membership in ("join", "invite", "knock"):
        keys.append(("m.room.join_rules", ""))
    if membership == "invite":
        token = third_party_token(content)
        if token is not None:
            keys.append(("m.room.third_party_invite", token))
    if membership == "join" and version.restricted_joins:
        authoriser = content.get("join_authorised_via_users_server")
        if isinstance(authoriser, str) and ("m.room.member", authoriser) not in keys:
            keys.append(("m.room.member", authoriser))


def third_party_token(content: Mapping[str, Any]) -> str | None:
    """`third_party_invite.signed.token` of a membership's content, if it is there and text."""
    invite = content.get("third_party_invite")
    signed = invite.get("signed") if isinstance(invite, dict) else None
    token = signed.get("token") if isinstance(signed, dict) else None
    return token if isinstance(token, str) else None
