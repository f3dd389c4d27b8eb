"""Registration tokens, for administrators."""

from typing import Any

import msgspec

from ranvier.accounts.registration_tokens import RegistrationTokens
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.protocol.refusal import bad_json
from ranvier.store.registration_tokens import RegistrationToken

_TOKENS = "/_synapse/admin/v1/registration_tokens"


class _New(msgspec.Struct):
    token: str | None = None
    length: int | None = None
    uses_allowed: int | None = None
    expiry_time: int | None = None


@endpoint("GET", _TOKENS)
async def list_registration_tokens(request: Request, tokens: RegistrationTokens) -> Answer:
    """Give all tokens, or those that are (or are not) still valid."""
    request.requester.check_admin()
    usable = request.query_bool("valid") if request.query("valid") is not None else None
    return {"registration_tokens": [_shape(token) for token in await tokens.all(usable)]}


@endpoint("POST", _TOKENS + "/new")
async def create_registration_token(request: Request, tokens: RegistrationTokens) -> Answer:
    """Make a token."""
    request.requester.check_admin()
    new = request.read(_New, optional=True)
    return _shape(await tokens.create(new.token, new.length, new.uses_allowed, new.expiry_time))


@endpoint("GET", _TOKENS + "/{token}")
async def get_registration_token(request: Request, tokens: RegistrationTokens) -> Answer:
    """Give one token."""
    request.requester.check_admin()
    return _shape(await tokens.find(request.parameters["token"]))


@endpoint("PUT", _TOKENS + "/{token}")
async def change_registration_token(request: Request, tokens: RegistrationTokens) -> Answer:
    """Change a token's limits; what the body does not name stays."""
    request.requester.check_admin()
    body = request.json()
    limits: dict[str, int | None] = {}
    for name, column in (("uses_allowed", "uses_allowed"), ("expiry_time", "expiry_ts")):
        if name in body:
            value = body[name]
            if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
                raise bad_json(f"'{name}' must be a whole number, or null.")
            limits[column] = value
    return _shape(await tokens.change(request.parameters["token"], limits))


@endpoint("DELETE", _TOKENS + "/{token}")
async def delete_registration_token(request: Request, tokens: RegistrationTokens) -> Answer:
    """Take a token back."""
    request.requester.check_admin()
    await tokens.remove(request.parameters["token"])
    return {}


def _shape(token: RegistrationToken) -> dict[str, Any]:
    return {
        "token": token.token,
        "uses_allowed": token.uses_allowed,
        "pending": token.pending,
        "completed": token.completed,
        "expiry_time": token.expiry_ts,
    }
