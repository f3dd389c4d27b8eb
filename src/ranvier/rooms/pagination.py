"""Pagination tokens: places in a room's history, between two events.

History is ordered by depth, then by arrival. A token names an event and means the place before it.

What branches bring may have arrived late and lie far back. So a place can leave out what came into the live timeline
after one of its versions: then who has a timeline, and reads on from where it begins, gets all that it lacks, and once.
"""

import re
from typing import Final, NamedTuple

from ranvier.protocol.refusal import invalid_param
from ranvier.store.events import StoredEvent

_FORM = re.compile(r"t([0-9]{1,19})-([0-9]{1,19})(?:-([0-9]{1,19}))?\Z")
_GREATEST: Final = 2**63 - 1


class Place(NamedTuple):
    """The place just before the event of this depth and number.

    Unless 0, `until` is the version of the live timeline after which what came is left out.
    """

    depth: int
    nid: int
    until: int = 0

    def __str__(self) -> str:
        return f"t{self.depth}-{self.nid}" + (f"-{self.until}" if self.until else "")

    @property
    def at(self) -> tuple[int, int]:
        """Depth and number."""
        return self.depth, self.nid

    def has(self, kept: StoredEvent) -> bool:
        """Whether the event is not left out."""
        return not self.until or kept.timeline_version <= self.until


START: Final = Place(0, 0)
"""Before all events."""
END: Final = Place(_GREATEST, _GREATEST)
"""After all events."""


def place_before(kept: StoredEvent) -> Place:
    """The place before an event."""
    return Place(kept.event.depth, kept.nid)


def place_after(kept: StoredEvent) -> Place:
    """The place after an event."""
    return Place(kept.event.depth, kept.nid + 1)


def token_of(kept: StoredEvent) -> str:
    """The token that means "before this event": what comes before it is what one gets from there backwards."""
    return str(place_before(kept))


def parse(token: str) -> Place:
    """The place of its token; refuses what never was one."""
    form = _FORM.match(token)
    place = Place(*(int(part or 0) for part in form.groups())) if form is not None else None
    if place is None or max(place) > _GREATEST:
        raise invalid_param("This is no pagination token of this server.")
    return place
