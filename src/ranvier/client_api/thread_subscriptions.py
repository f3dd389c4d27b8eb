"""Following threads (MSC4306), under the proposal's prefix."""

from typing import Final

import msgspec

from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.rooms.thread_subscriptions import ThreadSubscriptions

_PATH: Final = "/_matrix/client/unstable/io.element.msc4306/rooms/{roomId}/thread/{threadRootId}/subscription"


class Wish(msgspec.Struct):
    """`automatic`: the event in the thread because of which the client follows it by itself."""

    automatic: str | None = None


@endpoint("PUT", _PATH)
async def put_thread_subscription(request: Request, subscriptions: ThreadSubscriptions) -> Answer:
    """Follow a thread."""
    cause = request.read(Wish).automatic
    named = request.parameters["roomId"], request.parameters["threadRootId"]
    if cause is None:
        await subscriptions.follow(request.requester.user_id, *named)
    else:
        await subscriptions.follow_for(request.requester.user_id, *named, cause)
    return {}


@endpoint("GET", _PATH)
async def get_thread_subscription(request: Request, subscriptions: ThreadSubscriptions) -> Answer:
    """How the requester follows a thread, if they do."""
    named = request.parameters["roomId"], request.parameters["threadRootId"]
    found = await subscriptions.of(request.requester.user_id, *named)
    return {"automatic": found.automatic}


@endpoint("DELETE", _PATH)
async def delete_thread_subscription(request: Request, subscriptions: ThreadSubscriptions) -> Answer:
    """Follow a thread no more."""
    named = request.parameters["roomId"], request.parameters["threadRootId"]
    await subscriptions.unfollow(request.requester.user_id, *named)
    return {}
