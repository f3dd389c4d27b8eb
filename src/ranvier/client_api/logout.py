"""Logging out."""

from ranvier.accounts.logins import Logins
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request


@endpoint("POST", "/_matrix/client/v3/logout", locked_ok=True)
async def logout(request: Request, logins: Logins) -> Answer:
    """End this login."""
    await logins.log_out(request.requester)
    return {}


@endpoint("POST", "/_matrix/client/v3/logout/all", locked_ok=True)
async def logout_all(request: Request, logins: Logins) -> Answer:
    """End all logins of the user."""
    await logins.log_out_everywhere(request.requester.user_id)
    return {}
