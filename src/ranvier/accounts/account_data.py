"""Account data and room tags.

Source: Client-Server API, "Client Config" and "Room Tagging".
"""

from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from ranvier.protocol.identifiers import BadIdentifier, check_room_id
from ranvier.protocol.refusal import Refusal, bad_json, invalid_param, not_found
from ranvier.store import account_data as stored
from ranvier.store.database import Database, Entry, Transaction
from ranvier.store.log import Kind
from ranvier.store.writer import Writer

TAG = "m.tag"
PUSH_RULES = "m.push_rules"
_SERVERS_OWN = frozenset({"m.fully_read", PUSH_RULES})
_DEVICE_SETTINGS = ("m.local_notification_settings.", "org.matrix.msc3890.local_notification_settings.")
_LONGEST_TYPE = 255
_LONGEST_TAG = 255
_TAGS = 500
_PIECES = 50_000

PushRulesOf = Callable[[str], Awaitable[bytes]]


class AccountDatas:
    """Reads and writes account data. `push_rules_of` gives the content of `m.push_rules`, which lies elsewhere."""

    def __init__(self, database: Database, writer: Writer, push_rules_of: PushRulesOf) -> None:
        self._database = database
        self._writer = writer
        self._push_rules_of = push_rules_of

    async def read(self, user_id: str, room_id: str | None, kind: str) -> dict[str, Any]:
        """The content of one piece; `room_id` is `None` for global data. M_NOT_FOUND if there is none."""
        _check_room(room_id)
        if room_id is None and kind == PUSH_RULES:
            rules: dict[str, Any] = orjson.loads(await self._push_rules_of(user_id))
            return rules
        content = None if "\0" in kind else await stored.find(self._database, user_id, room_id, kind)
        if content is None:
            raise not_found("There is no account data of that type.")
        found: dict[str, Any] = orjson.loads(content)
        return found

    async def write(self, user_id: str, room_id: str | None, kind: str, content: dict[str, Any]) -> None:
        """Keep one piece. Refuses types that the server itself writes (405 M_BAD_JSON).

        An empty content says nothing, and takes away what was there (MSC3391).
        """
        _check_room(room_id)
        _check_ours(kind)
        if not content:
            await self.remove(user_id, room_id, kind)
            return
        if not 0 < len(kind.encode()) <= _LONGEST_TYPE or "\0" in kind:
            raise invalid_param(f"A type has 1 to {_LONGEST_TYPE} bytes, and none of them is NUL.")
        text = orjson.dumps(content).decode()
        if await stored.find(self._database, user_id, room_id, kind) is None:
            await self._check_room_for_more(user_id)
        await self._writer.run(lambda transaction: _write(transaction, user_id, room_id, kind, text))

    async def remove(self, user_id: str, room_id: str | None, kind: str) -> None:
        """Take one piece away (MSC3391); syncs then give it with an empty content once."""
        _check_room(room_id)
        _check_ours(kind)

        async def write(transaction: Transaction) -> None:
            if await stored.remove(transaction, user_id, room_id, kind):
                _announce(transaction, user_id, room_id, kind)

        if "\0" not in kind:
            await self._writer.run(write)

    async def tags(self, user_id: str, room_id: str) -> dict[str, Any]:
        """The room's tags, with what is known of each."""
        _check_room(room_id)
        return _tags_of(await stored.find(self._database, user_id, room_id, TAG))

    async def set_tag(self, user_id: str, room_id: str, tag: str, content: dict[str, Any]) -> None:
        """Give the room a tag."""
        order = content.get("order")
        if order is not None and (isinstance(order, bool) or not isinstance(order, (int, float))):
            raise bad_json("'order' must be a number.")
        if order is not None and not 0 <= order <= 1:
            raise invalid_param("'order' must lie between 0 and 1.")
        if not 0 < len(tag.encode()) <= _LONGEST_TAG:
            raise invalid_param(f"A tag has 1 to {_LONGEST_TAG} bytes.")
        if not await self.tags(user_id, room_id):
            await self._check_room_for_more(user_id)

        def set_one(tags: dict[str, Any]) -> None:
            tags[tag] = content
            if len(tags) > _TAGS:
                raise Refusal("M_TOO_LARGE", f"A room has at most {_TAGS} tags.")

        await self._change_tags(user_id, room_id, set_one)

    async def remove_tag(self, user_id: str, room_id: str, tag: str) -> None:
        """Take a tag from the room, if it has it."""
        if tag in await self.tags(user_id, room_id):
            await self._change_tags(user_id, room_id, lambda tags: tags.pop(tag, None))

    async def _change_tags(
        self, user_id: str, room_id: str, change: Callable[[dict[str, Any]], object]
    ) -> None:
        async def write(transaction: Transaction) -> None:
            tags = _tags_of(await stored.find(transaction, user_id, room_id, TAG))
            change(tags)
            await _write(transaction, user_id, room_id, TAG, orjson.dumps({"tags": tags}).decode())

        await self._writer.run(write)

    async def _check_room_for_more(self, user_id: str) -> None:
        if await stored.count(self._database, user_id) >= _PIECES:
            raise Refusal("M_TOO_LARGE", f"An account has at most {_PIECES} pieces of account data.")


async def _write(
    transaction: Transaction, user_id: str, room_id: str | None, kind: str, content: str
) -> None:
    await stored.write(transaction, user_id, room_id, kind, content)
    _announce(transaction, user_id, room_id, kind)


async def forget_device_settings(transaction: Transaction, user_id: str, device_id: str) -> None:
    """Take away what the account keeps for one device, as that is gone (MSC3890)."""
    for prefix in _DEVICE_SETTINGS:
        kind = prefix + device_id
        if await stored.remove(transaction, user_id, None, kind):
            _announce(transaction, user_id, None, kind)


def _announce(transaction: Transaction, user_id: str, room_id: str | None, kind: str) -> None:
    transaction.announce(Entry(Kind.ACCOUNT_DATA, user_id, orjson.dumps([room_id, kind]).decode()))


def _check_ours(kind: str) -> None:
    if kind in _SERVERS_OWN:
        raise Refusal(
            "M_BAD_JSON", f"{kind} is written by the server: it has an endpoint of its own.", status=405
        )


def _check_room(room_id: str | None) -> None:
    if room_id is not None:
        try:
            check_room_id(room_id)
        except BadIdentifier as error:
            raise invalid_param(str(error)) from error


def _tags_of(content: str | None) -> dict[str, Any]:
    tags = orjson.loads(content).get("tags") if content is not None else None
    return tags if isinstance(tags, dict) else {}
