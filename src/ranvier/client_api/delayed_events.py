"""Events that are sent later (MSC4140), under the proposal's prefix.

They are scheduled by the query parameter `org.matrix.msc4140.delay` of the operations that send events.
"""

from typing import Any, Final

import orjson

from ranvier.client_api.room_parameters import transaction_of
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.protocol.refusal import invalid_param
from ranvier.rooms.delayed_events import Action, DelayedEvents
from ranvier.store.delayed_events import DelayedEvent

DELAY: Final = "org.matrix.msc4140.delay"
_PATH: Final = "/_matrix/client/unstable/org.matrix.msc4140/delayed_events"
_LONGEST: Final = 2**53 - 1


async def schedule(
    request: Request, delayed: DelayedEvents, room_id: str, kind: str, state_key: str | None
) -> Answer | None:
    """Keep the request's event for later, if its query says so."""
    if request.query(DELAY) is None:
        return None
    request.requester.check_not_suspended()
    delay = request.query_int(DELAY, 0, least=1, most=_LONGEST)
    transaction = None
    if "txnId" in request.parameters:
        transaction = transaction_of(request, f"delayed {room_id} {kind}")
    known = await delayed.known(transaction)
    if known is not None:
        return {"delay_id": known}
    delay_id = await delayed.schedule(
        request.requester.user_id, room_id, kind, state_key, request.json(), delay, transaction=transaction
    )
    return {"delay_id": delay_id}


@endpoint("GET", _PATH, rate_limit="delayed_event_mgmt")
async def get_delayed_events(request: Request, delayed: DelayedEvents) -> Answer:
    """The requester's events that wait, the next due first, or with `status=finalised` those that don't."""
    status = request.query("status") or "scheduled"
    if status not in ("scheduled", "finalised"):
        raise invalid_param("'status' must be 'scheduled' or 'finalised'.")
    direction = request.query("dir") or "f"
    if direction not in ("b", "f"):
        raise invalid_param("'dir' must be 'b' (backwards) or 'f' (forwards).")
    found = await delayed.list(request.requester.user_id, finalised=status == "finalised")
    room_id, kind = request.query("room_id"), request.query("type")
    wanted = [one for one in found if room_id in (None, one.room_id) and kind in (None, one.type)]
    return {"delayed_events": [_shape(one) for one in (wanted if direction == "f" else wanted[::-1])]}


@endpoint("GET", _PATH + "/{delayId}", rate_limit="delayed_event_mgmt")
async def get_delayed_event(request: Request, delayed: DelayedEvents) -> Answer:
    """One of the requester's events."""
    return _shape(await delayed.get(request.requester.user_id, request.parameters["delayId"]))


@endpoint("POST", _PATH + "/{delayId}/send", access="open", rate_limit="delayed_event_mgmt")
async def send_delayed_event(request: Request, delayed: DelayedEvents) -> Answer:
    """Send an event now; who knows its delay id may do that."""
    return await _act(request, delayed, "send")


@endpoint("POST", _PATH + "/{delayId}/cancel", access="open", rate_limit="delayed_event_mgmt")
async def cancel_delayed_event(request: Request, delayed: DelayedEvents) -> Answer:
    """Never send an event; who knows its delay id may do that."""
    return await _act(request, delayed, "cancel")


@endpoint("POST", _PATH + "/{delayId}/restart", access="open", rate_limit="delayed_event_mgmt")
async def restart_delayed_event(request: Request, delayed: DelayedEvents) -> Answer:
    """Let an event's time begin anew; who knows its delay id may do that."""
    return await _act(request, delayed, "restart")


@endpoint("POST", _PATH + "/{delayId}", access="open", rate_limit="delayed_event_mgmt")
async def update_delayed_event(request: Request, delayed: DelayedEvents) -> Answer:
    """What older clients of the proposal ask with the action in the body."""
    action = request.json().get("action")
    if action not in ("send", "cancel", "restart"):
        raise invalid_param("'action' must be 'send', 'cancel' or 'restart'.")
    return await _act(request, delayed, action)


async def _act(request: Request, delayed: DelayedEvents, action: Action) -> Answer:
    await delayed.act(request.parameters["delayId"], action)
    return {}


def _shape(one: DelayedEvent) -> dict[str, Any]:
    shape = {
        "delay_id": one.delay_id,
        "room_id": one.room_id,
        "type": one.type,
        "state_key": one.state_key,
        "delay": one.delay,
        "running_since": one.running_since,
        "content": orjson.loads(one.content),
        "event_id": one.event_id,
        "error": orjson.loads(one.error) if one.error is not None else None,
        "origin_server_ts": one.finalised_ts,
    }
    return {name: value for name, value in shape.items() if value is not None}
