"""The room directory: which rooms it shows, and what it tells of them.

Source: Client-Server API, "Published room directory".
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from ranvier.protocol.refusal import forbidden, invalid_param, not_found
from ranvier.protocol.room_summaries import SUMMARY_TYPES, published_room
from ranvier.rooms.access import is_joined
from ranvier.rooms.directory_query import MAX_ROOMS, MAX_TERM, DirectoryQuery, RoomSearch
from ranvier.rooms.elsewhere import Elsewhere, described_room
from ranvier.rooms.heads import Heads, Room
from ranvier.rooms.naming_rules import NamingRules
from ranvier.rooms.powers import may_send_state
from ranvier.store import directory as store
from ranvier.store import rooms as rooms_store
from ranvier.store.database import Database, Entry, Transaction
from ranvier.store.log import Kind
from ranvier.store.writer import Writer

_KEPT_IF_REDACTED: Final = frozenset({"m.room.create", "m.room.join_rules", "m.room.history_visibility"})
_AT_ONCE: Final = 200
_FORM = re.compile(r"([np])([0-9]{1,18})-([0-9]{1,18})\Z")


@dataclass(frozen=True, slots=True)
class Listing:
    """A published room. `key` orders the directory: the largest first. `words` is what a search looks through."""

    key: tuple[int, int]
    room_type: str | None
    words: str
    shown: dict[str, Any]


@dataclass(frozen=True, slots=True)
class DirectoryPage:
    """A part of the directory, with the tokens to go on in both directions, where there is more."""

    chunk: Sequence[dict[str, Any]]
    next_batch: str | None
    prev_batch: str | None
    total: int

    def to_json(self) -> dict[str, Any]:
        """The answer of the endpoints."""
        answer: dict[str, Any] = {"chunk": self.chunk, "total_room_count_estimate": self.total}
        if self.next_batch is not None:
            answer["next_batch"] = self.next_batch
        if self.prev_batch is not None:
            answer["prev_batch"] = self.prev_batch
        return answer


@dataclass(frozen=True, slots=True)
class DirectoryRules:
    """Whether the directory is served at all, to those without a token, and to other servers."""

    server_name: str
    enabled: bool
    without_token: bool
    for_peers: bool


class Directory:
    """Publishes rooms and lists them. What it tells of a room is read anew once the room has changed."""

    def __init__(
        self,
        database: Database,
        writer: Writer,
        heads: Heads,
        elsewhere: Elsewhere,
        rules: NamingRules,
        now: Callable[[], int],
    ) -> None:
        self._database = database
        self._elsewhere = elsewhere
        self._rules = rules
        self._writer = writer
        self._heads = heads
        self._now = now
        self._listings: dict[int, Listing] = {}
        self._loading: Counter[int] = Counter()
        self._changed: set[int] = set()

    async def is_published(self, room_id: str) -> bool:
        """Whether the directory shows a room."""
        room = await self._room(room_id)
        return await rooms_store.is_published(self._database, room.nid)

    async def set_published(self, user_id: str, room_id: str, published: bool, *, is_admin: bool) -> None:
        """Show a room or hide it: for administrators, and members who may set the room's canonical alias."""
        room = await self._room(room_id)
        head = await self._heads.fault_in(room, [user_id])
        member = is_joined(head, user_id) and may_send_state(head, user_id, "m.room.canonical_alias")
        if not (member or is_admin):
            raise forbidden("Only members who may set the room's canonical alias may publish or hide it.")
        if published:
            aliases = await rooms_store.aliases_of(self._database, room_id)
            self._rules.check_publication(user_id, room_id, aliases, is_admin=is_admin)

        async def write(transaction: Transaction) -> None:
            if published:
                await rooms_store.publish(transaction, room.nid, self._now())
            else:
                await rooms_store.unpublish(transaction, room.nid)

        await self._writer.run(write)

    async def _room(self, room_id: str) -> Room:
        room = await self._heads.get(room_id)
        if room is None:
            raise not_found(f"This server knows no room {room_id[:255]}.")
        return room

    async def page(self, query: DirectoryQuery) -> DirectoryPage:
        """Published rooms, those with most members first: all, or those that fit a search and the types.

        Bridges publish nothing in networks of their own here.
        """
        query.check()
        if query.third_party_instance_id:
            return DirectoryPage([], None, None, 0)
        listings = _found(await self._all(), query.filter or RoomSearch())
        first, last = _cut(listings, query.rooms(), query.since or None)
        chunk = listings[first:last]
        return DirectoryPage(
            chunk=[one.shown for one in chunk],
            next_batch=_token("n", chunk[-1]) if chunk and last < len(listings) else None,
            prev_batch=_token("p", chunk[0]) if chunk and first > 0 else None,
            total=len(listings),
        )

    async def page_of(self, server: str, query: DirectoryQuery) -> DirectoryPage:
        """A page of another server's directory."""
        query.check()
        told = await self._elsewhere.public_rooms(server, query.body())
        chunk = [described_room(room) for room in told.chunk[:MAX_ROOMS]]
        total = told.total_room_count_estimate
        return DirectoryPage(chunk, told.next_batch, told.prev_batch, len(chunk) if total is None else total)

    async def _all(self) -> list[Listing]:
        published = await store.published(self._database)
        found = {nid: self._listings[nid] for nid in published if nid in self._listings}
        missing = [nid for nid in published if nid not in found]
        for start in range(0, len(missing), _AT_ONCE):
            found |= await self._load(missing[start : start + _AT_ONCE])
        return sorted((one for one in found.values() if one.shown["num_joined_members"]), key=_key)

    async def _load(self, nids: Sequence[int]) -> dict[int, Listing]:
        """Read rooms anew, and remember those that did not change meanwhile."""
        self._loading.update(nids)
        try:
            rows = await store.state_of(self._database, nids, SUMMARY_TYPES)
            counts = await store.joined_counts(self._database, nids)
            names = await store.room_ids(self._database, nids)
        finally:
            self._loading.subtract(nids)
        contents: dict[int, dict[str, Any]] = {nid: {} for nid in nids}
        for room, kind, pdu, redacted_by in rows:
            if redacted_by is None or kind in _KEPT_IF_REDACTED:
                contents[room][kind] = orjson.loads(pdu)["content"]
        loaded = {nid: _listing(nid, names[nid], counts.get(nid, 0), contents[nid]) for nid in nids}
        self._listings.update({nid: one for nid, one in loaded.items() if nid not in self._changed})
        self._loading = +self._loading
        self._changed &= self._loading.keys()
        return loaded

    def heard(self, entries: Iterable[Entry]) -> None:
        """Follow the log: what is told of a room that changed is read anew."""
        if not self._listings and not self._loading:
            return
        for entry in entries:
            if entry.kind in (Kind.STATE, Kind.REDACTION) or (entry.kind == Kind.EVENT and _is_state(entry)):
                nid = int(entry.audience[1:])
                self._listings.pop(nid, None)
                if nid in self._loading:
                    self._changed.add(nid)


