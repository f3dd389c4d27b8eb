"""What the requester may do on this server."""

from ranvier.accounts.discovery import Capabilities
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request


@endpoint("GET", "/_matrix/client/v3/capabilities", rate_limit="other")
async def get_capabilities(request: Request, capabilities: Capabilities) -> Answer:
    """Tell the capabilities."""
    return {"capabilities": capabilities.of(request.requester)}
