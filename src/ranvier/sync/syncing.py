"""GET /sync: the walk from a token to an answer.

News is read from the log's tail in memory, or from the log; rooms are gathered from their heads; where nothing is new,
the request waits until an entry for one of its audiences is committed.
"""

import asyncio
from collections.abc import Sequence

import orjson

from ranvier.encryption.device_lists import device_list_changes
from ranvier.rooms.heads import MEMBER
from ranvier.rooms.joined import UserMemberships, UserRooms
from ranvier.rooms.typing import Typing
from ranvier.store.database import Database
from ranvier.store.log import Tail, device_audience
from ranvier.sync import news as news_module
from ranvier.sync.answers import Moment, RoomAnswers, RoomsAnswer
from ranvier.sync.devices import Devices
from ranvier.sync.ephemera import Ephemera
from ranvier.sync.lazy_members import LazyMembers, SentMembers
from ranvier.sync.news import News, Trimmed
from ranvier.sync.request import SyncRequest
from ranvier.sync.sections import lazily
from ranvier.sync.shaping import events_json
from ranvier.sync.tokens import SyncToken
from ranvier.sync.waiting import Waiting

MAX_TIMEOUT = 180_000
"""Milliseconds for which a request may wait at most."""


class LogView:
    """The log as sync sees it: its newest entries, its generation, and how far back it reaches."""

    def __init__(self, database: Database, tail: Tail, generation: str, horizon: int) -> None:
        self.database = database
        self.tail = tail
        self.generation = generation
        self.horizon = horizon

    def knows(self, token: SyncToken) -> bool:
        """Whether the token can be continued from; otherwise its bearer needs a full answer."""
        return token.generation == self.generation and self.horizon <= token.position <= self.tail.tip