def _found(listings: list[Listing], search: RoomSearch) -> list[Listing]:
    if search.generic_search_term is not None:
        term = search.generic_search_term[:MAX_TERM].casefold()
        listings = [one for one in listings if term in one.words]
    if search.room_types is not None:
        listings = [one for one in listings if one.room_type in search.room_types]
    return listings


def _is_state(entry: Entry) -> bool:
    return entry.payload is None or entry.payload.kept.event.is_state


def _key(listing: Listing) -> tuple[int, int]:
    return listing.key


def _listing(nid: int, room_id: str, members: int, contents: dict[str, Any]) -> Listing:
    shown = published_room(room_id, contents, members)
    told = (shown.get("name"), shown.get("topic"), shown.get("canonical_alias"), room_id)
    words = "\n".join(text for text in told if text is not None).casefold()
    return Listing((-members, nid), shown.get("room_type"), words, shown)


def _token(direction: str, listing: Listing) -> str:
    members, nid = listing.key
    return f"{direction}{-members}-{nid}"


def _cut(listings: Sequence[Listing], limit: int, since: str | None) -> tuple[int, int]:
    """The first and one past the last of the listings that a token asks for."""
    if since is None:
        return 0, limit
    form = _FORM.match(since)
    if form is None:
        raise invalid_param("This is no token of this server's room directory.")
    key = (-int(form[2]), int(form[3]))
    if form[1] == "n":
        first = sum(one.key <= key for one in listings)
        return first, first + limit
    last = sum(one.key < key for one in listings)
    return max(0, last - limit), last
