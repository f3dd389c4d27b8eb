"""The rooms of a sync answer."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import orjson

from ranvier.protocol.history_visibility import read_membership
from ranvier.rooms.heads import MEMBER, Heads, Room, TimelineItem
from ranvier.rooms.joined import UserMemberships
from ranvier.rooms.receipts import Receipt
from ranvier.rooms.unread import Unread
from ranvier.store import rooms as rooms_store
from ranvier.store import state as state_store
from ranvier.store import timeline as timeline_store
from ranvier.store.database import Database
from ranvier.store.rooms import Membership
from ranvier.sync.ephemera import Ephemera
from ranvier.sync.lazy_members import SentMembers
from ranvier.sync.news import News, RoomNews
from ranvier.sync.request import SyncRequest
from ranvier.sync.sections import RoomSections, lazily
from ranvier.sync.shaping import EventShaper, events_json, object_json
from ranvier.sync.slices import Slices
from ranvier.sync.timelines import Gathered, Timelines

_SUMMARISED = frozenset({MEMBER, "m.room.name", "m.room.canonical_alias"})
_PORTION = 50
"""Rooms that are read at once, and whose receipts and unread marks are."""
Section = tuple[bytes, bytes]
"""A room id as JSON, and the room's part of the answer."""


@dataclass(slots=True)
class RoomsAnswer:
    """The `rooms` of an answer."""

    join: list[Section] = field(default_factory=list)
    invite: list[Section] = field(default_factory=list)
    knock: list[Section] = field(default_factory=list)
    leave: list[Section] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.join or self.invite or self.knock or self.leave)

    def json(self) -> bytes:
        """The value of `rooms`; kinds without rooms are left out."""
        kinds = (
            (b'"join"', self.join),
            (b'"invite"', self.invite),
            (b'"knock"', self.knock),
            (b'"leave"', self.leave),
        )
        return object_json([(name, object_json(rooms)) for name, rooms in kinds if rooms])


@dataclass(slots=True)
class _Work:
    """A room on its way into the answer."""

    membership: Membership
    room: Room
    news: RoomNews | None
    gathered: Gathered
    whole: bool


@dataclass(slots=True)
class Moment:
    """What an answer covers: from a token (`None`: from the beginning) to a position, and the token it will bear."""

    until: int
    token: str
    sent: SentMembers | None
    typing: frozenset[int]


