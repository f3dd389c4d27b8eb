"""Account registration."""

from typing import Any

from ranvier.accounts.registration import Registration
from ranvier.accounts.sessions import Wish
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.limits import Limits, address_key
from ranvier.http.request import Request
from ranvier.protocol.identifiers import server_name_of
from ranvier.protocol.refusal import Refusal, forbidden, invalid_param


@endpoint("POST", "/_matrix/client/v3/register", access="open", rate_limit="other")
async def register(request: Request, registration: Registration, limits: Limits) -> Answer:
    """Register an account."""
    kind = request.query("kind") or "user"
    if kind == "guest":
        raise Refusal("M_GUEST_ACCESS_FORBIDDEN", "This server has no guest accounts.")
    if kind != "user":
        raise invalid_param("The kind of account must be 'user' or 'guest'.")
    body = request.json_or_empty()
    if body.get("type") == "m.login.application_service":
        raise forbidden("The token of no bridge came with this request.")
    # A registration takes several requests; only the one that makes the account counts.
    address = address_key(request.client_address)
    limits.check("registration", address)
    user_id, session = await registration.register(
        "POST /register",
        body,
        Wish(address=request.client_address, user_agent=request.header(b"user-agent")),
        lambda: limits.count("registration", address),
    )
    if session is not None:
        return session.to_json()
    answer: dict[str, Any] = {"user_id": user_id, "home_server": server_name_of(user_id)}
    return answer


@endpoint("GET", "/_matrix/client/v3/register/available", access="open", rate_limit="other")
async def check_username_availability(request: Request, registration: Registration) -> Answer:
    """Tell whether a name can be had."""
    return {"available": await registration.is_available(request.query_required("username"))}
