"""Changing one's password."""

from typing import Any

from ranvier.accounts.interactive_auth import InteractiveAuth
from ranvier.accounts.password_change import PasswordChange
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.protocol.refusal import Refusal, bad_json


@endpoint("POST", "/_matrix/client/v3/account/password", access="optional token", rate_limit="other")
async def change_password(
    request: Request, password_change: PasswordChange, authentication: InteractiveAuth
) -> Answer:
    """Set another password, once the user confirmed it with the old one."""
    body = request.json()
    if "new_password" in body or "auth" not in body:
        password_change.check(_new_password(body))
    requester = request.requester_or_none
    user_id, confirmed = await authentication.confirm_anybody(requester, "POST /account/password", body)
    log_out = confirmed.get("logout_devices", True)
    if not isinstance(log_out, bool):
        raise bad_json("'logout_devices' must be true or false.")
    await password_change.change(user_id, _new_password(confirmed), log_out=log_out, kept=requester)
    return {}


def _new_password(body: dict[str, Any]) -> str:
    password = body.get("new_password")
    if password is None:
        raise Refusal("M_MISSING_PARAM", "The body lacks 'new_password'.")
    if not isinstance(password, str):
        raise bad_json("'new_password' must be a string.")
    return password
