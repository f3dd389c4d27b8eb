"""Users' push rules: read, and changed one at a time."""

from collections.abc import Callable
from typing import Any

import orjson

from ranvier.protocol.push_rules import NO_CHANGES, PushRules, changes_json, parse_changes, ruleset_json
from ranvier.rooms.preferences import Preferences
from ranvier.store import push_rules as store
from ranvier.store.database import Entry, Transaction
from ranvier.store.log import Kind
from ranvier.store.writer import Writer

Change = Callable[[PushRules], PushRules]


class PushRuleBook:
    """Every user's push rules."""

    def __init__(self, writer: Writer, preferences: Preferences) -> None:
        self._writer = writer
        self._preferences = preferences

    async def of(self, user_id: str) -> PushRules:
        """A user's rules."""
        return (await self._preferences.of(user_id)).rules

    async def ruleset(self, user_id: str) -> dict[str, Any]:
        """A user's rules as clients get them, by kind."""
        return ruleset_json(await self.of(user_id), user_id)

    async def change(self, user_id: str, change: Change) -> None:
        """Apply a change to the rules as they stand when it is written; refuses what the change refuses."""

        async def write(transaction: Transaction) -> None:
            stored = await store.of(transaction, user_id)
            rules = parse_changes(orjson.loads(stored)) if stored is not None else NO_CHANGES
            changed = change(rules)
            if changed == rules:
                return
            await store.write(transaction, user_id, orjson.dumps(changes_json(changed)).decode())
            transaction.announce(Entry(Kind.PUSH_RULES, user_id, ""))

        await self._writer.run(write)
