"""Registration with the server's shared secret."""

from ranvier.accounts.shared_secret import SharedSecretRegistration
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.protocol.identifiers import server_name_of


@endpoint("GET", "/_synapse/admin/v1/register", access="open", rate_limit="other")
async def give_registration_nonce(request: Request, registration: SharedSecretRegistration) -> Answer:
    """Give a nonce for one registration."""
    return {"nonce": await registration.give_nonce()}


@endpoint("POST", "/_synapse/admin/v1/register", access="open", rate_limit="other")
async def register_with_shared_secret(request: Request, registration: SharedSecretRegistration) -> Answer:
    """Make an account."""
    user_id, session = await registration.register(request.json())
    if session is None:
        return {"user_id": user_id, "home_server": server_name_of(user_id)}
    return session.to_json()
