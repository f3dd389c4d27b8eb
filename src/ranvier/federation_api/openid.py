"""Who an OpenID token stands for: asked by third parties, without a signature."""

from ranvier.accounts.openid import OpenIdTokens
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request


@endpoint("GET", "/_matrix/federation/v1/openid/userinfo", access="open")
async def exchange_open_id_token(request: Request, tokens: OpenIdTokens) -> Answer:
    """Tell the user of a token."""
    return {"sub": await tokens.owner(request.query_required("access_token"))}
