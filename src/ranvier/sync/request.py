"""What a client asks of sync."""

from dataclasses import dataclass

from ranvier.protocol.filters import NO_FILTER, Filter
from ranvier.protocol.presence import ONLINE
from ranvier.sync.tokens import SyncToken


@dataclass(slots=True)
class SyncRequest:
    """One request: whose, since when, and what of it. `timeout` is in milliseconds.

    `presence` is what the client says of its user by this; "offline": nothing.
    """

    user_id: str
    device_id: str | None
    since: SyncToken | None = None
    filter: Filter = NO_FILTER
    full_state: bool = False
    use_state_after: bool = False
    timeout: int = 0
    presence: str = ONLINE
