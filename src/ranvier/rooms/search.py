"""Searching in what was said.

Source: Client-Server API, "Server Side Search".
"""

import re
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from ranvier.bus.local import Ring
from ranvier.protocol.filters import EVERYTHING, EventFilter
from ranvier.protocol.refusal import Refusal, invalid_param
from ranvier.rooms.events import Events
from ranvier.rooms.following import Following
from ranvier.rooms.heads import Heads
from ranvier.rooms.joined import UserRooms
from ranvier.rooms.message_index import KEYS, text_of
from ranvier.rooms.visibility import Seen, Visibility
from ranvier.store import search as store
from ranvier.store.database import Database
from ranvier.store.search import Hit, Wanted
from ranvier.store.words import Run, fold, split

MAX_RESULTS: Final = 100
"""Results in one answer."""
_RUNS: Final = 30
_SCANNED: Final = 1_000
"""Hits that one answer is chosen from, where filters or the rooms' visibility hide most."""
_PATIENCE_SECONDS: Final = 3.0
_TOKEN: Final = re.compile(r"(s)([0-9]{1,19})-([0-9]{1,19})(?:-r([0-9]{1,19}))?\Z|(k)([0-9]{1,6})\Z")
_GREATEST: Final = 2**63 - 1
_WORD: Final = re.compile(r"\w+")

Order = Literal["rank", "recent"]


@dataclass(frozen=True, slots=True)
class Search:
    """What a user looks for: words, where, in which order, how many results; `token` goes on from another answer."""

    term: str
    keys: Sequence[str] = KEYS
    order: Order = "rank"
    limit: int = 10
    wanted: EventFilter = EVERYTHING
    token: str | None = None


class Result(NamedTuple):
    """An event that was found."""

    seen: Seen
    rank: float


@dataclass(slots=True)
class Results:
    """What was found, in order; `count` is about how much there is in all, `next` goes on, if there may be more."""

    results: list[Result] = field(default_factory=list)
    count: int = 0
    highlights: list[str] = field(default_factory=list)
    next: str | None = None


class _Start(NamedTuple):
    """Where an answer begins: before a time and number, or after so many hits; perhaps in one room only."""

    before: tuple[int, int] = (_GREATEST, _GREATEST)
    offset: int = 0
    room: int | None = None


