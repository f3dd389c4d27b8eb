"""State resolution over the store: the states where branches of a room meet become one.

`protocol.state_resolution` decides; this fetches what it asks for, and only that: states are compared by what changed
since they parted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ranvier.rooms.heads import Room
from ranvier.store.state import Key, Root


@dataclass(frozen=True, slots=True)
class Resolved:
    """The resolved state: that at `base`, one of the roots that were resolved, with these changes (None: gone).

    The changes are events' numbers.
    """

    base: Root
    changes: Mapping[Key, int | None] = field(default_factory=dict)


class Resolving:
    """Resolves states of a room."""

    async def resolve(self, room: Room, roots: Sequence[Root], *, base: Root | None = None) -> Resolved:
        """One state out of those at the roots, told as changes of `base` if that is among them."""
        raise NotImplementedError
