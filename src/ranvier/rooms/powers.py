"""What users have the power to do in a room as it is."""

from ranvier.protocol.power_levels import PowerLevels, power_levels_of
from ranvier.rooms.heads import Head


def powers_of(head: Head) -> PowerLevels:
    """The room's power levels."""
    create, levels = head.get("m.room.create"), head.get("m.room.power_levels")
    if create is None:
        raise LookupError("a room without a create event")
    return power_levels_of(create.event, levels.event if levels is not None else None)


def may_send_state(head: Head, user_id: str, kind: str) -> bool:
    """Whether a member's power suffices for state events of a type."""
    powers = powers_of(head)
    return powers.of_user(user_id) >= powers.for_event(kind, True)
