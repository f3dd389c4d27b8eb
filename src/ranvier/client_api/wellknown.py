"""Where clients reach this server."""

from ranvier.accounts.discovery import Discovery
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.protocol.refusal import not_found


@endpoint("GET", "/.well-known/matrix/client", access="open")
async def get_wellknown(request: Request, discovery: Discovery) -> Answer:
    """Tell the address."""
    document = discovery.client_document()
    if document is None:
        raise not_found("This server does not know its public address: public_baseurl is not configured.")
    return document
