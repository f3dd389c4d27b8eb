"""What a client asks of sync."""

from dataclasses import dataclass

from ranvier.protocol.filters import NO_FILTER, Filter
from ranvier.sync.tokens import SyncToken


@dataclass(slots=True)
class SyncRequest:
    """One request: whose, since when, and what of it. `timeout` is in milliseconds."""

    user_id: str
    device_id: str | None
    since: SyncToken | None = None
    filter: Filter = NO_FILTER
    full_state: bool = False
    use_state_after: bool = False
    timeout: int = 0
