"""What a user was notified of."""

from typing import Any

import orjson

from ranvier.client_api.room_parameters import reader_of
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.http.response import Response
from ranvier.protocol.refusal import invalid_param
from ranvier.rooms.notifications import MAX_NOTIFICATIONS, Notifications
from ranvier.rooms.shaping import Shapes

_DEFAULT = 20


@endpoint("GET", "/_matrix/client/v3/notifications")
async def get_notifications(request: Request, notifications: Notifications, shapes: Shapes) -> Answer:
    """The newest notifications, or those before a token."""
    token = request.query("from")
    if token is not None and not (token.isdecimal() and len(token) <= 18):
        raise invalid_param("'from' is no token of this endpoint.")
    found, before = await notifications.page(
        request.requester.user_id,
        request.query_int("limit", _DEFAULT, least=1, most=MAX_NOTIFICATIONS),
        int(token) if token is not None else None,
        only_highlights=request.query("only") == "highlight",
    )
    events = await shapes.of([one.seen for one in found], reader_of(request))
    listed: list[dict[str, Any]] = [
        {**one.facts(), "event": orjson.Fragment(event)} for one, event in zip(found, events, strict=True)
    ]
    answer: dict[str, Any] = {"notifications": listed}
    if before is not None:
        answer["next_token"] = str(before)
    return Response(200, orjson.dumps(answer))
