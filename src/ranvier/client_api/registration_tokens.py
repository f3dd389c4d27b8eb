"""Registration tokens, for those who have one."""

from ranvier.accounts.registration import Registration
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request


@endpoint(
    "GET",
    "/_matrix/client/v1/register/m.login.registration_token/validity",
    access="open",
    rate_limit="registration_token_validity",
)
async def registration_token_validity(request: Request, registration: Registration) -> Answer:
    """Tell whether a registration token can be used."""
    return {"valid": await registration.token_is_valid(request.query_required("token"))}
