"""Refreshing access tokens."""

import msgspec

from ranvier.accounts.logins import Logins
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request


class _Refresh(msgspec.Struct):
    refresh_token: str


@endpoint("POST", "/_matrix/client/v3/refresh", access="open", rate_limit="other")
async def refresh(request: Request, logins: Logins) -> Answer:
    """Give new tokens for a refresh token."""
    session = (await logins.refresh(request.read(_Refresh).refresh_token)).to_json()
    return {key: session[key] for key in ("access_token", "refresh_token", "expires_in_ms") if key in session}
