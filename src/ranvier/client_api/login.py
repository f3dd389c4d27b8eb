"""Login with a password or a token."""

from typing import Any

import msgspec

from ranvier.accounts.discovery import Discovery
from ranvier.accounts.logins import Logins
from ranvier.accounts.sessions import Wish
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.protocol.refusal import Refusal


class _Login(msgspec.Struct):
    type: str
    identifier: dict[str, Any] | None = None
    user: str | None = None
    medium: str | None = None
    address: str | None = None
    password: str | None = None
    token: str | None = None
    device_id: str | None = None
    initial_device_display_name: str | None = None
    refresh_token: bool = False

    def who(self) -> dict[str, Any]:
        """The identifier, also where it stands in one of its older places."""
        if self.identifier is not None:
            if "type" not in self.identifier and "medium" in self.identifier:
                return {**self.identifier, "type": "m.id.thirdparty"}
            return self.identifier
        if self.medium is not None and self.address is not None:
            return {"type": "m.id.thirdparty", "medium": self.medium, "address": self.address}
        if self.user is not None:
            return {"type": "m.id.user", "user": self.user}
        raise Refusal("M_MISSING_PARAM", "The body lacks 'identifier'.")


@endpoint("GET", "/_matrix/client/v3/login", access="open", rate_limit="other")
async def get_login_flows(request: Request, logins: Logins) -> Answer:
    """Tell the ways to log in."""
    return {"flows": logins.flows()}


@endpoint("POST", "/_matrix/client/v3/login", access="open", rate_limit="login_address")
async def login(request: Request, logins: Logins, discovery: Discovery) -> Answer:
    """Log in."""
    asked = request.read(_Login)
    wish = Wish(
        asked.device_id,
        asked.initial_device_display_name,
        asked.refresh_token,
        request.client_address,
        request.header(b"user-agent"),
    )
    if asked.type == "m.login.password":
        if asked.password is None:
            raise Refusal("M_MISSING_PARAM", "The body lacks 'password'.")
        session = await logins.with_password(asked.who(), asked.password, wish)
    elif asked.type == "m.login.token":
        if asked.token is None:
            raise Refusal("M_MISSING_PARAM", "The body lacks 'token'.")
        session = await logins.with_token(asked.token, wish)
    else:
        raise Refusal("M_UNKNOWN", "This server has no such type of login; see GET /login.")
    answer = session.to_json()
    document = discovery.client_document()
    return answer if document is None else {**answer, "well_known": document}
