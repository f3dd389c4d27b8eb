"""One table from errcode to HTTP status, and the answer that a refusal becomes."""

import orjson

from ranvier.http.response import JSON, Response
from ranvier.protocol.refusal import Refusal

STATUS = {
    "M_FORBIDDEN": 403,
    "M_UNKNOWN_TOKEN": 401,
    "M_MISSING_TOKEN": 401,
    "M_USER_LOCKED": 401,
    "M_USER_SUSPENDED": 403,
    "M_USER_DEACTIVATED": 403,
    "M_UNAUTHORIZED": 401,
    "M_NOT_FOUND": 404,
    "M_UNRECOGNIZED": 404,
    "M_LIMIT_EXCEEDED": 429,
    "M_TOO_LARGE": 413,
    "M_GUEST_ACCESS_FORBIDDEN": 403,
    "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM": 403,
    "M_WRONG_ROOM_KEYS_VERSION": 403,
    "M_UNABLE_TO_AUTHORISE_JOIN": 400,
    "M_NOT_YET_UPLOADED": 504,
    "M_CANNOT_OVERWRITE_MEDIA": 409,
    "M_UNKNOWN": 400,
    "M_CONNECTION_FAILED": 502,
    "M_CONNECTION_TIMEOUT": 504,
}
"""The HTTP status of each errcode; those that are not listed are faults of the request: 400."""


def response_of(refusal: Refusal) -> Response:
    """The refusal as an answer, with `Retry-After` (whole seconds, rounded up) where it says when to come back."""
    status = refusal.status or STATUS.get(refusal.errcode, 400)
    headers = [JSON]
    wait = refusal.extra.get("retry_after_ms")
    if wait is not None:
        headers.append((b"retry-after", str(-(-wait // 1000)).encode()))
    return Response(status, orjson.dumps(refusal.to_json()), headers)
