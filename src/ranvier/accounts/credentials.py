"""Who somebody says to be, and whether the password agrees.

Source: Client-Server API, "Identifier types".
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from ranvier.accounts.limits import AttemptLimits
from ranvier.accounts.passwords import Passwords
from ranvier.protocol.identifiers import MAX_IDENTIFIER_BYTES
from ranvier.protocol.refusal import Refusal, bad_json, forbidden
from ranvier.store import accounts, threepids
from ranvier.store.accounts import Account
from ranvier.store.database import Database, Transaction
from ranvier.store.writer import Writer

_WRONG = "The user name or the password is wrong."
_WAITING = 50
"""Attempts with passwords of one user that may wait for each other."""


@dataclass(slots=True)
class _Turn:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    wanted: int = 0


class Credentials:
    """Finds the account that an identifier means, and checks its password."""

    def __init__(
        self,
        server_name: str,
        database: Database,
        writer: Writer,
        passwords: Passwords,
        limits: AttemptLimits,
    ) -> None:
        self._server_name = server_name
        self._database = database
        self._writer = writer
        self._passwords = passwords
        self._limits = limits
        self._turns: dict[str, _Turn] = {}

    async def resolve(self, identifier: Mapping[str, Any]) -> str:
        """The user that the identifier means, as a user id, whether there is such a user or not.

        An address that nobody here has stands for itself, so that its password takes as long to refuse as any other.
        Refuses unknown forms.
        """
        kind = _text(identifier, "type")
        if kind == "m.id.user":
            return await self._user(_text(identifier, "user"))
        if kind == "m.id.thirdparty":
            return await self._owner(_text(identifier, "medium"), _text(identifier, "address"))
        if kind == "m.id.phone":
            number = identifier.get("phone", identifier.get("number"))
            if not isinstance(number, str):
                raise Refusal("M_MISSING_PARAM", "The identifier lacks 'phone'.")
            return await self._owner("msisdn", number)
        raise Refusal("M_UNKNOWN", "The identifier's type must be m.id.user, m.id.thirdparty or m.id.phone.")

    async def _user(self, name: str) -> str:
        user_id = name if name.startswith("@") else f"@{name}:{self._server_name}"
        if len(user_id) > MAX_IDENTIFIER_BYTES or "\0" in user_id:
            raise forbidden(_WRONG)
        if not user_id.endswith(f":{self._server_name}"):
            raise forbidden(f"This server has only users of {self._server_name}.")
        if user_id != user_id.lower() and not await accounts.exists(self._database, user_id):
            # Accounts of earlier days may have capitals; new ones have none.
            localpart, _, _ = user_id.partition(":")
            return f"{localpart.lower()}:{self._server_name}"
        return user_id

    async def _owner(self, medium: str, address: str) -> str:
        canonical = _canonical(medium, address)
        if "\0" in medium + canonical or len(canonical) > 512:
            raise forbidden(_WRONG)
        return await threepids.owner(self._database, medium, canonical) or f"{medium}:{canonical}"

    async def check(self, user_id: str, password: str) -> Account:
        """The account, if that is its password.

        Wrong passwords count against the limit "login_failed_attempts", which also stops the right one for a while.
        """
        async with self._turn(user_id):
            self._limits.check("login_failed_attempts", user_id)
            return await self._check(user_id, password)

    @asynccontextmanager
    async def _turn(self, user_id: str) -> AsyncIterator[None]:
        """One after the other for each user: many attempts at once must not overtake the count of failures."""
        turn = self._turns.setdefault(user_id, _Turn())
        if turn.wanted >= _WAITING:
            raise Refusal(
                "M_LIMIT_EXCEEDED", "Too many log in to this account at this moment.", retry_after_ms=5000
            )
        turn.wanted += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.wanted -= 1
            if not turn.wanted:
                del self._turns[user_id]

    async def _check(self, user_id: str, password: str) -> Account:
        account = await accounts.find(self._database, user_id)
        stored = account.password_hash if account is not None else None
        right = await self._passwords.verify(password, stored)
        if account is None or stored is None or not right:
            self._limits.count("login_failed_attempts", user_id)
            if account is not None and account.deactivated:
                raise Refusal("M_USER_DEACTIVATED", "This account has been deactivated.")
            raise forbidden(_WRONG)
        if account.deactivated:
            raise Refusal("M_USER_DEACTIVATED", "This account has been deactivated.")
        if self._passwords.is_dated(stored):
            await self._renew(user_id, password, stored)
        return account

    async def _renew(self, user_id: str, password: str, old: str) -> None:
        new = await self._passwords.hash(password)

        async def write(transaction: Transaction) -> bool:
            return await accounts.replace_password(transaction, user_id, old, new)

        await self._writer.run(write)


def check_open(account: Account) -> None:
    """Refuse an account that can't log in at present: deactivated or locked."""
    if account.deactivated:
        raise Refusal("M_USER_DEACTIVATED", "This account has been deactivated.")
    if account.locked:
        raise Refusal("M_USER_LOCKED", "This account is locked.", soft_logout=True)


def _text(mapping: Mapping[str, Any], key: str) -> str:
    value = mapping.get(key)
    if value is None:
        raise Refusal("M_MISSING_PARAM", f"The identifier lacks '{key}'.")
    if not isinstance(value, str):
        raise bad_json(f"The identifier's '{key}' must be a string.")
    return value


def _canonical(medium: str, address: str) -> str:
    """Mail addresses in lower case, telephone numbers as digits (appendices, "3PID Types")."""
    if medium == "msisdn":
        return "".join(character for character in address if character.isascii() and character.isdigit())
    return address.casefold()
