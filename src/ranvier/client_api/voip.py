"""Calls."""

from ranvier.accounts.calls import Relays
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request


@endpoint("GET", "/_matrix/client/v3/voip/turnServer", rate_limit="other")
async def get_turn_server(request: Request, relays: Relays) -> Answer:
    """Relays for calls, with credentials."""
    return relays.credentials(request.requester)
