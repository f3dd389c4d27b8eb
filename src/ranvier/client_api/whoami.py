"""Who the token stands for."""

from typing import Any

from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request


@endpoint("GET", "/_matrix/client/v3/account/whoami", rate_limit="other")
async def get_token_owner(request: Request) -> Answer:
    """Tell user and device."""
    requester = request.requester
    answer: dict[str, Any] = {"user_id": requester.user_id, "is_guest": requester.is_guest}
    if requester.device_id is not None:
        answer["device_id"] = requester.device_id
    return answer
