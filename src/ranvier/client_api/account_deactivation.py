"""Closing one's account."""

from ranvier.accounts.closing import Closing
from ranvier.accounts.interactive_auth import InteractiveAuth
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.protocol.refusal import bad_json


@endpoint("POST", "/_matrix/client/v3/account/deactivate", rate_limit="other")
async def deactivate_account(request: Request, closing: Closing, authentication: InteractiveAuth) -> Answer:
    """Deactivate the account, once the user confirmed it."""
    body = request.json_or_empty()
    confirmed = await authentication.confirm(request.requester, "POST /account/deactivate", body, always=True)
    erase = confirmed.get("erase", False)
    if not isinstance(erase, bool):
        raise bad_json("'erase' must be true or false.")
    await closing.close(request.requester.user_id, erase=erase)
    # No address is ever bound to an identity server through this server, so there is none to unbind.
    return {"id_server_unbind_result": "success"}
