"""Names for rooms on this server: who may give and take them.

Source: Client-Server API, "Room aliases".
"""

import contextlib
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from ranvier.protocol.identifiers import BadIdentifier, check_room_alias, check_room_id, server_name_of
from ranvier.protocol.refusal import Refusal, forbidden, invalid_param, not_found
from ranvier.rooms.access import Accesses, is_joined
from ranvier.rooms.elsewhere import Elsewhere
from ranvier.rooms.heads import Head, Heads
from ranvier.rooms.naming_rules import NamingRules
from ranvier.rooms.powers import may_send_state
from ranvier.rooms.sending import Sending
from ranvier.store import rooms as store
from ranvier.store.database import Database, Transaction
from ranvier.store.writer import Writer

CANONICAL: Final = "m.room.canonical_alias"
MAX_ALIASES: Final = 250
"""Local aliases of one room."""
MAX_SERVERS: Final = 50
"""Servers of a remote alias that are kept."""


class Target(NamedTuple):
    """A room, and servers that should know it."""

    room_id: str
    servers: list[str]


class Aliases:
    """Aliases; those of this server are made and taken here, by the administrator's rules."""

    def __init__(
        self,
        server_name: str,
        database: Database,
        writer: Writer,
        heads: Heads,
        accesses: Accesses,
        sending: Sending,
        elsewhere: Elsewhere,
        rules: NamingRules,
    ) -> None:
        self.server_name = server_name
        self._database = database
        self._writer = writer
        self._heads = heads
        self._accesses = accesses
        self._sending = sending
        self._elsewhere = elsewhere
        self._rules = rules

    async def get(self, alias: str) -> Target:
        """The room that an alias points to: one of this server, or of another, which is asked."""
        _check(alias)
        if server_name_of(alias) != self.server_name:
            told = await self._elsewhere.alias(alias)
            check_room(told.room_id)
            return Target(told.room_id, told.servers[:MAX_SERVERS])
        found = await store.alias(self._database, alias)
        if found is None:
            raise not_found(f"There is no room with the alias {alias}.")
        return Target(found[0], [self.server_name])

    async def resolve(self, room_id_or_alias: str, named: Sequence[str] = ()) -> Target:
        """The room that an id or an alias means; servers that the requester `named` come first."""
        if not room_id_or_alias.startswith("#"):
            check_room(room_id_or_alias)
            return Target(room_id_or_alias, list(named))
        found = await self.get(room_id_or_alias)
        return Target(found.room_id, list(dict.fromkeys([*named, *found.servers])))

    async def create(self, user_id: str, alias: str, room_id: str) -> None:
        """Point a new alias to a room; a taken one is refused (409)."""
        check_local(alias, self.server_name)
        room = await self._heads.get(room_id) if "\0" not in room_id else None
        if room is None:
            raise not_found(f"This server knows no room {room_id[:255]}.")
        head = await self._heads.fault_in(room, [user_id])
        if self._rules.needs_membership and not is_joined(head, user_id):
            raise forbidden("Only members of a room may give it an alias.")
        self._rules.check_alias(user_id, room_id, alias)

        async def write(transaction: Transaction) -> None:
            if len(await store.aliases_of(transaction, room_id)) >= MAX_ALIASES:
                raise forbidden(f"A room can have at most {MAX_ALIASES} aliases on this server.")
            if not await store.insert_alias(transaction, alias, room_id, user_id):
                raise Refusal("M_UNKNOWN", f"The alias {alias} is taken.", status=409)

        await self._writer.run(write)

    async def delete(self, user_id: str, alias: str, *, is_admin: bool) -> None:
        """Take an alias away: its maker, an administrator, or who may set the room's canonical alias."""
        _check(alias)
        found = await store.alias(self._database, alias)
        if found is None:
            raise not_found(f"There is no room with the alias {alias}.")
        room_id, creator = found
        room = await self._heads.get(room_id)
        head = await self._heads.fault_in(room, [user_id]) if room is not None else None
        if not (is_admin or creator == user_id or _may_name(head, user_id)):
            raise forbidden(
                "Only its maker, or who may set the room's canonical alias, may delete this alias."
            )

        async def write(transaction: Transaction) -> None:
            await store.delete_alias(transaction, alias)

        await self._writer.run(write)
        if head is not None:
            await self._forget_in_state(user_id, room_id, head, alias)

    async def of_room(self, user_id: str, room_id: str) -> list[str]:
        """The room's local aliases, for members, or for all if the room is world-readable."""
        access = await self._accesses.of(user_id, room_id)
        if not access.is_current:
            raise forbidden(f"You are not in the room {room_id}.")
        return await store.aliases_of(self._database, room_id)

    async def _forget_in_state(self, user_id: str, room_id: str, head: Head, alias: str) -> None:
        """Take the alias out of the room's canonical aliases as well, if the user may."""
        content = head.content(CANONICAL)
        changed = without_aliases(content, {alias})
        if changed != content:
            with contextlib.suppress(Refusal):
                await self._sending.set_state(user_id, room_id, CANONICAL, "", changed)


def without_aliases(content: dict[str, Any], unwanted: set[str]) -> dict[str, Any]:
    """The content of a canonical alias event without these aliases."""
    changed = dict(content)
    if isinstance(content.get("alias"), str) and content["alias"] in unwanted:
        del changed["alias"]
    alternatives = content.get("alt_aliases")
    if isinstance(alternatives, list):
        kept = [alias for alias in alternatives if not (isinstance(alias, str) and alias in unwanted)]
        changed["alt_aliases"] = kept
        if not kept:
            del changed["alt_aliases"]
    return changed


def check_local(alias: str, server_name: str) -> None:
    """Refuse what can't be an alias of this server."""
    _check(alias)
    if server_name_of(alias) != server_name:
        raise invalid_param(f"Only aliases that end in ':{server_name}' can be made here.")
    if alias[1:2] == ":" or any(character.isspace() for character in alias):
        raise invalid_param("A room alias has a local part, and no spaces.")


def check_room(room_id: str) -> None:
    """Refuse what is no room id."""
    try:
        check_room_id(room_id)
    except BadIdentifier as error:
        raise invalid_param(f"This is neither a room ID nor a room alias: {error}") from error


def _check(alias: str) -> None:
    try:
        check_room_alias(alias)
    except BadIdentifier as error:
        raise invalid_param(str(error)) from error


def _may_name(head: Head | None, user_id: str) -> bool:
    return head is not None and is_joined(head, user_id) and may_send_state(head, user_id, CANONICAL)
