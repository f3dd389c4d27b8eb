"""The presence of others in a sync answer."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import orjson

from ranvier.protocol.history_visibility import read_membership
from ranvier.rooms.heads import MEMBER, TimelineItem
from ranvier.rooms.joined import UserMemberships
from ranvier.rooms.moments import Moments
from ranvier.rooms.preferences import Preferences
from ranvier.rooms.presence import Presences
from ranvier.store.log import room_audience
from ranvier.sync.news import News
from ranvier.sync.request import SyncRequest
from ranvier.sync.shaping import events_json
from ranvier.sync.slices import Slices
from ranvier.sync.tokens import SyncToken

_MOST: Final = 2000
"""Users in one answer, the latest changed."""
_AT_ONCE: Final = 500


class PresenceNews:
    """Gathers and shapes `m.presence` events for one reader: who shares a room with them, and they themselves."""

    def __init__(self, presences: Presences, preferences: Preferences, moments: Moments) -> None:
        self.presences = presences
        self.moments = moments
        self._preferences = preferences

    async def whole(self, request: SyncRequest, rooms: UserMemberships) -> bytes | None:
        """All who are there; with `include_offline_users_on_sync`, also of whom else anything is known."""
        if not self._is_wanted(request):
            return None
        found = self._shown(await self._visible(request, self.presences.there(), rooms.joined_audiences))
        if self.presences.rules.shows_offline:
            joined = [membership.room for membership in rooms.joined()]
            found = {**await self.presences.offline_within(joined, _MOST), **found}
        return await self._json(request, found)

    async def since(
        self, request: SyncRequest, since: SyncToken, rooms: UserMemberships, news: News
    ) -> bytes | None:
        """Those who changed since a token, and those whom the reader has come to share a room with."""
        if not self._is_wanted(request):
            return None
        if request.full_state or since.epoch != self.moments.epoch:
            return await self.whole(request, rooms)
        changed = list(self.presences.changed(since.counter))
        users = dict.fromkeys(
            await self._visible(request, changed, rooms.joined_audiences) if changed else ()
        )
        if news.rooms:
            joined, entered = _arrivals(request.user_id, rooms, news)
            there = await self._visible(request, self.presences.there(), entered) if entered else ()
            users.update(dict.fromkeys([*joined, *there]))
        return await self._json(request, self._shown(users)) if users else None

    def _is_wanted(self, request: SyncRequest) -> bool:
        return self.presences.rules.enabled and not request.filter.presence.wants_none()

    async def _visible(
        self, request: SyncRequest, users: Sequence[str], audiences: frozenset[str]
    ) -> list[str]:
        """Those of the users who share one of these rooms, and the reader."""
        found, slices = [], Slices()
        for start in range(0, len(users), _AT_ONCE):
            found += [
                user
                for user in users[start : start + _AT_ONCE]
                if user == request.user_id or self.presences.is_in(user, audiences)
            ]
            await slices.breathe()
        return found

    def _shown(self, users: Iterable[str]) -> dict[str, Mapping[str, Any]]:
        contents = ((user, self.presences.content(user)) for user in users)
        return {user: content for user, content in contents if content is not None}

    async def _json(self, request: SyncRequest, found: Mapping[str, Mapping[str, Any]]) -> bytes | None:
        if not found:
            return None
        ignored = (await self._preferences.of(request.user_id)).ignored
        wanted = request.filter.presence
        events = [
            orjson.dumps({"type": "m.presence", "sender": user, "content": content})
            for user, content in found.items()
            if user not in ignored and wanted.wants("m.presence", user, content)
        ]
        events = events[: min(wanted.limit_or(_MOST), _MOST)]
        return events_json(events) if events else None


def _arrivals(user_id: str, rooms: UserMemberships, news: News) -> tuple[list[str], frozenset[str]]:
    """Users who came to the reader's rooms, and the audiences of rooms that the reader came to.

    Where the news of a room is not at hand, all in it count as new.
    """
    joined, entered = [], set()
    for room_id, room_news in news.rooms.items():
        membership = rooms.by_room.get(room_id)
        if membership is None or membership.membership != "join":
            continue
        came = [str(item.kept.event.state_key) for item in room_news.items if _is_arrival(item)]
        if user_id in came or (room_news.last and not room_news.at_hand()):
            entered.add(room_audience(membership.room))
        joined += came
    return joined, frozenset(entered)


def _is_arrival(item: TimelineItem) -> bool:
    event = item.kept.event
    if event.type != MEMBER or event.content.get("membership") != "join":
        return False
    return item.replaced is None or read_membership(item.replaced.event.content) != "join"
