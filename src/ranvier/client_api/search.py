"""Searching in what was said."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
import orjson

from ranvier.client_api.room_parameters import reader_of, refuse_guest
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.http.response import Response
from ranvier.protocol.filter_parsing import parse_room_event_filter
from ranvier.rooms.history import History
from ranvier.rooms.message_index import KEYS
from ranvier.rooms.pagination import place_after, place_before
from ranvier.rooms.search import Result, Results, Search, Searching, group_token
from ranvier.rooms.shaping import Reader, Shapes
from ranvier.rooms.state import RoomState
from ranvier.store.events import StoredEvent

DEFAULT_LIMIT = 10
MAX_CONTEXT = 50
_MOST_STATE = 20
"""Rooms whose state comes with an answer."""


class EventContext(msgspec.Struct):
    """What shall come around each result."""

    before_limit: int = 5
    after_limit: int = 5
    include_profile: bool = False


class Group(msgspec.Struct):
    """Something to group results by."""

    key: Literal["room_id", "sender"]


class Groupings(msgspec.Struct):
    """How results shall be grouped."""

    group_by: list[Group] = []


class RoomEvents(msgspec.Struct):
    """What is looked for in rooms' events."""

    search_term: str
    keys: list[Literal["content.body", "content.name", "content.topic"]] | None = None
    filter: dict[str, Any] | None = None
    order_by: Literal["rank", "recent"] = "rank"
    event_context: EventContext | None = None
    include_state: bool = False
    groupings: Groupings | None = None


class Categories(msgspec.Struct):
    """What is looked for, by category; the specification knows one."""

    room_events: RoomEvents | None = None


class SearchBody(msgspec.Struct):
    """A search."""

    search_categories: Categories


@endpoint("POST", "/_matrix/client/v3/search", rate_limit="other")
async def search(
    request: Request, searching: Searching, history: History, state: RoomState, shapes: Shapes
) -> Answer:
    """Events with these words, in the user's rooms."""
    refuse_guest(request.requester)
    asked = request.read(SearchBody).search_categories.room_events
    if asked is None:
        return {"search_categories": {}}
    wanted = parse_room_event_filter(asked.filter or {})
    reader = reader_of(request)
    found = await searching.find(
        reader.user_id,
        Search(
            asked.search_term,
            KEYS if asked.keys is None else asked.keys,
            asked.order_by,
            max(wanted.limit_or(DEFAULT_LIMIT), 1),
            wanted,
            request.query("next_batch"),
        ),
    )
    contexts: Sequence[bytes | None] = [None] * len(found.results)
    if asked.event_context is not None:
        contexts = [
            await _context(one, asked.event_context, reader, history, state, shapes) for one in found.results
        ]
    events = await shapes.of([one.seen for one in found.results], reader)
    parts = [_results(found, events, contexts)]
    if asked.groupings is not None:
        parts.append(b',"groups":' + orjson.dumps(_groups(found, asked.groupings, asked.order_by)))
    if asked.include_state:
        parts.append(b',"state":{%b}' % await _states(found, reader, state, shapes))
    return Response(200, b'{"search_categories":{"room_events":{%b}}}' % b"".join(parts))


def _results(found: Results, events: Sequence[bytes], contexts: Sequence[bytes | None]) -> bytes:
    rows = [
        b'{"rank":%b,"result":%b%b}'
        % (
            orjson.dumps(round(one.rank, 6)),
            event,
            b',"context":%b' % context if context is not None else b"",
        )
        for one, event, context in zip(found.results, events, contexts, strict=True)
    ]
    text = b'"count":%d,"highlights":%b,"results":[%b]' % (
        found.count,
        orjson.dumps(found.highlights),
        b",".join(rows),
    )
    return text + (b',"next_batch":"%b"' % found.next.encode() if found.next is not None else b"")


def _groups(found: Results, groupings: Groupings, order: str) -> Mapping[str, Any]:
    groups: dict[str, Any] = {}
    for group in groupings.group_by:
        told: dict[str, Any] = {}
        for one in found.results:
            event = one.seen.kept.event
            value = event.room_id if group.key == "room_id" else event.sender
            member = told.setdefault(value, {"order": len(told), "results": []})
            member["results"].append(event.event_id)
            if group.key == "room_id" and order == "recent" and found.next is not None:
                member["next_batch"] = group_token(one)
        groups[group.key] = told
    return groups


async def _context(
    result: Result, asked: EventContext, reader: Reader, history: History, state: RoomState, shapes: Shapes
) -> bytes:
    event = result.seen.kept.event
    older, newer = (min(max(n, 0), MAX_CONTEXT) for n in (asked.before_limit, asked.after_limit))
    found = await history.around(reader.user_id, event.room_id, event.event_id, older, newer)
    before, after = found.before.events, found.after.events
    shaped = await shapes.of([*before, *after], reader)
    start = found.before.end or place_before((before[-1] if before else found.event).kept)
    end = found.after.end or place_after((after[-1] if after else found.event).kept)
    text = b'"start":"%b","end":"%b","events_before":[%b],"events_after":[%b]' % (
        str(start).encode(),
        str(end).encode(),
        b",".join(shaped[: len(before)]),
        b",".join(shaped[len(before) :]),
    )
    if asked.include_profile:
        senders = [seen.kept.event.sender for seen in (*before, found.event, *after)]
        members = await state.members_for(found.access, result.seen.kept, senders)
        text += b',"profile_info":' + orjson.dumps(_profiles(members))
    return b"{%b}" % text


def _profiles(members: Sequence[StoredEvent]) -> Mapping[str, Any]:
    """What the members showed of themselves."""
    return {
        one.event.state_key or "": {
            name: value
            for name in ("displayname", "avatar_url")
            if isinstance(value := one.event.content.get(name), str)
        }
        for one in members
    }


async def _states(found: Results, reader: Reader, state: RoomState, shapes: Shapes) -> bytes:
    rooms = list(dict.fromkeys(one.seen.kept.event.room_id for one in found.results))[:_MOST_STATE]
    parts = []
    for room_id in rooms:
        whole = await shapes.plainly(await state.whole(reader.user_id, room_id))
        parts.append(b"%b:[%b]" % (orjson.dumps(room_id), b",".join(whole)))
    return b",".join(parts)
