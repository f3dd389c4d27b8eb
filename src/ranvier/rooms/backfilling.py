"""Older events into a room's history: they get no position in the log, and change nothing that is now.

Source: Server-Server API, "Backfilling and retrieving missing events".
"""

from collections.abc import Mapping, Sequence

from ranvier.protocol.events import Event
from ranvier.rooms.heads import Room
from ranvier.store.events import Judgement


class Backfilling:
    """Fills gaps of the past."""

    async def needs_state(self, room: Room, events: Sequence[Event]) -> list[str]:
        """Those of the events (ids) before which neither we nor these events know the state.

        Their state is to be asked for (`/state_ids`) and given to `backfill`.
        """
        raise NotImplementedError

    async def backfill(
        self, room: Room, events: Sequence[Event], states: Mapping[str, Sequence[Event]]
    ) -> dict[str, Judgement]:
        """Put events into the history, whatever their order; answers the judgement of each by id.

        `states` is the whole state before events, by their ids, where that is known from peers alone. An event
        before which no state is known is not kept, and left out of the answer.
        """
        raise NotImplementedError
