"""Tokens with which one client logs in another of the same user."""

from ranvier.accounts.interactive_auth import InteractiveAuth
from ranvier.accounts.logins import Logins
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request


@endpoint("POST", "/_matrix/client/v1/login/get_token", rate_limit="other")
async def generate_login_token(request: Request, logins: Logins, authentication: InteractiveAuth) -> Answer:
    """Give a login token."""
    logins.check_tokens()
    if logins.rules.token_needs_password:
        body = request.json_or_empty()
        await authentication.confirm(request.requester, "POST /login/get_token", body, always=True)
    token, life = await logins.create_token(request.requester)
    return {"login_token": token, "expires_in_ms": life}
