"""What goes into the next transaction of a destination that is behind."""

from dataclasses import dataclass, field
from typing import Final

from ranvier.rooms.receipts import Receipt
from ranvier.store.events import StoredEvent
from ranvier.store.sending import Lag

PDUS: Final = 50
"""Events of one transaction at most (server-server API, "Transactions")."""
RECEIPTS: Final = 200


@dataclass(slots=True)
class Portion:
    """Events and receipts, and how far the destination is once it has them."""

    lag: Lag
    pdus: list[StoredEvent] = field(default_factory=list)
    receipts: dict[tuple[str, str, str | None], Receipt] = field(default_factory=dict)

    @property
    def is_full(self) -> bool:
        """Whether it takes no more."""
        return len(self.pdus) >= PDUS or len(self.receipts) >= RECEIPTS

    def add_receipt(self, room_id: str, receipt: Receipt) -> None:
        """Take in a receipt."""
        self.receipts[room_id, receipt.user_id, receipt.thread] = receipt
