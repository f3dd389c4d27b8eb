"""What is asked of the membership events that servers hand each other outside transactions.

Their format, signatures and hashes are checked first, as of every event. Source: server-server API,
`send_join`, `send_leave`, `send_knock`, `invite` (v1.18) and its `invite_room_state` (v1.16).
"""

from collections.abc import Iterable
from typing import Any

from ranvier.protocol import events
from ranvier.protocol.events import BadEvent, Event
from ranvier.protocol.identifiers import server_name_of
from ranvier.protocol.refusal import invalid_param
from ranvier.protocol.room_versions import RoomVersion


def check_handed_in(event: Event, membership: str, *, room_id: str, origin: str) -> None:
    """The event of `send_join`, `send_leave` or `send_knock`. Raises Refusal (M_INVALID_PARAM)."""
    _check_membership(event, membership, room_id, origin)
    if event.state_key != event.sender:
        raise invalid_param("The state_key must be the sender.")


def check_invite(event: Event, *, room_id: str, origin: str, server_name: str) -> None:
    """The event of `invite`, to a user of `server_name`. Raises Refusal (M_INVALID_PARAM)."""
    _check_membership(event, "invite", room_id, origin)
    invited = event.state_key or ""
    if invited[:1] != "@" or invited.partition(":")[2] != server_name:
        raise invalid_param(f"The state_key must be a user of {server_name}.")


def read_invite_state(pdus: Any, version: RoomVersion, room_id: str) -> list[Event]:
    """The state that goes with an invite, as the room's events; their signatures are still to be checked.

    Raises Refusal (M_INVALID_PARAM), which rooms before version 12 may take for a warning: they send stripped
    state there.
    """
    if not isinstance(pdus, list):
        raise invalid_param("The room's state must be an array of events.")
    found = []
    for pdu in pdus:
        try:
            event = events.parse(pdu, version)
        except BadEvent as error:
            raise invalid_param(
                f"The room's state holds what is no event of the room's version: {error}"
            ) from None
        if event.room_id != room_id:
            raise invalid_param("The room's state holds an event of another room.")
        if event.state_key is None:
            raise invalid_param("The room's state holds an event that is no state.")
        found.append(event)
    check_create_among(found)
    return found


def check_create_among(state: Iterable[Event]) -> None:
    """Raises Refusal (M_INVALID_PARAM) unless the room's create event is there."""
    if not any(event.type == "m.room.create" and event.state_key == "" for event in state):
        raise invalid_param("The room's state lacks the create event.")


def _check_membership(event: Event, membership: str, room_id: str, origin: str) -> None:
    if event.type != "m.room.member" or event.content.get("membership") != membership:
        raise invalid_param(f"This is no m.room.member event of membership {membership}.")
    if event.room_id != room_id:
        raise invalid_param("The event is of another room.")
    if server_name_of(event.sender) != origin:
        raise invalid_param(f"The sender must be a user of {origin}.")
