"""Whose devices a user must look at anew, or may forget (Client-Server API, "Tracking the device list for a user").

News come from the log, and are weighed against memberships before and after: a user counts as changed who published
or deleted keys, or with whom a room came to be shared; as left, with whom no room is shared any more.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

from ranvier.store import device_lists as store
from ranvier.store import events, state, timeline
from ranvier.store import sending as sending_store
from ranvier.store.database import Database, Reader
from ranvier.store.log import Kind, read_generation, read_horizon, read_tip, room_audience


@dataclass(slots=True)
class News:
    """What happened between two positions, as far as it may matter for one user.

    `told` are users whose keys changed for this user alone, or the user; `changed` those whose keys changed for a
    room; `own_rooms` the ids of rooms of which the user's own membership changed; `members` by room those with
    memberships that changed, and how often; `first` by room the first version of its timeline that is new; `completed`
    the rooms whose other members became known at last.
    """

    told: set[str] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)
    own_rooms: set[str] = field(default_factory=set)
    members: dict[int, dict[str, int]] = field(default_factory=dict)
    first: dict[int, int] = field(default_factory=dict)
    completed: set[int] = field(default_factory=set)


class DeviceLists:
    """Answers clients that were away for longer than their syncs tell."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def changes(self, user_id: str, generation: str, after: int) -> tuple[set[str], set[str]]:
        """Users changed and left since a sync that read the log of this generation up to `after`."""
        async with self._database.snapshot() as reader:
            rooms = await store.read_own_rooms(reader, user_id)
            until = await read_tip(reader)
            if generation != await read_generation(reader) or after > until:
                return await store.read_joined(reader, rooms), set()
            return await device_list_changes(reader, user_id, rooms, after, until)


async def device_list_changes(
    reader: Reader, user_id: str, rooms: Collection[int], after: int, until: int
) -> tuple[set[str], set[str]]:
    """Users changed and left for a user between two positions of the log; `rooms` are those joined now, by number.

    If the log does not reach back to `after`, all who share a room count as changed.
    """
    if after < await read_horizon(reader):
        return await store.read_joined(reader, rooms), set()
    return await weigh(reader, user_id, rooms, await read_news(reader, user_id, rooms, after, until))


async def read_news(reader: Reader, user_id: str, rooms: Collection[int], after: int, until: int) -> News:
    """The news of the log with `after < position <= until`."""
    news = News()
    audiences = [user_id, *map(room_audience, rooms)]
    for kind, audience, ref in await store.read_entries(reader, audiences, after, until):
        if kind == Kind.MEMBERSHIP:
            news.own_rooms.add(ref)
        else:
            (news.told if audience == user_id else news.changed).add(ref)
    followed = set(rooms)
    if news.own_rooms:
        followed |= set(await store.read_rooms_of(reader, user_id, news.own_rooms))
    first = await store.read_first_versions(reader, list(map(room_audience, followed)), after, until)
    news.first = {room: first[room_audience(room)] for room in followed if room_audience(room) in first}
    if news.first:
        news.members = await store.read_members_touched(reader, news.first)
        news.completed = await store.read_completed(reader, news.first)
    return news


async def weigh(
    reader: Reader, user_id: str, rooms: Collection[int], news: News
) -> tuple[set[str], set[str]]:
    """The users changed and left that the news amount to."""
    changed, gone = set(news.changed), set()
    entered, abandoned = await _own_moves(reader, user_id, news)
    completed = news.completed & set(rooms)
    if completed:
        changed |= await store.read_newcomers(reader, completed)
        for room in completed:
            changed |= set(await sending_store.read_devices_changed_while_partial(reader, room))
    if entered:
        changed |= await store.read_joined(reader, entered)
    if abandoned:
        gone |= await store.read_joined(reader, abandoned)
    for room, touched in news.members.items():
        before = await _joined_before(reader, room, news.first[room], touched)
        if room in abandoned:
            gone |= before
        elif room not in entered:
            now = await store.read_sharing(reader, touched, [room])
            # Who was in and is again may have been out in between, when their news went elsewhere.
            returned = {user for user, count in touched.items() if count > 1}
            changed |= (now - before) | (now & returned)
            gone |= before - now
    sharing = await store.read_sharing(reader, changed | gone, rooms)
    own = {user_id}
    # COMPAT(synapse): who enters a room is told of themselves, too, for the sake of their other devices.
    told = news.told | own if entered else news.told
    return ((changed & sharing) - own) | told, gone - sharing - own


async def _own_moves(reader: Reader, user_id: str, news: News) -> tuple[set[int], set[int]]:
    """Rooms that the user entered, and those that they left."""
    entered, abandoned = set(), set()
    if news.own_rooms:
        for room, joined in (await store.read_rooms_of(reader, user_id, news.own_rooms)).items():
            first = news.first.get(room)
            before = first is not None and bool(await _joined_before(reader, room, first, {user_id}))
            returned = news.members.get(room, {}).get(user_id, 0) > 1
            if joined and (returned or not before):
                entered.add(room)
            elif before and not joined:
                abandoned.add(room)
    return entered, abandoned


async def _joined_before(reader: Reader, room: int, first: int, user_ids: Collection[str]) -> set[str]:
    """Those of the users who were joined to the room before a version of its timeline."""
    root = await timeline.root_at(reader, room, first - 1)
    if root is None:
        return set()
    nids = await state.keys_at(reader, root, [("m.room.member", user_id) for user_id in user_ids])
    known = await events.by_nid(reader, list(nids.values()))
    return {
        user_id
        for (_, user_id), nid in nids.items()
        if nid in known and known[nid].event.content.get("membership") == "join"
    }
