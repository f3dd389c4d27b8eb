"""What a process does for the server; one that has all roles needs no other."""

from enum import StrEnum
from typing import Final


class Role(StrEnum):
    """One part of the work, which may be given to some of the processes.

    The first three answer requests, on listeners that have the resource. What remains are queues: destinations, push
    gateways, bridges and periodic work are shared among the processes that have the role.
    """

    CLIENTS = "clients"
    FEDERATION = "federation"
    """Answers other servers, and works through what they send."""
    MEDIA = "media"
    EVENTS = "events"
    """Appends events for its neighbours, too: the appends of one room go to one process."""
    SENDING = "sending"
    PUSHING = "pushing"
    BRIDGES = "bridges"
    BACKGROUND = "background"


ALL_ROLES: Final = frozenset(Role)