class RoomAnswers:
    """Gathers and shapes all rooms of an answer."""

    def __init__(
        self,
        database: Database,
        heads: Heads,
        timelines: Timelines,
        sections: RoomSections,
        ephemera: Ephemera,
        unread: Unread,
    ) -> None:
        self._database = database
        self._heads = heads
        self._timelines = timelines
        self._sections = sections
        self._ephemera = ephemera
        self._unread = unread

    async def whole(self, request: SyncRequest, rooms: UserMemberships, moment: Moment) -> RoomsAnswer:
        """Everything, for a client that has nothing."""
        answer = RoomsAnswer()
        works = []
        slices = Slices()
        preference = await self._timelines.preference_of(request.user_id)
        wanted = [one for one in rooms.by_room.values() if request.filter.room.wants_room(one.room_id)]
        for place, membership in enumerate(wanted):
            if place % _PORTION == 0:
                await self._load(request, wanted[place : place + _PORTION])
            if membership.membership == "invite":
                if preference.shows_invite_by(membership.sender):
                    answer.invite.append((_key(membership), self._sections.invite(membership)))
            elif membership.membership == "knock":
                answer.knock.append((_key(membership), self._sections.knock(membership)))
            elif await self._waits_for_members(request, membership):
                continue
            elif membership.is_afar and request.filter.room.include_leave:
                answer.leave.append((_key(membership), self._sections.turned_away(membership)))
            elif membership.membership == "join" or request.filter.room.include_leave:
                works.append(await self._gather_whole(request, membership, moment, None))
                await slices.breathe()
        await self._shape(request, works, moment, answer)
        return answer

    async def since(
        self, request: SyncRequest, rooms: UserMemberships, news: News, moment: Moment
    ) -> RoomsAnswer:
        """What is new."""
        answer = RoomsAnswer()
        works = []
        slices = Slices()
        preference = await self._timelines.preference_of(request.user_id)
        for room_id in self._touched(request, rooms, news, moment):
            if not request.filter.room.wants_room(room_id):
                continue
            changed = room_id in news.memberships
            membership = rooms.by_room.get(room_id)
            if membership is None and changed:
                membership = await self._forgotten(request, room_id)
            if membership is None:
                continue
            if await self._waits_for_members(request, membership):
                continue
            if membership.membership == "join":
                works.append(await self._gather_joined(request, membership, news, moment))
            elif not changed:
                continue
            elif membership.membership == "invite":
                if preference.shows_invite_by(membership.sender):
                    answer.invite.append((_key(membership), self._sections.invite(membership)))
            elif membership.membership == "knock":
                answer.knock.append((_key(membership), self._sections.knock(membership)))
            elif membership.is_afar:
                answer.leave.append((_key(membership), self._sections.turned_away(membership)))
            else:
                works.append(await self._gather_left(request, membership, news, moment))
            await slices.breathe()
        await self._shape(request, works, moment, answer, news)
        return answer

    def _touched(
        self, request: SyncRequest, rooms: UserMemberships, news: News, moment: Moment
    ) -> Iterable[str]:
        touched = dict.fromkeys(news.rooms)
        touched.update(dict.fromkeys(news.memberships))
        touched.update(dict.fromkeys(room for room, _ in news.account_data if room is not None))
        touched.update(dict.fromkeys(news.unread))
        touched.update(dict.fromkeys(news.private_receipts))
        if moment.typing:
            touched.update(dict.fromkeys(m.room_id for m in rooms.joined() if m.room in moment.typing))
        if request.full_state:
            touched.update(dict.fromkeys(m.room_id for m in rooms.joined()))
        return touched

    # Gathering

    async def _load(self, request: SyncRequest, memberships: Iterable[Membership]) -> None:
        """Those of the rooms that are gathered as a whole and not in memory yet, in few reads."""
        leaves = ("leave", "ban") if request.filter.room.include_leave else ()
        room_ids = [
            one.room_id
            for one in memberships
            if not one.is_afar
            and one.membership in ("join", *leaves)
            and self._heads.at_hand(one.room_id) is None
        ]
        if room_ids:
            await self._heads.load(room_ids, request.user_id)

    async def _room(self, membership: Membership) -> Room:
        room = self._heads.at_hand(membership.room_id) or await self._heads.get(membership.room_id)
        if room is None:
            raise LookupError(f"a membership names the room {membership.room_id}, which is not in the store")
        return room

    async def _waits_for_members(self, request: SyncRequest, membership: Membership) -> bool:
        """Whether the room is for clients only that load members lazily, as its members are still to come (MSC3902)."""
        if membership.membership != "join" or lazily(request.filter):
            return False
        head = (await self._room(membership)).head
        return head is not None and head.partial

    async def _gather_whole(
        self, request: SyncRequest, membership: Membership, moment: Moment, news: RoomNews | None
    ) -> _Work:
        room = await self._room(membership)
        own = 0
        if membership.membership == "join":
            known = news.last if news is not None else 0
            version = known or await self._timelines.version_at(room, moment.until)
        else:
            own = membership.event
            version = await self._timelines.version_of(own)
        timeline = request.filter.room.timeline
        gathered = await self._timelines.whole(room, request.user_id, version, timeline, own=own)
        if membership.membership == "join":
            gathered.summary = await self._sections.summary(room, request.user_id)
            if news is not None:
                # What the client may have from an earlier stay doesn't join up with this.
                gathered.limited = True
        else:
            gathered.stay_end = await self._timelines.stay_end(request.user_id, membership.event)
        if gathered.stay_end != 0:
            await self._sections.whole_state(request, gathered, moment.sent, moment.token)
        if gathered.stay_end is not None:
            await self._sections.own_membership(request, gathered, membership.event)
        return _Work(membership, room, news, gathered, whole=True)

    async def _gather_joined(
        self, request: SyncRequest, membership: Membership, news: News, moment: Moment
    ) -> _Work:
        room_news = news.rooms.get(membership.room_id)
        room = await self._room(membership)
        if membership.room_id in news.memberships and room_news is not None:
            before = await self._membership_before(room, request.user_id, room_news)
            if before != "join":
                return await self._gather_whole(request, membership, moment, room_news)
        came = room_news is not None and room_news.first <= room.completed <= room_news.last
        if came and room.completed and not lazily(request.filter):
            # The client heard nothing of the room before its members had come.
            return await self._gather_whole(request, membership, moment, room_news)
        if room_news is None or room_news.last == 0:
            version = await self._timelines.version_at(room, moment.until)
            gathered = Gathered(room, version)
            if request.full_state:
                await self._sections.whole_state(request, gathered, moment.sent, moment.token)
            return _Work(membership, room, room_news, gathered, whole=False)
        timeline = request.filter.room.timeline
        gathered = await self._timelines.since(room, request.user_id, room_news, room_news.last, timeline)
        if not room_news.at_hand() or any(_concerns_summary(item) for item in room_news.items):
            gathered.summary = await self._sections.summary(room, request.user_id)
        if request.full_state:
            await self._sections.whole_state(request, gathered, moment.sent, moment.token)
        else:
            await self._sections.changed_state(request, gathered, room_news.first, moment.sent, moment.token)
        return _Work(membership, room, room_news, gathered, whole=False)

    async def _gather_left(
        self, request: SyncRequest, membership: Membership, news: News, moment: Moment
    ) -> _Work:
        room = await self._room(membership)
        room_news = news.rooms.get(membership.room_id) or RoomNews()
        last = await self._timelines.version_of(membership.event)
        if room_news.first == 0 or room_news.first > last:
            room_news = RoomNews(first=last, last=last)
        before = await self._membership_before(room, request.user_id, room_news)
        timeline = request.filter.room.timeline
        own = membership.event
        gathered = await self._timelines.since(room, request.user_id, room_news, last, timeline, own=own)
        gathered.stay_end = await self._timelines.stay_end(request.user_id, own)
        if before == "join":
            await self._sections.changed_state(request, gathered, room_news.first, moment.sent, moment.token)
        else:
            # Who came and went between two syncs was not told what happened before they came.
            gathered.limited = True
            if gathered.stay_end >= room_news.first:
                await self._sections.whole_state(request, gathered, moment.sent, moment.token)
        await self._sections.own_membership(request, gathered, own)
        return _Work(membership, room, room_news, gathered, whole=False)

    async def _forgotten(self, request: SyncRequest, room_id: str) -> Membership | None:
        """The user's membership of a room that they left since their token, and have forgotten already."""
        membership = await rooms_store.membership(self._database, request.user_id, room_id)
        if membership is None or request.since is None or membership.membership not in ("leave", "ban"):
            return None
        known = await timeline_store.version_at(self._database, membership.room, request.since.position)
        left = await self._timelines.version_of(membership.event)
        return membership if known is not None and left > known else None

    async def _membership_before(self, room: Room, user_id: str, news: RoomNews) -> str:
        """The user's membership before the news began."""
        if news.at_hand():
            for item in news.items:
                event = item.kept.event
                if event.type == MEMBER and event.state_key == user_id:
                    return read_membership(item.replaced.event.content if item.replaced is not None else None)
        root = await timeline_store.root_at(self._database, room.nid, news.first - 1)
        if root is None:
            return read_membership(None)
        key = (MEMBER, user_id)
        nids = await state_store.keys_at(self._database, root, [key])
        return await self._timelines.membership_of(nids.get(key))

    # Shaping

    async def _shape(
        self,
        request: SyncRequest,
        works: Sequence[_Work],
        moment: Moment,
        answer: RoomsAnswer,
        news: News | None = None,
    ) -> None:
        if not works:
            return
        slices = Slices()
        shaper = await self._sections.shaper(request, [work.gathered for work in works])
        room_data = await self._ephemera.account_data(
            request, [work.membership.room_id for work in works], news
        )
        for first in range(0, len(works), _PORTION):
            portion = works[first : first + _PORTION]
            new = [work.room for work in portion if work.whole and work.membership.membership == "join"]
            standing = await self._ephemera.standing(request, new)
            await self._unread.prepare(new, request.user_id)
            for work in portion:
                if work.membership.membership == "join":
                    receipts = standing.get(work.room.nid, ()) if work.whole else None
                    section = await self._joined(request, work, receipts, moment, shaper, room_data, news)
                    if section is not None:
                        answer.join.append((_key(work.membership), section))
                else:
                    answer.leave.append((_key(work.membership), self._left(request, work, shaper, room_data)))
                await slices.breathe()

    async def _joined(
        self,
        request: SyncRequest,
        work: _Work,
        standing: Sequence[Receipt] | None,
        moment: Moment,
        shaper: EventShaper,
        room_data: Mapping[str, bytes],
        news: News | None,
    ) -> bytes | None:
        gathered = work.gathered
        parts: list[tuple[bytes, bytes]] = []
        if gathered.timeline or gathered.limited or work.whole:
            parts.append((b'"timeline"', self._sections.timeline(gathered, shaper)))
        if gathered.state or work.whole:
            parts.append((_state_key(request), self._sections.state(gathered, shaper)))
        ephemeral = await self._ephemera.of_room(
            request,
            work.room,
            work.news,
            standing=standing,
            typing=work.room.nid in moment.typing,
            private=news is not None and work.membership.room_id in news.private_receipts,
        )
        wanted = request.filter.room.ephemeral
        if ephemeral is not None or (work.whole and wanted.wants_room(work.membership.room_id)):
            # COMPAT(complement): a room that is new to a client has the section, be it empty.
            parts.append((b'"ephemeral"', ephemeral if ephemeral is not None else events_json([])))
        data = room_data.get(work.membership.room_id)
        if data is not None:
            parts.append((b'"account_data"', data))
        counted = news is not None and work.membership.room_id in news.unread
        if not parts and not counted:
            return None
        if request.use_state_after and not (gathered.state or work.whole):
            parts.append((_state_key(request), events_json([])))
        if gathered.summary is not None:
            parts.append((b'"summary"', orjson.dumps(gathered.summary)))
        parts += await self._unread_parts(request, work.room)
        return object_json(parts)

    async def _unread_parts(self, request: SyncRequest, room: Room) -> list[tuple[bytes, bytes]]:
        counts = await self._unread.of(room, request.user_id)
        by_thread = request.filter.room.timeline.unread_thread_notifications
        if not by_thread:
            return [(b'"unread_notifications"', counts.all_threads().json())]
        parts = [(b'"unread_notifications"', counts.main.json())]
        if counts.threads:
            threads = [(orjson.dumps(root), thread.json()) for root, thread in counts.threads.items()]
            parts.append((b'"unread_thread_notifications"', object_json(threads)))
        return parts

    def _left(
        self, request: SyncRequest, work: _Work, shaper: EventShaper, room_data: Mapping[str, bytes]
    ) -> bytes:
        parts = [
            (b'"timeline"', self._sections.timeline(work.gathered, shaper)),
            (_state_key(request), self._sections.state(work.gathered, shaper)),
        ]
        data = room_data.get(work.membership.room_id)
        if data is not None:
            parts.append((b'"account_data"', data))
        return object_json(parts)


def _state_key(request: SyncRequest) -> bytes:
    return b'"state_after"' if request.use_state_after else b'"state"'


def _concerns_summary(item: TimelineItem) -> bool:
    """Whether an event may change who is in the room, or whether it is named after them."""
    return item.kept.event.state_key is not None and item.kept.event.type in _SUMMARISED


def _key(membership: Membership) -> bytes:
    return orjson.dumps(membership.room_id)
