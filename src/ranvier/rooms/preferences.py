"""What users want to be told of: their push rules and whom they ignore, in memory, filled from the log."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from ranvier.protocol.invite_permission import INVITE_PERMISSION, PROPOSED_PERMISSION, judge_invite
from ranvier.protocol.push_evaluation import DEFAULT_RULE_SET, RuleSet, compile_rules
from ranvier.protocol.push_rules import NO_CHANGES, PushRules, parse_changes, ruleset_json
from ranvier.store import push_rules as store
from ranvier.store.database import Database, Entry
from ranvier.store.log import Kind

_USERS = 20_000
_ROOMS = 20_000
_CHANGES = 10_000
"""The newest changes that rooms at hand can catch up with; who missed more is read anew."""
_IGNORED = "m.ignored_user_list"
_PERMISSIONS = (INVITE_PERMISSION, PROPOSED_PERMISSION)
_TOLD = tuple(f'"{kind}"]' for kind in (_IGNORED, *_PERMISSIONS))
"""How the log's entries on the account data end that preferences are made of."""


@dataclass(frozen=True, slots=True)
class Preference:
    """One user's rules, compiled, and whom they ignore."""

    rules: PushRules = NO_CHANGES
    rule_set: RuleSet = DEFAULT_RULE_SET
    ignored: frozenset[str] = frozenset()
    permissions: tuple[Any, ...] = ()

    def shows_invite_by(self, sender: str) -> bool:
        """Whether invites by a user are shown at all."""
        hidden = sender in self.ignored or any(
            judge_invite(one, sender) == "ignore" for one in self.permissions
        )
        return not hidden


PLAIN = Preference()


@dataclass(slots=True)
class _RoomWishes:
    """The members of a room with preferences, as of the change `seen`."""

    seen: int
    by_user: dict[str, Preference]
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Preferences:
    """Preferences by user, and for each room the members who have any.

    A room catches up with what changed (whose preferences, or whose membership of it) when it is asked for, so that
    one user's change costs nobody else a look at all members of a room.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._users: OrderedDict[str, Preference] = OrderedDict()
        self._rooms: OrderedDict[int, _RoomWishes] = OrderedDict()
        # (user, the room's number or None for all), of which the first has the number `_oldest`.
        self._changes: list[tuple[str, int | None]] = []
        self._oldest = 0

    @property
    def _newest(self) -> int:
        return self._oldest + len(self._changes)

    async def of(self, user_id: str) -> Preference:
        """A user's preferences."""
        while True:
            found = self._users.get(user_id)
            if found is not None:
                return found
            seen = self._newest
            rules = await store.of(self._database, user_id)
            ignored = await store.ignored_by(self._database, user_id)
            permissions = await store.invite_permissions(self._database, user_id, _PERMISSIONS)
            if user_id not in self._changed_since(seen, None):
                self._users[user_id] = _preference(rules, ignored, permissions)
                if len(self._users) > _USERS:
                    self._users.popitem(last=False)

    def at_hand(self, room: int) -> dict[str, Preference] | None:
        """The members of a room with preferences when it was last asked for, if they are in memory."""
        held = self._rooms.get(room)
        return held.by_user if held is not None else None

    async def of_room(self, room: int) -> dict[str, Preference]:
        """The members of a room who changed rules that may matter there, or ignore somebody."""
        held = self._rooms.get(room)
        if held is None or held.seen < self._oldest:
            held = await self._read(room)
        while held.seen < self._newest:
            async with held.lock:
                if held.seen < self._oldest:
                    held = await self._read(room)
                else:
                    await self._catch_up(room, held)
        return held.by_user

    async def _read(self, room: int) -> _RoomWishes:
        seen = self._newest
        users = await store.members_with_wishes(self._database, room)
        held = self._rooms[room] = _RoomWishes(seen, {user_id: await self.of(user_id) for user_id in users})
        if len(self._rooms) > _ROOMS:
            self._rooms.popitem(last=False)
        return held

    async def _catch_up(self, room: int, held: _RoomWishes) -> None:
        seen = self._newest
        changed = self._changed_since(held.seen, room)
        named = await store.with_wishes_among(self._database, room, sorted(changed)) if changed else ()
        for user_id in changed:
            preference = await self.of(user_id) if user_id in named else PLAIN
            if preference == PLAIN:
                held.by_user.pop(user_id, None)
            else:
                held.by_user[user_id] = preference
        held.seen = seen

    def _changed_since(self, seen: int, room: int | None) -> set[str]:
        changes = self._changes[max(0, seen - self._oldest) :]
        return {user_id for user_id, where in changes if where is None or where == room}

    async def push_rules_json(self, user_id: str) -> bytes:
        """The content of `m.push_rules`."""
        preference = await self.of(user_id)
        return orjson.dumps({"global": ruleset_json(preference.rules, user_id)})

    def heard(self, entries: Sequence[Entry]) -> None:
        """Follow the log."""
        for entry in entries:
            if entry.kind == Kind.PUSH_RULES or (
                entry.kind == Kind.ACCOUNT_DATA and entry.ref.endswith(_TOLD)
            ):
                self._users.pop(entry.audience, None)
                self._changes.append((entry.audience, None))
            elif entry.kind == Kind.MEMBERSHIP:
                where = entry.payload.room if entry.payload is not None else None
                self._changes.append((entry.audience, where))
        if len(self._changes) > _CHANGES:
            dropped = len(self._changes) - _CHANGES // 2
            del self._changes[:dropped]
            self._oldest += dropped


def _preference(rules: str | None, ignored: str | None, permissions: Sequence[str]) -> Preference:
    parsed = parse_changes(orjson.loads(rules)) if rules is not None else NO_CHANGES
    users = orjson.loads(ignored).get("ignored_users") if ignored is not None else None
    return Preference(
        parsed,
        compile_rules(parsed) if rules is not None else DEFAULT_RULE_SET,
        frozenset(users) if isinstance(users, dict) else frozenset(),
        tuple(map(orjson.loads, permissions)),
    )
