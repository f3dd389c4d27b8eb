"""Closing one's account."""

from ranvier.accounts.closing import Closing
from ranvier.accounts.interactive_auth import InteractiveAuth
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.protocol.refusal import bad_json


@endpoint("POST", "/_matrix/client/v3/account/deactivate", access="optional token", rate_limit="other")
async def deactivate_account(request: Request, closing: Closing, authentication: InteractiveAuth) -> Answer:
    """Deactivate the account, once the user confirmed it."""
    body = request.json_or_empty()
    user_id, confirmed = await authentication.confirm_anybody(
        request.requester_or_none, "POST /account/deactivate", body
    )
    erase = confirmed.get("erase", False)
    if not isinstance(erase, bool):
        raise bad_json("'erase' must be true or false.")
    await closing.close(user_id, erase=erase)
    # No address is ever bound to an identity server through this server, so there is none to unbind.
    return {"id_server_unbind_result": "success"}