class Syncing:
    """Answers sync requests."""

    def __init__(
        self,
        log: LogView,
        user_rooms: UserRooms,
        waiting: Waiting,
        answers: RoomAnswers,
        ephemera: Ephemera,
        devices: Devices,
    ) -> None:
        self._log = log
        self._user_rooms = user_rooms
        self._waiting = waiting
        self._answers = answers
        self._ephemera = ephemera
        self._devices = devices
        self._lazy_members = LazyMembers()

    @property
    def _typing(self) -> Typing:
        return self._ephemera.typing

    async def sync(self, request: SyncRequest) -> bytes:
        """The answer's JSON, at once if there is news, or when there is, or when the timeout has passed."""
        presences = self._ephemera.presence.presences
        device = await presences.arrive(request.user_id, request.device_id, request.presence)
        try:
            return await self._answer(request)
        finally:
            presences.depart(device)

    async def _answer(self, request: SyncRequest) -> bytes:
        since = request.since
        if since is None or not self._log.knows(since):
            return await self._whole(request)
        try:
            return await self._continue(request, since)
        except Trimmed:
            return await self._whole(request)

    async def _continue(self, request: SyncRequest, since: SyncToken) -> bytes:
        if request.device_id is not None:
            await self._devices.acknowledge(request.user_id, request.device_id, since.to_device)
        if lazily(request.filter):
            self._lazy_members.of(request.user_id, request.device_id).arrive(str(since))
        moments = self._ephemera.presence.moments
        heard = moments.since(since.epoch, since.counter)
        if heard is not None:
            since = since._replace(epoch=moments.epoch, counter=heard)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + min(request.timeout, MAX_TIMEOUT) / 1000
        while True:
            rooms = await self._user_rooms.of(request.user_id)
            remaining = 0.0 if request.full_state else deadline - loop.time()
            if remaining <= 0:
                news = await self._read(request, since, rooms)
                answer = await self._since(request, since, rooms, news, must=True)
                assert answer is not None
                return answer
            session = self._waiting.session(request.user_id, _own(request), rooms.joined_audiences)
            wakes = session.wakes
            news = await self._read(request, since, rooms)
            if news or self._is_behind(since):
                early = session.early(request.device_id, loop.time())
                if early > 0:
                    # A busy room would otherwise cost an answer for every message, to everybody in it.
                    await asyncio.sleep(min(early, remaining))
                    continue
                answer = await self._since(request, since, rooms, news, must=False)
                if answer is not None:
                    session.answer(request.device_id, loop.time())
                    return answer
            if not await self._waiting.wait(session, wakes, remaining):
                # The time has passed, or the server stops.
                deadline = 0.0

    def _token(self, until: int, counter: int, to_device: int) -> SyncToken:
        return SyncToken(
            self._log.generation, until, self._ephemera.presence.moments.epoch, counter, to_device
        )

    # From the beginning

    async def _whole(self, request: SyncRequest) -> bytes:
        self._lazy_members.of(request.user_id, request.device_id).arrive(None)
        rooms = await self._user_rooms.of(request.user_id)
        until = self._log.tail.tip
        counter = self._ephemera.presence.moments.mark()
        typing = self._typing.changed([m.room for m in rooms.joined()], "", 0)
        messages, given = await self._messages(request, 0, until)
        token = self._token(until, counter, given)
        moment = Moment(until, str(token), self._sent(request, token), frozenset(typing))
        answer = await self._answers.whole(request, rooms, moment)
        account_data = await self._ephemera.global_account_data(request, None)
        presence = await self._ephemera.presence.whole(request, rooms)
        return await self._finish(request, token, answer, account_data, presence, messages, None)

    # Since a token

    async def _read(self, request: SyncRequest, since: SyncToken, rooms: UserMemberships) -> News:
        log = self._log
        return await news_module.read(
            log.database, log.tail, rooms, request.user_id, request.device_id, since.position
        )

    async def _since(
        self, request: SyncRequest, since: SyncToken, rooms: UserMemberships, news: News, *, must: bool
    ) -> bytes | None:
        """The answer; None if there is nothing in it for this reader and the request may wait."""
        counter = self._ephemera.presence.moments.mark()
        typing = self._changed_typing(since, rooms)
        presence = await self._ephemera.presence.since(request, since, rooms, news)
        behind = since.to_device < since.position
        if not (news or typing or presence or behind or must):
            return None
        messages: Sequence[bytes] = ()
        given = news.until
        if news.to_device or behind:
            messages, given = await self._messages(request, since.to_device, news.until)
        token = self._token(news.until, counter, given)
        moment = Moment(news.until, str(token), self._sent(request, token), typing)
        answer = await self._answers.since(request, rooms, news, moment)
        account_data = await self._ephemera.global_account_data(request, news)
        lists = await self._device_lists(request, since, rooms, news)
        if not (answer or account_data or presence or messages or lists or news.keys or must):
            return None
        return await self._finish(request, token, answer, account_data, presence, messages, lists)

    def _is_behind(self, since: SyncToken) -> bool:
        """Whether messages wait for the device, or something that passes away changed for anybody."""
        moments = self._ephemera.presence.moments
        return (
            since.to_device < since.position
            or since.epoch != moments.epoch
            or since.counter < moments.counter
        )

    def _changed_typing(self, since: SyncToken, rooms: UserMemberships) -> frozenset[int]:
        typing = self._typing
        if since.epoch == self._ephemera.presence.moments.epoch and since.counter >= typing.counter:
            return frozenset()
        return frozenset(typing.changed([m.room for m in rooms.joined()], since.epoch, since.counter))

    async def _messages(self, request: SyncRequest, after: int, until: int) -> tuple[Sequence[bytes], int]:
        if request.device_id is None:
            return (), until
        return await self._devices.messages(request.user_id, request.device_id, after, until)

    def _sent(self, request: SyncRequest, token: SyncToken) -> SentMembers | None:
        if not lazily(request.filter):
            return None
        sent = self._lazy_members.of(request.user_id, request.device_id)
        sent.expect(str(token))
        return sent

    async def _device_lists(
        self, request: SyncRequest, since: SyncToken, rooms: UserMemberships, news: News
    ) -> bytes | None:
        members = any(
            not room.at_hand() or any(item.kept.event.type == MEMBER for item in room.items)
            for room in news.rooms.values()
            if room.last
        )
        if not (news.device_lists or news.memberships or members):
            return None
        changed, left = await device_list_changes(
            self._log.database,
            request.user_id,
            [m.room for m in rooms.joined()],
            since.position,
            news.until,
        )
        if not (changed or left):
            return None
        return orjson.dumps({"changed": sorted(changed), "left": sorted(left)})

    async def _finish(
        self,
        request: SyncRequest,
        token: SyncToken,
        rooms: RoomsAnswer,
        account_data: bytes | None,
        presence: bytes | None,
        messages: Sequence[bytes],
        lists: bytes | None,
    ) -> bytes:
        parts = [b'"next_batch":"%b"' % str(token).encode()]
        if rooms:
            parts.append(b'"rooms":' + rooms.json())
        if account_data is not None:
            parts.append(b'"account_data":' + account_data)
        if presence is not None:
            parts.append(b'"presence":' + presence)
        if messages:
            parts.append(b'"to_device":' + events_json(messages))
        if lists is not None:
            parts.append(b'"device_lists":' + lists)
        if request.device_id is not None:
            parts.append(await self._devices.keys(request.user_id, request.device_id))
        return b"{%b}" % b",".join(parts)


def _own(request: SyncRequest) -> list[str]:
    if request.device_id is None:
        return [request.user_id]
    return [request.user_id, device_audience(request.user_id, request.device_id)]
