"""Pagination tokens: places in a room's history, between two events.

History is ordered by depth, then by arrival. A token names an event and means the place before it.
"""

import re
from typing import Final, NamedTuple

from ranvier.protocol.refusal import invalid_param
from ranvier.store.events import StoredEvent

_FORM = re.compile(r"t([0-9]{1,19})-([0-9]{1,19})\Z")
_GREATEST: Final = 2**63 - 1


class Place(NamedTuple):
    """The place just before the event of this depth and number."""

    depth: int
    nid: int

    def __str__(self) -> str:
        return f"t{self.depth}-{self.nid}"


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
    depth, nid = (int(form[1]), int(form[2])) if form is not None else (_GREATEST + 1, 0)
    if depth > _GREATEST or nid > _GREATEST:
        raise invalid_param("This is no pagination token of this server.")
    return Place(depth, nid)
