"""The tree of rooms below a space, page by page.

A walk is remembered where a page ended, under a token; whoever repeats a request gets the same page again. Another
process, which does not have it, walks there anew.

Source: Client-Server API, `GET /rooms/{roomId}/hierarchy`.
"""

import asyncio
import copy
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

from ranvier.protocol.refusal import forbidden, invalid_param
from ranvier.protocol.space_hierarchy import Child, HierarchyWalk, NeedRoom
from ranvier.rooms.elsewhere import Described, Elsewhere
from ranvier.rooms.joined import UserMemberships
from ranvier.rooms.summaries import SPACE, Summaries, hosts, may_see, may_see_described

MAX_ROOMS: Final = 50
"""Rooms on one page."""
_SECONDS: Final = 30.0
"""How long one page may take; then it ends early, if there is anything on it."""
_SECONDS_OF_NOTHING: Final = 6 * _SECONDS
"""So long at most a page is looked for that begins behind rooms that were shown before."""
_WALKS: Final = 2000
_WALKS_OF_ONE: Final = 20
_LIFE_MS: Final = 10 * 60_000
_TOKEN: Final = re.compile(r"[0-9a-f]{16}-([0-9]{1,9})-([0-9a-f]{16})")
"""Something random, how many rooms were shown, and what was asked for."""


@dataclass(frozen=True, slots=True)
class HierarchyRequest:
    """Which tree is wanted; the same for all its pages."""

    user_id: str
    room_id: str
    max_depth: int | None
    suggested_only: bool

    def digest(self) -> str:
        """What a token tells of it."""
        told = f"{self.user_id}\0{self.room_id}\0{self.max_depth}\0{self.suggested_only}"
        return sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:16]


@dataclass(slots=True)
class _Paused:
    """A walk at the end of a page, and what other servers told of rooms still to come.

    Of the rooms met so far, the first `skipped` were on earlier pages of a walk that is begun anew.
    """

    request: HierarchyRequest
    walk: HierarchyWalk
    told: dict[str, Described]
    closed: set[str]
    expires: int = field(default=0)
    shown: int = 0
    skipped: int = 0


class Hierarchies:
    """Walks through spaces."""

    def __init__(self, summaries: Summaries, elsewhere: Elsewhere, now: Callable[[], int]) -> None:
        self._summaries = summaries
        self._elsewhere = elsewhere
        self._now = now
        self._paused: OrderedDict[str, _Paused] = OrderedDict()

    async def page(
        self, request: HierarchyRequest, limit: int, token: str | None
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Rooms, and the token of the next page if there is one. Refuses a root that is not for the user."""
        going = self._resume(request, token) if token is not None else _begin(request)
        rooms = await self._summaries.memberships(request.user_id)
        began = asyncio.get_running_loop().time()
        page: list[dict[str, Any]] = []
        while (need := going.walk.wanted()) is not None:
            took = asyncio.get_running_loop().time() - began
            if len(page) == limit or took > (_SECONDS if page else _SECONDS_OF_NOTHING):
                return page, self._pause(going)
            found = await self._find(going, need, rooms)
            if found is None:
                if need.depth == 0:
                    raise forbidden("You may not see this room, or there is no such room.")
                going.walk.tell(())
                continue
            summary, children = found
            state = [child.stripped for child in going.walk.tell(children)]
            going.shown += 1
            if going.shown > going.skipped:
                page.append({**summary, "children_state": state})
            # Many rooms in a row may be at hand, and others want a turn too.
            await asyncio.sleep(0)
        return page, None

    async def _find(
        self, going: _Paused, need: NeedRoom, rooms: UserMemberships
    ) -> tuple[dict[str, Any], list[Child]] | None:
        """A room's summary and children, if it is for the user."""
        known = await self._summaries.facts(need.room_id)
        if known is not None:
            return (known.summary(), known.children()) if may_see(rooms, known) else None
        described = await self._described(going, need, rooms)
        if described is None or not may_see_described(rooms, described):
            return None
        return dict(described.summary), list(described.children or ())

    async def _described(self, going: _Paused, need: NeedRoom, rooms: UserMemberships) -> Described | None:
        """The room as other servers tell: its parent's, if it is no space, or else those named for it."""
        if need.room_id in going.closed:
            return None
        told = going.told.pop(need.room_id, None)
        if told is not None and told.summary.get("room_type") != SPACE:
            return told
        servers = [*need.via, *hosts(rooms, need.room_id)]
        found = await self._elsewhere.neighbourhood(
            need.room_id, servers, suggested_only=going.request.suggested_only
        )
        if found is None:
            return told
        going.told.update(found.children)
        going.closed |= found.inaccessible
        return found.room

    def _resume(self, request: HierarchyRequest, token: str) -> _Paused:
        """The walk; with a token of another process, or one that was kept for long enough, it is begun anew."""
        form = _TOKEN.fullmatch(token)
        if form is None:
            raise invalid_param("'from' is no token of this server: begin anew without it.")
        if form[2] != request.digest():
            raise invalid_param(
                "'max_depth', 'suggested_only', the room and the user must stay as they were for the first page."
            )
        paused = self._paused.get(token)
        if paused is None or paused.expires < self._now() or paused.request != request:
            begun = _begin(request)
            begun.skipped = int(form[1])
            return begun
        return copy.deepcopy(paused)

    def _pause(self, going: _Paused) -> str:
        now = self._now()
        own = [token for token, one in self._paused.items() if one.request.user_id == going.request.user_id]
        over = [token for token, one in self._paused.items() if one.expires < now]
        for token in {*over, *own[: max(0, len(own) - _WALKS_OF_ONE + 1)]}:
            del self._paused[token]
        while len(self._paused) >= _WALKS:
            self._paused.popitem(last=False)
        given = max(going.shown, going.skipped)
        token = f"{secrets.token_hex(8)}-{given}-{going.request.digest()}"
        going.expires = now + _LIFE_MS
        self._paused[token] = going
        return token


def _begin(request: HierarchyRequest) -> _Paused:
    walk = HierarchyWalk(request.room_id, max_depth=request.max_depth, suggested_only=request.suggested_only)
    return _Paused(request, walk, {}, set())
