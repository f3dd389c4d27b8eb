"""Whether a redaction that its room accepts takes effect on the event that it names.

Source: room version 3, "Handling redactions"; before it, the authorisation rule on redactions, which is the
same but for whose server counts.
"""

from ranvier.protocol.events import Event
from ranvier.protocol.identifiers import server_name_of
from ranvier.protocol.power_levels import PowerLevels


def takes_effect(redaction: Event, target: Event, levels: PowerLevels) -> bool:
    """Whether the redaction redacts the target, given the power levels before the redaction.

    To be asked once both events are there and accepted, in whichever order they came; until then, and if the
    answer is no, clients do not get the redaction.
    """
    if redaction.type != "m.room.redaction" or redaction.redacts != target.event_id:
        return False
    if redaction.room_id != target.room_id:
        return False
    if levels.of_user(redaction.sender) >= levels.redact:
        return True
    if redaction.room_version.redaction_rule:
        return server_name_of(redaction.event_id) == server_name_of(target.event_id)
    return server_name_of(redaction.sender) == server_name_of(target.sender)
