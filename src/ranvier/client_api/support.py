"""Whom to turn to with questions about this server."""

from ranvier.accounts.discovery import Discovery
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.protocol.refusal import not_found


@endpoint("GET", "/.well-known/matrix/support", access="open")
async def get_wellknown_support(request: Request, discovery: Discovery) -> Answer:
    """Tell contacts and the page for support."""
    if not discovery.support:
        raise not_found("No contacts are configured for this server.")
    return dict(discovery.support)
