"""Tags that users give to rooms."""

from ranvier.accounts.account_data import AccountDatas
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request

_TAGS = "/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags"


@endpoint("GET", _TAGS)
async def get_room_tags(request: Request, account_data: AccountDatas) -> Answer:
    """Give the room's tags."""
    request.requester.check_is(request.parameters["userId"])
    return {"tags": await account_data.tags(request.requester.user_id, request.parameters["roomId"])}


@endpoint("PUT", _TAGS + "/{tag}")
async def set_room_tag(request: Request, account_data: AccountDatas) -> Answer:
    """Give the room a tag."""
    given = request.parameters
    request.requester.check_is(given["userId"])
    content = request.json_or_empty()
    await account_data.set_tag(request.requester.user_id, given["roomId"], given["tag"], content)
    return {}


@endpoint("DELETE", _TAGS + "/{tag}")
async def delete_room_tag(request: Request, account_data: AccountDatas) -> Answer:
    """Take a tag from the room."""
    given = request.parameters
    request.requester.check_is(given["userId"])
    await account_data.remove_tag(request.requester.user_id, given["roomId"], given["tag"])
    return {}
