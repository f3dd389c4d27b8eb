"""Tokens with which users prove to others who they are."""

from ranvier.accounts.openid import LIFETIME_S, OpenIdTokens
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.protocol.identifiers import server_name_of


@endpoint("POST", "/_matrix/client/v3/user/{userId}/openid/request_token", rate_limit="other")
async def request_open_id_token(request: Request, tokens: OpenIdTokens) -> Answer:
    """Give an OpenID token."""
    requester = request.requester
    requester.check_is(request.parameters["userId"])
    return {
        "access_token": await tokens.create(requester.user_id),
        "token_type": "Bearer",
        "matrix_server_name": server_name_of(requester.user_id),
        "expires_in": LIFETIME_S,
    }
