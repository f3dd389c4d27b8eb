"""Account data: what clients keep on the server for themselves."""

from ranvier.accounts.account_data import AccountDatas
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request

_GLOBAL = "/_matrix/client/v3/user/{userId}/account_data/{type}"
_ROOM = "/_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}"


@endpoint("PUT", _GLOBAL)
async def set_account_data(request: Request, account_data: AccountDatas) -> Answer:
    """Keep data of the account."""
    await _set(request, account_data)
    return {}


@endpoint("GET", _GLOBAL)
async def get_account_data(request: Request, account_data: AccountDatas) -> Answer:
    """Give data of the account."""
    return await _get(request, account_data)


@endpoint("PUT", _ROOM)
async def set_account_data_per_room(request: Request, account_data: AccountDatas) -> Answer:
    """Keep data for a room."""
    await _set(request, account_data)
    return {}


@endpoint("GET", _ROOM)
async def get_account_data_per_room(request: Request, account_data: AccountDatas) -> Answer:
    """Give data for a room."""
    return await _get(request, account_data)


async def _set(request: Request, account_data: AccountDatas) -> None:
    given = request.parameters
    request.requester.check_is(given["userId"])
    content = request.json()
    await account_data.write(request.requester.user_id, given.get("roomId"), given["type"], content)


async def _get(request: Request, account_data: AccountDatas) -> Answer:
    given = request.parameters
    request.requester.check_is(given["userId"])
    return await account_data.read(request.requester.user_id, given.get("roomId"), given["type"])
