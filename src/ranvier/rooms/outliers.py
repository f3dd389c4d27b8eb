"""Events that are known by themselves: without their place in the room, and without the state before them.

State that a peer tells of is such events, and so are auth chains. Source: Server-Server API, "PDUs", "Rejection".
"""

from collections.abc import Sequence

from ranvier.protocol.events import Event
from ranvier.protocol.room_versions import RoomVersion
from ranvier.store.events import Judgement


class Outliers:
    """Keeps events that are authorised by their own auth events alone."""

    async def keep(self, version: RoomVersion, room_id: str, events: Sequence[Event]) -> dict[str, Judgement]:
        """Judge and keep the events, whatever their order; answers the judgement of each by id.

        Known events answer what stands. An event is rejected if its auth events forbid it or were rejected; one
        whose auth events are neither known nor among these is not kept, and left out of the answer.
        """
        raise NotImplementedError
