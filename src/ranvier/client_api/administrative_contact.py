"""Addresses that an account is known by."""

from ranvier.accounts.addresses import Addresses
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request


@endpoint("GET", "/_matrix/client/v3/account/3pid")
async def get_account_3pids(request: Request, addresses: Addresses) -> Answer:
    """Give the user's addresses."""
    return {"threepids": await addresses.of_user(request.requester.user_id)}
