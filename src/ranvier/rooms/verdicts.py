"""What an event of a room means to a user, by their push rules."""

from ranvier.protocol.events import Event
from ranvier.protocol.power_levels import power_levels_of
from ranvier.protocol.push_conditions import PushFacts
from ranvier.protocol.push_evaluation import SILENCE, Verdict
from ranvier.rooms.heads import MEMBER, Head, Heads, Room
from ranvier.rooms.preferences import Preference, Preferences


def facts_of(room: Room, head: Head, event: Event) -> PushFacts:
    """What push rules may ask of the event, in the room as the head has it; members must have been counted."""
    create, levels = head.get("m.room.create"), head.get("m.room.power_levels")

    def may_notify(key: str) -> bool:
        if create is None:
            return False
        power = power_levels_of(create.event, levels.event if levels is not None else None)
        return power.of_user(event.sender) >= power.notifications(key)

    return PushFacts(event, (room.counts or {}).get("join", 0), may_notify)


def verdict_of(facts: PushFacts, user_id: str, preference: Preference, head: Head) -> Verdict:
    """Whether and how the event notifies a user, who must have been faulted in where rules want their name."""
    if facts.event.sender in preference.ignored:
        return SILENCE
    name = None
    if preference.rule_set.needs_display_name:
        member = head.state.get((MEMBER, user_id))
        shown = member.event.content.get("displayname") if member is not None else None
        name = shown if isinstance(shown, str) else None
    return preference.rule_set.evaluate(facts, user_id, name)


class Verdicts:
    """Asks push rules about events that are in the store already, in their rooms as they are now."""

    def __init__(self, heads: Heads, preferences: Preferences) -> None:
        self._heads = heads
        self._preferences = preferences

    async def of(self, user_id: str, event: Event) -> tuple[Room, Verdict] | None:
        """The event's room and what the event means to a user; None if the room is not there. Own events are silent."""
        room = self._heads.at_hand(event.room_id) or await self._heads.get(event.room_id)
        if room is None:
            return None
        if event.sender == user_id:
            return room, SILENCE
        await self._heads.counts(room)
        head = await self._heads.fault_in(room, [user_id])
        preference = await self._preferences.of(user_id)
        return room, verdict_of(facts_of(room, head, event), user_id, preference, head)
