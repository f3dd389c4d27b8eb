"""Unread counts: how many events since a user's last word or receipt would notify them, by room and thread.

Nothing is written per member. A room has a running counter for each thread and one for the main timeline; what a user
has not read is a difference between the counter now and where their read position stands.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ranvier.rooms.heads import Head, Room, TimelineItem
from ranvier.store.database import Transaction


@dataclass(frozen=True, slots=True)
class Counted:
    """What one event does to the counters."""

    room: int
    version: int


class Unread:
    """Counts events when they are appended."""

    async def gather(self, room: Room, senders: Sequence[str]) -> None:
        """What counting needs, into memory."""

    def count(self, room: Room, head: Head, item: TimelineItem) -> Counted | None:
        """What the event does to the counters; on the loop, without I/O."""
        return None

    async def write(self, transaction: Transaction, counted: Sequence[Counted]) -> None:
        """Write the counters of a batch."""

    def settle(self, room: Room, counted: Sequence[Counted]) -> None:
        """After the commit."""
