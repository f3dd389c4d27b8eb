"""Who is there: kept in memory, told to those who share a room, in batches. Only status messages are stored.

Whoever syncs is there until some time after their last sync, and active when they send or read something, which the
log tells. A change draws a number from the same counter as typing; sync asks for the users who changed since a number,
and most of the time there are none. Those who wait are woken for changes at most every half second, and not in rooms
that many follow: there they hear of it with the next news.

Source: Client-Server API, "Presence".
"""

import asyncio
import heapq
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, Final, NamedTuple

import orjson

from ranvier.protocol.presence import (
    MAX_UPDATES,
    OFFLINE,
    ONLINE,
    UNAVAILABLE,
    PeerUpdate,
    Presence,
    PresenceTimes,
    decide,
    read_updates,
)
from ranvier.rooms.heads import MEMBER
from ranvier.rooms.joined import UserRooms
from ranvier.rooms.moments import Moments
from ranvier.store import accounts as accounts_store
from ranvier.store import presence as store
from ranvier.store.database import Database, Entry, Transaction
from ranvier.store.log import Kind, room_audience
from ranvier.store.presence import Stored
from ranvier.store.writer import Writer

_KNOWN: Final = 200_000
"""Users of whom anything is remembered; beyond, those forgotten first who are offline for longest."""
_DEVICES: Final = 50
"""Devices of one user that count."""
_SECOND: Final = 1.0
_BATCH_SECONDS: Final = 0.5
_PAUSE_SECONDS: Final = 0.02
_AT_ONCE: Final = 200
"""Users who are looked at before others get a turn."""
_PEER_TRUST_MS: Final = 30 * 60_000
"""How long what a peer said of its user holds."""
_REPEAT_MS: Final = 25 * 60_000
"""After this time peers are told again of those who are still there."""


_SHARE_MS: Final = 30_000
"""After this time other processes are told again of those who are still there."""
_SHARED_MS: Final = 90_000
"""How long what another process said of a device holds that syncs."""
_LONGEST_MS: Final = 600_000
_ELSEWHERE: Final = "\0"
"""Begins the ids of devices at other processes."""
_TOLD_DEVICES: Final = 5


class Said(NamedTuple):
    """What one process knows of a user: of each device the state, and for how many milliseconds it holds."""

    user_id: str
    status_msg: str | None
    active_ago: int
    devices: Sequence[tuple[str, int]]


@dataclass(slots=True)
class Device:
    """What one device says of its user; it holds while `syncing` counts requests, and then until a time (ms)."""

    user_id: str
    state: str = OFFLINE
    syncing: int = 0
    until: int = 0


@dataclass(slots=True)
class _Known:
    """What is known of one user. `devices` is None for users of other servers, and `expires` only counts for them.

    `audiences` are the rooms that they are in. `due` is when the user is looked at again. `shared` is what other
    processes were told of the devices here, and when.
    """

    devices: dict[str, Device] | None
    audiences: frozenset[str]
    status_msg: str | None = None
    shown: Presence = field(default_factory=Presence)
    last_active: int = 0
    told: int = 0
    due: int | None = None
    expires: int = 0
    shared: tuple[str, ...] = ()
    shared_ts: int = 0


@dataclass(frozen=True, slots=True)
class PresenceRules:
    """Whether presence is followed at all, and how long things hold. With `shows_offline`, a client that has nothing
    yet is told of those who are offline too."""

    enabled: bool = True
    shows_offline: bool = False
    times: PresenceTimes = field(default_factory=PresenceTimes)


