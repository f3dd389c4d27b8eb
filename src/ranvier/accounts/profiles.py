"""Profiles: display name, avatar, and any further fields.

Source: Client-Server API, "Profiles".
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from ranvier.accounts.requester import Requester
from ranvier.protocol.identifiers import BadIdentifier, parse_user_id
from ranvier.protocol.refusal import Refusal, bad_json, forbidden, invalid_param, not_found
from ranvier.store import accounts
from ranvier.store import profiles as stored
from ranvier.store.database import Database, Entry, Transaction
from ranvier.store.log import EVERYONE, Kind
from ranvier.store.writer import Writer

LARGEST = 64 * 1024
"""Bytes of a whole profile."""
_LONGEST_KEY = 255
_LONGEST_DISPLAYNAME = 256
_LONGEST_AVATAR_URL = 1000
_KEY = re.compile(r"avatar_url|displayname|m\.tz|[a-z][a-z0-9_-]*(\.[a-z0-9_-]+)+")
MEMBER_FIELDS = frozenset(stored.COLUMNS)
"""Fields that the user's memberships show."""

Changed = Callable[[str, Mapping[str, Any]], Awaitable[None]]
Fetch = Callable[[str], Awaitable[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class ProfileRules:
    """Which fields users may set, and who may look profiles up.

    Without `set_displayname` (`set_avatar_url`) a user may set it once and not change it. `only_shared_rooms` shows
    profiles only to those who have a room in common, `told_to_peers` also to other servers.
    """

    server_name: str
    set_displayname: bool = True
    set_avatar_url: bool = True
    need_token: bool = False
    only_shared_rooms: bool = False
    told_to_peers: bool = True


class Profiles:
    """Reads and writes profiles.

    `changed` is awaited with the user and the new display name or avatar (`None` if it was taken away): it brings the
    change into the user's rooms. `fetch` asks the server of a user who is not of this one.
    """

    def __init__(
        self, rules: ProfileRules, database: Database, writer: Writer, changed: Changed, fetch: Fetch
    ) -> None:
        self._rules = rules
        self._database = database
        self._writer = writer
        self._changed = changed
        self._fetch = fetch

    async def read(self, user_id: str, requester: Requester | None) -> dict[str, Any]:
        """All fields of a profile; M_NOT_FOUND if there is no such user, M_FORBIDDEN if it is not for this one."""
        server_name = _server_name(user_id)
        await self._check_may_see(user_id, requester)
        if server_name != self._rules.server_name:
            return await self._fetch(user_id)
        return await self._stored(user_id)

    async def _stored(self, user_id: str) -> dict[str, Any]:
        profile = await stored.read(self._database, user_id)
        if not profile and not await accounts.exists(self._database, user_id):
            raise not_found("There is no such user.")
        return profile

    async def tell(self, user_id: str, name: str | None) -> dict[str, Any]:
        """A local user's profile for another server, or one field of it. Raises `Refusal`."""
        if not self._rules.told_to_peers:
            raise forbidden("This server does not tell other servers of its users' profiles.")
        if _server_name(user_id) != self._rules.server_name:
            raise not_found("That user is not of this server.")
        profile = await self._stored(user_id)
        if name is None:
            return profile
        return {name: profile[name]} if name in profile else {}

    async def read_field(self, user_id: str, name: str, requester: Requester | None) -> Any:
        """One field; M_NOT_FOUND if it is not set."""
        _check_name(name)
        profile = await self.read(user_id, requester)
        if name not in profile:
            raise not_found(f"{name} is not set in this profile.")
        return profile[name]

    async def set_field(self, requester: Requester, user_id: str, name: str, value: Any) -> None:
        """Set a field of the requester's own profile (an administrator: of any local one)."""
        _check_name(name)
        value = _checked(name, value)
        await self._change(requester, user_id, name, value, remove=value is None and name in MEMBER_FIELDS)

    async def remove_field(self, requester: Requester, user_id: str, name: str) -> None:
        """Take a field away, if it is set."""
        _check_name(name)
        await self._change(requester, user_id, name, None, remove=True)

    async def _change(
        self, requester: Requester, user_id: str, name: str, value: Any, *, remove: bool
    ) -> None:
        await self._check_may_change(requester, user_id, name)

        async def write(transaction: Transaction) -> bool:
            profile = await stored.read(transaction, user_id)
            if (remove and name not in profile) or (
                not remove and name in profile and profile[name] == value
            ):
                return False
            if remove:
                del profile[name]
            else:
                profile[name] = value
            if len(orjson.dumps(profile)) > LARGEST:
                raise Refusal("M_PROFILE_TOO_LARGE", f"A profile has at most {LARGEST} bytes in all.")
            await stored.write(transaction, user_id, profile)
            transaction.announce(Entry(Kind.PROFILE, EVERYONE, user_id))
            return True

        if await self._writer.run(write) and name in MEMBER_FIELDS:
            await self._changed(user_id, {name: None if remove else value})

    async def _check_may_change(self, requester: Requester, user_id: str, name: str) -> None:
        if user_id != requester.user_id:
            requester.check_admin()
            if _server_name(user_id) != self._rules.server_name:
                raise invalid_param("That user is of another server.")
            if not await accounts.exists(self._database, user_id):
                raise not_found("There is no such user.")
        requester.check_not_suspended()
        if requester.is_guest and name != "displayname":
            raise Refusal("M_GUEST_ACCESS_FORBIDDEN", "Guests can only set their display name.")
        fixed = {"displayname": not self._rules.set_displayname, "avatar_url": not self._rules.set_avatar_url}
        if fixed.get(name) and not requester.is_admin and name in await stored.read(self._database, user_id):
            raise forbidden(f"This server does not let users change their {name}.")

    async def _check_may_see(self, user_id: str, requester: Requester | None) -> None:
        rules = self._rules
        if (rules.need_token or rules.only_shared_rooms) and requester is None:
            raise Refusal("M_MISSING_TOKEN", "This server shows profiles only to those who are logged in.")
        if not rules.only_shared_rooms or requester is None:
            return
        if requester.user_id == user_id or requester.is_admin:
            return
        if not await accounts.share_a_room(self._database, requester.user_id, user_id):
            raise forbidden("This server shows profiles only to those who share a room.")


def _server_name(user_id: str) -> str:
    try:
        return parse_user_id(user_id)[1]
    except BadIdentifier as error:
        raise invalid_param(str(error)) from error


def _check_name(name: str) -> None:
    if len(name.encode()) > _LONGEST_KEY:
        raise Refusal("M_KEY_TOO_LARGE", f"The name of a field has at most {_LONGEST_KEY} bytes.")
    if _KEY.fullmatch(name) is None:
        raise invalid_param(
            "A field is displayname, avatar_url, m.tz, or has a namespaced name such as org.example.colour."
        )


def _checked(name: str, value: Any) -> Any:
    """The value as it is kept; an empty display name or avatar is none.

    An avatar is whatever text the client gives, as with other servers: clients show nothing but mxc:// URIs.
    """
    if name not in MEMBER_FIELDS and name != "m.tz":
        return value
    if not isinstance(value, str):
        raise bad_json(f"{name} must be a string.")
    if name == "m.tz":
        return value
    longest = _LONGEST_DISPLAYNAME if name == "displayname" else _LONGEST_AVATAR_URL
    if len(value) > longest or "\0" in value:
        raise invalid_param(f"{name} has at most {longest} characters, and none of them is NUL.")
    return value or None
