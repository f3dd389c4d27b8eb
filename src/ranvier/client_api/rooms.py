"""Single events, state and members of rooms."""

import asyncio
from typing import Any, Final

from ranvier.client_api.room_parameters import place_of, reader_of
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.http.response import Response
from ranvier.protocol.refusal import invalid_param
from ranvier.rooms.history import History
from ranvier.rooms.shaping import Shapes
from ranvier.rooms.state import RoomState
from ranvier.store.events import StoredEvent

MEMBERSHIPS = frozenset({"join", "invite", "knock", "leave", "ban"})
_BREATH: Final = 500
"""Members that are shown without letting others have their turn."""


@endpoint("GET", "/_matrix/client/v3/rooms/{roomId}/event/{eventId}")
async def get_one_room_event(request: Request, history: History, shapes: Shapes) -> Answer:
    """One event."""
    reader = reader_of(request)
    _, seen = await history.event(reader.user_id, request.parameters["roomId"], request.parameters["eventId"])
    return Response(200, (await shapes.of([seen], reader))[0])


@endpoint("GET", "/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}")
async def get_room_state_with_key(request: Request, state: RoomState, shapes: Shapes) -> Answer:
    """The content of one state event, or the whole event."""
    form = request.query("format") or "content"
    if form not in ("content", "event"):
        raise invalid_param("'format' must be 'content' or 'event'.")
    parameters = request.parameters
    kept = await state.get(
        request.requester.user_id, parameters["roomId"], parameters["eventType"], parameters["stateKey"]
    )
    if form == "event":
        return Response(200, (await shapes.plainly([kept]))[0])
    return kept.event.content


@endpoint("GET", "/_matrix/client/v3/rooms/{roomId}/state")
async def get_room_state(request: Request, state: RoomState, shapes: Shapes) -> Answer:
    """All state events."""
    kept = await state.whole(request.requester.user_id, request.parameters["roomId"])
    return Response(200, b"[%b]" % b",".join(await shapes.plainly(kept)))


@endpoint("GET", "/_matrix/client/v3/rooms/{roomId}/members")
async def get_members_by_room(request: Request, history: History, state: RoomState, shapes: Shapes) -> Answer:
    """The memberships of a room, now or at a token; with both filters, either suffices."""
    room_id = request.parameters["roomId"]
    wanted, unwanted = _membership(request, "membership"), _membership(request, "not_membership")
    at = await place_of(request, "at", room_id, history)
    members = await state.members(request.requester.user_id, room_id, at)
    if wanted is not None or unwanted is not None:
        members = [kept for kept in members if _fits(kept, wanted, unwanted)]
    return Response(200, b'{"chunk":[%b]}' % b",".join(await shapes.plainly(members)))


def _membership(request: Request, name: str) -> str | None:
    value = request.query(name)
    if value is not None and value not in MEMBERSHIPS:
        raise invalid_param(f"'{name}' must be one of {', '.join(sorted(MEMBERSHIPS))}.")
    return value


def _fits(kept: StoredEvent, wanted: str | None, unwanted: str | None) -> bool:
    membership = kept.event.content.get("membership")
    return membership == wanted or (unwanted is not None and membership != unwanted)


@endpoint("GET", "/_matrix/client/v3/rooms/{roomId}/joined_members")
async def get_joined_members_by_room(request: Request, state: RoomState) -> Answer:
    """Names and avatars of those who are in the room."""
    members = await state.joined_members(request.requester.user_id, request.parameters["roomId"])
    joined = {}
    for place, kept in enumerate(members, 1):
        joined[str(kept.event.state_key)] = _face(kept.event.content)
        if place % _BREATH == 0:
            await asyncio.sleep(0)
    return {"joined": joined}


def _face(content: dict[str, Any]) -> dict[str, Any]:
    """Both keys always: what is not set is null, as all servers have it, though the specification knows no null."""
    shown = {"display_name": content.get("displayname"), "avatar_url": content.get("avatar_url")}
    return {name: value if isinstance(value, str) else None for name, value in shown.items()}
