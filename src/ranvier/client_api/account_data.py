"""Account data: what clients keep on the server for themselves."""

from ranvier.accounts.account_data import AccountDatas
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request

_GLOBAL = "/_matrix/client/v3/user/{userId}/account_data/{type}"
_ROOM = "/_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}"

_PROPOSED = "/_matrix/client/unstable/org.matrix.msc3391/user/{userId}"


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


@endpoint("DELETE", f"{_PROPOSED}/account_data/{{type}}")
async def delete_account_data(request: Request, account_data: AccountDatas) -> Answer:
    """Take data of the account away."""
    await _delete(request, account_data)
    return {}


@endpoint("DELETE", f"{_PROPOSED}/rooms/{{roomId}}/account_data/{{type}}")
async def delete_account_data_per_room(request: Request, account_data: AccountDatas) -> Answer:
    """Take data for a room away."""
    await _delete(request, account_data)
    return {}


async def _delete(request: Request, account_data: AccountDatas) -> None:
    given = request.parameters
    request.requester.check_is(given["userId"])
    await account_data.remove(request.requester.user_id, given.get("roomId"), given["type"])


async def _set(request: Request, account_data: AccountDatas) -> None:
    given = request.parameters
    request.requester.check_is(given["userId"])
    content = request.json()
    await account_data.write(request.requester.user_id, given.get("roomId"), given["type"], content)


async def _get(request: Request, account_data: AccountDatas) -> Answer:
    given = request.parameters
    request.requester.check_is(given["userId"])
    return await account_data.read(request.requester.user_id, given.get("roomId"), given["type"])