class Searching:
    """Answers searches. Without `following`, this server does not index what is said."""

    def __init__(
        self,
        database: Database,
        heads: Heads,
        events: Events,
        visibility: Visibility,
        user_rooms: UserRooms,
        following: Following | None,
    ) -> None:
        self._database = database
        self._heads = heads
        self._events = events
        self._visibility = visibility
        self._user_rooms = user_rooms
        self._following = following

    async def start(self) -> None:
        """Keep the index up from now on."""
        if self._following is not None:
            await self._following.start()

    async def stop(self) -> None:
        """The index is kept up no more."""
        if self._following is not None:
            await self._following.stop()

    def hear(self, ring: Ring) -> None:
        """Something was committed."""
        if self._following is not None:
            self._following.hear(ring)

    async def find(self, user_id: str, search: Search) -> Results:
        """What fits, among what the user may see; refused where this server does not offer it."""
        if self._following is None:
            raise Refusal("M_UNKNOWN", "This server does not offer to search in messages.")
        start = _parse_token(search.token, search.order)
        runs = split(search.term)[:_RUNS]
        rooms = await self._rooms(user_id, search.wanted)
        if start.room is not None:
            rooms = {start.room: rooms[start.room]} if start.room in rooms else {}
        if not runs or not rooms or not search.keys:
            return Results()
        # Who searches expects to find what they said a moment ago.
        await self._following.catch_up(_PATIENCE_SECONDS)
        wanted = Wanted(runs, list(rooms), search.keys)
        found = Results(count=await store.count(self._database, wanted))
        limit = min(search.limit, MAX_RESULTS)
        offset = start.offset
        async for portion in self._hits(wanted, search.order, start):
            seen = await self._show(user_id, rooms, portion, search.wanted)
            for hit in portion:
                offset += 1
                one = seen.get(hit.event)
                if one is not None:
                    found.results.append(Result(one, hit.rank))
                if len(found.results) == limit:
                    found.next = _token(hit, search.order, offset, start.room)
                    break
            if found.next is not None:
                break
        found.highlights = _highlights(runs, found.results)
        return found

    async def _rooms(self, user_id: str, wanted: EventFilter) -> dict[int, str]:
        """The rooms to look in, by number: those that the user is in, or was in and has not forgotten."""
        memberships = await self._user_rooms.of(user_id)
        return {
            one.room: one.room_id
            for one in memberships.by_room.values()
            if one.membership in ("join", "leave", "ban") and one.room and wanted.wants_room(one.room_id)
        }

    async def _hits(self, wanted: Wanted, order: Order, start: _Start) -> AsyncIterator[Sequence[Hit]]:
        """Hits in order, in portions, up to a bound."""
        before, offset = start.before, start.offset
        step = 50
        for _ in range(_SCANNED // step):
            if order == "recent":
                hits = await store.newest(self._database, wanted, before, step)
            else:
                hits = await store.best(self._database, wanted, offset, step)
            if hits:
                yield hits
                before, offset = (hits[-1].at, hits[-1].event), offset + len(hits)
            if len(hits) < step:
                return

    async def _show(
        self, user_id: str, rooms: dict[int, str], hits: Iterable[Hit], wanted: EventFilter
    ) -> dict[int, Seen]:
        """Those of the hits that are wanted and for the user, by number."""
        events = await self._events.by_nids([hit.event for hit in hits])
        ignored = await self._visibility.ignored_by(user_id)
        by_room: dict[int, list[int]] = {}
        for nid, kept in events.items():
            if kept.event.sender in ignored and not kept.event.is_state:
                continue
            if kept.redacted_by is None and (wanted.wants_all() or wanted.wants_event(kept.event)):
                by_room.setdefault(kept.room, []).append(nid)
        shown: dict[int, Seen] = {}
        for number, nids in by_room.items():
            room = await self._heads.get(rooms[number])
            if room is not None:
                for seen in await self._visibility.filter(room, user_id, [events[nid] for nid in nids]):
                    shown[seen.kept.nid] = seen
        return shown


def group_token(result: Result) -> str:
    """The token that goes on after a result within its room, newest first."""
    kept = result.seen.kept
    return f"s{kept.event.origin_server_ts}-{kept.nid}-r{kept.room}"


def _token(hit: Hit, order: Order, offset: int, room: int | None) -> str | None:
    if order == "recent":
        return f"s{hit.at}-{hit.event}" + (f"-r{room}" if room is not None else "")
    return f"k{offset}" if offset < store.MOST_COUNTED else None


def _parse_token(token: str | None, order: Order) -> _Start:
    if not token:
        return _Start()
    form = _TOKEN.match(token)
    if form is None or (form[1] is not None) != (order == "recent"):
        raise invalid_param("This is no token of this server's search, or not of one in this order.")
    if form[5] is not None:
        return _Start(offset=min(int(form[6]), store.MOST_COUNTED))
    before = (min(int(form[2]), _GREATEST), min(int(form[3]), _GREATEST))
    return _Start(before, room=min(int(form[4]), _GREATEST) if form[4] is not None else None)


def _highlights(runs: Sequence[Run], results: Iterable[Result]) -> list[str]:
    """The words of the results that fit, as they are written there but for their case."""
    sought = tuple("".join(run) for run in runs)
    found: dict[str, None] = {}
    for result in results:
        text = text_of(result.seen.kept)
        for word in _WORD.findall(text[1][:10_000]) if text is not None else ():
            folded = fold(word)
            if folded.startswith(sought):
                found[word.lower()] = None
            else:
                # Where nothing separates words, the word sought may stand anywhere.
                found.update({one: None for one in sought if not one.isascii() and one in folded})
    return list(found)