class Presences:
    """Everybody's presence. `wake` is called with the audiences that should hear of changes."""

    def __init__(
        self,
        rules: PresenceRules,
        writer: Writer,
        database: Database,
        user_rooms: UserRooms,
        moments: Moments,
        now: Callable[[], int],
    ) -> None:
        self.rules = rules
        self._writer = writer
        self._database = database
        self._user_rooms = user_rooms
        self._moments = moments
        self._now = now
        self._users: dict[str, _Known] = {}
        # In the order of their last change, and the users who are not offline.
        self._changes: dict[str, int] = {}
        self._there: dict[str, None] = {}
        self._due: list[tuple[int, str]] = []
        self._loud: set[str] = set()
        self._clock: asyncio.TimerHandle | None = None
        self._batch: asyncio.TimerHandle | None = None
        self._wake: Callable[[Collection[str]], None] | None = None
        self._listeners: list[Callable[[], None]] = []
        self._share: Callable[[Said], None] | None = None
        self._share_peers: Callable[[str, list[Any]], None] | None = None
        # Those of whom other processes were told, by when.
        self._shared: OrderedDict[str, int] = OrderedDict()
        self.counter = 0

    def listen(self, wake: Callable[[Collection[str]], None]) -> None:
        """Call this with the audiences that should hear of changes, in batches."""
        self._wake = wake

    def when_changed(self, call: Callable[[], None]) -> None:
        """Call this, in batches, when `local_changes` has something for peers."""
        self._listeners.append(call)

    def start(self) -> None:
        """Let time pass from now on."""
        self._clock = asyncio.get_running_loop().call_later(_SECOND, self._tick)

    def stop(self) -> None:
        """Stop the clocks."""
        for clock in (self._clock, self._batch):
            if clock is not None:
                clock.cancel()
        self._clock = None

    def _tick(self) -> None:
        # Where many go at once, others get their turn between.
        later = _SECOND if self.expire(_AT_ONCE) else _PAUSE_SECONDS
        self._tell_again(_AT_ONCE)
        self._clock = asyncio.get_running_loop().call_later(later, self._tick)

    # What users do

    async def arrive(self, user_id: str, device_id: str | None, state: str) -> Device | None:
        """A device begins to sync and says this of its user; None if that counts for nothing."""
        if state == OFFLINE or not self.rules.enabled:
            return None
        known = self._users.get(user_id) or await self._local(user_id)
        device = self._device(known, user_id, device_id)
        device.syncing += 1
        if device.state != state or known.shown.state == OFFLINE:
            device.state = state
            if known.shown.state == OFFLINE:
                known.last_active = self._now()
            self._settle(user_id, known)
        self._tell(user_id, known)
        return device

    def depart(self, device: Device | None) -> None:
        """That sync has ended: the device counts as there for a while yet."""
        if device is None:
            return
        device.syncing -= 1
        device.until = self._now() + self.rules.times.gone
        known = self._users.get(device.user_id)
        if known is not None and device.syncing == 0:
            self._look_again(device.user_id, known, device.until)

    async def set(self, user_id: str, device_id: str | None, state: str, status_msg: str | None) -> None:
        """A user says how they are; durable is the status message."""
        if not self.rules.enabled:
            return
        known = self._users.get(user_id) or await self._local(user_id)
        now = self._now()
        if status_msg != known.status_msg:

            async def write(transaction: Transaction) -> None:
                if status_msg is None:
                    await store.remove(transaction, user_id)
                else:
                    await store.write(transaction, user_id, status_msg, now)

            await self._writer.run(write)
        # It may have been forgotten meanwhile, for want of room.
        known = self._users.setdefault(user_id, known)
        known.status_msg = status_msg
        device = self._device(known, user_id, device_id)
        device.state, device.until = state, now + self.rules.times.gone
        if state == OFFLINE:
            for other in (known.devices or {}).values():
                other.state = OFFLINE
        elif state == ONLINE:
            known.last_active = now
        self._settle(user_id, known)
        self._tell(user_id, known, again=True)

    def heard(self, entries: Iterable[Entry]) -> None:
        """Follow the log: who sends or reads is active, and who joins a room is known there."""
        users = self._users
        if not users:
            return
        for entry in entries:
            if entry.kind == Kind.EVENT and entry.payload is not None:
                event = entry.payload.kept.event
                self._act(event.sender)
                if event.type == MEMBER:
                    self._move(event.state_key, event.content.get("membership"), entry.audience, here=False)
            elif entry.kind == Kind.RECEIPT:
                self._act(orjson.loads(entry.ref)[0])
            elif entry.kind == Kind.PRIVATE_RECEIPT:
                self._act(entry.audience)
            elif entry.kind == Kind.MEMBERSHIP and entry.payload is not None:
                new = entry.payload
                self._move(entry.audience, new.membership, room_audience(new.room), here=True)

    def _act(self, user_id: str) -> None:
        known = self._users.get(user_id)
        if known is None or not known.devices:
            return
        known.last_active = self._now()
        if known.shown.currently_active:
            return
        for device in known.devices.values():
            if device.state == UNAVAILABLE:
                device.state = ONLINE
        self._settle(user_id, known)

    def _move(self, user_id: str, membership: object, audience: str, *, here: bool) -> None:
        """A user of this server (`here`), or of another, came to a room or went."""
        known = self._users.get(user_id)
        if known is None or (known.devices is None) is here:
            return
        if membership == "join":
            known.audiences |= {audience}
        elif audience in known.audiences:
            known.audiences -= {audience}

    # What peers tell

    async def take(self, origin: str, content: Mapping[str, Any]) -> None:
        """An `m.presence` EDU of a peer; what in it can't be used is passed over."""
        push = content.get("push")
        if self._share_peers is not None and isinstance(push, list):
            self._share_peers(origin, push[:MAX_UPDATES])
        await self.hear(read_updates(content, origin))

    async def hear(self, updates: Sequence[PeerUpdate]) -> None:
        """What a peer says of its users; who shares no room with users of this server is nobody's business here."""
        if not self.rules.enabled or not updates:
            return
        rooms = await store.joined_rooms(self._database, [update.user_id for update in updates])
        now = self._now()
        for update in updates:
            found = rooms.get(update.user_id)
            if found is None:
                continue
            audiences = frozenset(room_audience(room) for room in found)
            known = self._users.get(update.user_id) or self._keep(update.user_id, _Known(None, audiences))
            known.audiences, known.status_msg = audiences, update.presence.status_msg
            known.last_active = now - update.last_active_ago
            known.expires = now + _PEER_TRUST_MS
            self._look_again(update.user_id, known, known.expires)
            self._show(update.user_id, known, update.presence)

    # Other processes

    def share_by(self, share: Callable[[Said], None], share_peers: Callable[[str, list[Any]], None]) -> None:
        """Tell other processes of the devices here by the one, of what peers say by the other."""
        self._share, self._share_peers = share, share_peers

    def tell_all(self) -> None:
        """Another process begins: tell it of all who are here."""
        for user_id in list(self._shared):
            known = self._users.get(user_id)
            if known is not None:
                self._tell(user_id, known, again=True)

    def _tell(self, user_id: str, known: _Known, *, again: bool = False) -> None:
        """Tell other processes of the user's devices here, where they don't know."""
        if self._share is None or known.devices is None:
            return
        now = self._now()
        own = [one for key, one in known.devices.items() if not key.startswith(_ELSEWHERE)][-_TOLD_DEVICES:]
        states = tuple(one.state for one in own)
        if not again and states == known.shared and now - known.shared_ts < _SHARE_MS:
            return
        if not (states or known.shared or again):
            return
        known.shared, known.shared_ts = states, now
        self._shared[user_id] = now
        self._shared.move_to_end(user_id)
        devices = [(one.state, _SHARED_MS if one.syncing else max(0, one.until - now)) for one in own]
        self._share(Said(user_id, known.status_msg, max(0, now - known.last_active), devices))

    def _tell_again(self, most: int) -> None:
        """Those who are still here, of whom the others were told long ago."""
        now = self._now()
        while self._shared and most:
            user_id, told = next(iter(self._shared.items()))
            if now - told < _SHARE_MS:
                return
            del self._shared[user_id]
            known = self._users.get(user_id)
            if known is not None and known.shared:
                most -= 1
                self._tell(user_id, known, again=True)

    async def hear_elsewhere(self, process: str, said: Said) -> None:
        """What another process says of a user of this server."""
        if not self.rules.enabled:
            return
        known = self._users.get(said.user_id)
        if known is None:
            if not said.devices:
                return
            known = await self._local(said.user_id)
        if known.devices is None:
            return
        mark, now = _ELSEWHERE + process, self._now()
        for key in [key for key in known.devices if key.startswith(mark)]:
            del known.devices[key]
        for number, (state, left) in enumerate(said.devices[:_TOLD_DEVICES]):
            until = now + min(left, _LONGEST_MS)
            known.devices[f"{mark}{number}"] = Device(said.user_id, state, until=until)
        known.status_msg = said.status_msg
        known.last_active = max(known.last_active, now - said.active_ago)
        self._settle(said.user_id, known)

    # Time

    def expire(self, most: int = _KNOWN) -> bool:
        """Look at those whose presence changes with time; False if there are more than `most` of them."""
        now = self._now()
        while self._due and self._due[0][0] <= now:
            if most == 0:
                return False
            most -= 1
            due, user_id = heapq.heappop(self._due)
            known = self._users.get(user_id)
            if known is None or known.due != due:
                continue
            known.due = None
            if known.devices is None:
                if known.expires <= now:
                    self._show(user_id, known, Presence(OFFLINE, known.status_msg))
                else:
                    self._look_again(user_id, known, known.expires)
                continue
            self._settle(user_id, known)
            if known.shown.state != OFFLINE and known.told + _REPEAT_MS <= now:
                self._note(user_id, known, loud=False)
        return True

    def _look_again(self, user_id: str, known: _Known, at: int) -> None:
        if known.due is None or at < known.due:
            known.due = at
            heapq.heappush(self._due, (at, user_id))

    def _settle(self, user_id: str, known: _Known) -> None:
        """Find out what the user's devices and activity make of them, and show that."""
        assert known.devices is not None
        now = self._now()
        for device_id, device in list(known.devices.items()):
            if not device.syncing and device.until <= now:
                del known.devices[device_id]
        said = [(one.state, None if one.syncing else one.until) for one in known.devices.values()]
        verdict = decide(said, known.last_active, now, self.rules.times)
        if verdict.state != OFFLINE:
            self._look_again(user_id, known, min(verdict.until or now + _REPEAT_MS, now + _REPEAT_MS))
        if known.shared:
            self._tell(user_id, known)
        self._show(user_id, known, Presence(verdict.state, known.status_msg, verdict.currently_active))

    def _show(self, user_id: str, known: _Known, shown: Presence) -> None:
        before, known.shown = known.shown, shown
        if shown.state == OFFLINE:
            self._there.pop(user_id, None)
        else:
            self._there[user_id] = None
        if before != shown:
            self._note(user_id, known, loud=before[:2] != shown[:2])

    def _note(self, user_id: str, known: _Known, *, loud: bool) -> None:
        """Number a change; a loud one wakes those who wait."""
        self.counter = self._moments.next()
        # Insertion order is order of change.
        self._changes.pop(user_id, None)
        self._changes[user_id] = self.counter
        known.told = self._now()
        if loud:
            self._loud.add(user_id)
        if self._clock is not None and self._batch is None:
            self._batch = asyncio.get_running_loop().call_later(_BATCH_SECONDS, self.flush)

    def flush(self) -> None:
        """Wake those who should hear of what changed."""
        self._batch = None
        loud, self._loud = self._loud, set()
        audiences = set(loud)
        for user_id in loud:
            known = self._users.get(user_id)
            if known is not None:
                audiences |= known.audiences
        if self._wake is not None and audiences:
            self._wake(audiences)
        for call in self._listeners:
            call()

    # Who is known

    async def _local(self, user_id: str) -> _Known:
        stored = await store.find(self._database, user_id)
        rooms = await self._user_rooms.of(user_id)
        # Another request may have been faster.
        known = self._users.get(user_id)
        if known is None:
            known = self._keep(user_id, _Known({}, rooms.joined_audiences))
            if stored is not None:
                known.status_msg, known.last_active = stored.status_msg, stored.set_ts
                known.shown = Presence(OFFLINE, stored.status_msg)
        return known

    def _keep(self, user_id: str, known: _Known) -> _Known:
        if len(self._users) >= _KNOWN:
            self._forget()
        self._users[user_id] = known
        return known

    def _forget(self) -> None:
        """Make room: those who are offline for longest first, and of the others those who changed longest ago."""
        order = [*(user for user in self._users if user not in self._changes), *self._changes]
        order.sort(key=lambda user: self._users[user].shown.state != OFFLINE)
        for user_id in order[: _KNOWN // 10]:
            del self._users[user_id]
            self._changes.pop(user_id, None)
            self._there.pop(user_id, None)

    def _device(self, known: _Known, user_id: str, device_id: str | None) -> Device:
        assert known.devices is not None
        device = known.devices.get(device_id or "")
        if device is None:
            if len(known.devices) >= _DEVICES:
                del known.devices[next(iter(known.devices))]
            device = known.devices[device_id or ""] = Device(user_id)
        return device

    # Reading

    def there(self) -> list[str]:
        """All who are not offline."""
        return list(self._there)

    def changed(self, counter: int) -> Iterator[str]:
        """The users whose presence changed since a counter, the latest first."""
        if counter >= self.counter:
            return iter(())
        return takewhile(lambda user: self._changes[user] > counter, reversed(self._changes))

    def is_in(self, user_id: str, audiences: frozenset[str]) -> bool:
        """Whether a user is known to be in one of these rooms."""
        known = self._users.get(user_id)
        return known is not None and not audiences.isdisjoint(known.audiences)

    def content(self, user_id: str) -> dict[str, object] | None:
        """What is shown of a user, None if nothing is known."""
        known = self._users.get(user_id)
        if known is None:
            return None
        ago = max(0, self._now() - known.last_active) if known.last_active else None
        return known.shown.content(ago)

    async def is_visible(self, reader: str, user_id: str) -> bool:
        """Whether a user's presence is for this reader: their own, and of those who share a room."""
        return reader == user_id or (
            "\0" not in user_id and await accounts_store.share_a_room(self._database, reader, user_id)
        )

    async def of(self, user_id: str) -> Mapping[str, object]:
        """What is shown of a user, or was when the process that followed it ended."""
        found = self.content(user_id)
        if found is None:
            found = self.offline(await store.find(self._database, user_id))
        return found

    async def offline_within(self, rooms: Sequence[int], limit: int) -> dict[str, Mapping[str, object]]:
        """Members of rooms who are offline, as far as anything is known of them."""
        stored = await store.of_rooms(self._database, rooms, limit) if self.rules.shows_offline else {}
        return {user: self.content(user) or self.offline(one) for user, one in stored.items()}

    def offline(self, stored: Stored | None) -> dict[str, object]:
        """What is shown of a user who was not here since the process began."""
        if stored is None:
            return Presence().content(None)
        return Presence(OFFLINE, stored.status_msg).content(max(0, self._now() - stored.set_ts))

    def local_changes(self, after: int) -> tuple[int, list[tuple[PeerUpdate, frozenset[str]]]]:
        """For those who tell peers: the counter now, and what changed of users of this server since a counter.

        With each, the audiences of the rooms whose servers shall hear of it. After a restart, begin with 0.
        """
        changed = [(user, self._users[user]) for user in self.changed(after)]
        return self.counter, [
            (self._update(user, known), known.audiences)
            for user, known in changed
            if known.devices is not None
        ]

    def local_within(self, audience: str) -> list[PeerUpdate]:
        """For a peer that is new in a room: the users of this server in it who are there."""
        there = [(user, self._users[user]) for user in self._there]
        return [
            self._update(user, known)
            for user, known in there
            if known.devices is not None and audience in known.audiences
        ]

    def _update(self, user_id: str, known: _Known) -> PeerUpdate:
        return PeerUpdate(user_id, known.shown, max(0, self._now() - known.last_active))
