"""What users want to be told of: their push rules and whom they ignore, in memory, filled from the log."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from ranvier.protocol.push_evaluation import DEFAULT_RULE_SET, RuleSet, compile_rules
from ranvier.protocol.push_rules import NO_CHANGES, PushRules, parse_changes, ruleset_json
from ranvier.store import push_rules as store
from ranvier.store.database import Database, Entry
from ranvier.store.log import Kind

_USERS = 20_000
_ROOMS = 20_000
_IGNORED = "m.ignored_user_list"


@dataclass(frozen=True, slots=True)
class Preference:
    """One user's rules, compiled, and whom they ignore."""

    rules: PushRules = NO_CHANGES
    rule_set: RuleSet = DEFAULT_RULE_SET
    ignored: frozenset[str] = frozenset()


PLAIN = Preference()


class Preferences:
    """Preferences by user, and for each room the members who have any."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._users: OrderedDict[str, Preference] = OrderedDict()
        self._rooms: OrderedDict[int, dict[str, Preference]] = OrderedDict()
        self._changes = 0

    async def of(self, user_id: str) -> Preference:
        """A user's preferences."""
        while True:
            found = self._users.get(user_id)
            if found is not None:
                return found
            changes = self._changes
            rules = await store.of(self._database, user_id)
            ignored = await store.ignored_by(self._database, user_id)
            if changes == self._changes:
                self._users[user_id] = _preference(rules, ignored)
                if len(self._users) > _USERS:
                    self._users.popitem(last=False)

    def at_hand(self, room: int) -> dict[str, Preference] | None:
        """The members of a room with preferences, if they are in memory."""
        return self._rooms.get(room)

    async def of_room(self, room: int) -> dict[str, Preference]:
        """The members of a room who changed rules that may matter there, or ignore somebody."""
        while True:
            found = self._rooms.get(room)
            if found is not None:
                return found
            changes = self._changes
            users = await store.members_with_wishes(self._database, room)
            wishes = {user_id: await self.of(user_id) for user_id in users}
            if changes == self._changes:
                self._rooms[room] = wishes
                if len(self._rooms) > _ROOMS:
                    self._rooms.popitem(last=False)

    async def push_rules_json(self, user_id: str) -> bytes:
        """The content of `m.push_rules`."""
        preference = await self.of(user_id)
        return orjson.dumps({"global": ruleset_json(preference.rules, user_id)})

    def heard(self, entries: Sequence[Entry]) -> None:
        """Follow the log."""
        for entry in entries:
            if entry.kind == Kind.PUSH_RULES or (
                entry.kind == Kind.ACCOUNT_DATA and entry.ref.endswith(f'"{_IGNORED}"]')
            ):
                self._changes += 1
                self._users.pop(entry.audience, None)
                self._rooms.clear()
            elif entry.kind == Kind.MEMBERSHIP:
                self._changes += 1
                if entry.payload is None:
                    self._rooms.clear()
                else:
                    self._rooms.pop(entry.payload.room, None)


def _preference(rules: str | None, ignored: str | None) -> Preference:
    parsed = parse_changes(orjson.loads(rules)) if rules is not None else NO_CHANGES
    users = orjson.loads(ignored).get("ignored_users") if ignored is not None else None
    return Preference(
        parsed,
        compile_rules(parsed) if rules is not None else DEFAULT_RULE_SET,
        frozenset(users) if isinstance(users, dict) else frozenset(),
    )
