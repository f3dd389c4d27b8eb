"""The user directory."""

import msgspec

from ranvier.accounts.user_directory import UserDirectory
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.protocol.refusal import invalid_param

DEFAULT_LIMIT = 10


class UserSearch(msgspec.Struct):
    """Whom to look for."""

    search_term: str
    limit: int = DEFAULT_LIMIT


@endpoint("POST", "/_matrix/client/v3/user_directory/search", rate_limit="user_directory")
async def search_user_directory(request: Request, directory: UserDirectory) -> Answer:
    """Users whose names begin so, among those whom the requester may know of."""
    asked = request.read(UserSearch)
    if asked.limit < 1:
        raise invalid_param("'limit' must be at least 1.")
    found, limited = await directory.search(request.requester.user_id, asked.search_term, asked.limit)
    return {"limited": limited, "results": [one.to_json() for one in found]}
