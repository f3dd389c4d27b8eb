"""Registration tokens, as administrators give them out."""

import secrets
import string
from collections.abc import Callable
from dataclasses import replace

from ranvier.protocol.refusal import Refusal, invalid_param, not_found
from ranvier.store import registration_tokens as stored
from ranvier.store.database import Database, Transaction
from ranvier.store.registration_tokens import RegistrationToken
from ranvier.store.writer import Writer

LONGEST = 64
_LENGTH = 16
_CHARACTERS = string.ascii_letters + string.digits + "._~-"
_MOST = 2**53 - 1


class RegistrationTokens:
    """Makes, changes and takes back registration tokens."""

    def __init__(self, database: Database, writer: Writer, now: Callable[[], int]) -> None:
        self._database = database
        self._writer = writer
        self._now = now

    async def all(self, usable: bool | None) -> list[RegistrationToken]:
        """All tokens, or those that can (or can't) still be used."""
        return await stored.read_all(self._database, self._now(), usable)

    async def find(self, token: str) -> RegistrationToken:
        """One token; M_NOT_FOUND."""
        found = None if "\0" in token else await stored.find(self._database, token)
        if found is None:
            raise not_found("There is no such registration token.")
        return found

    async def create(
        self, token: str | None, length: int | None, uses_allowed: int | None, expiry_ts: int | None
    ) -> RegistrationToken:
        """A new token, drawn with `length` characters if it is not given."""
        self._check(uses_allowed, expiry_ts)
        if token is None:
            token = _draw(length if length is not None else _LENGTH)
        elif not 0 < len(token) <= LONGEST or not set(token) <= set(_CHARACTERS):
            raise invalid_param(f"A token has 1 to {LONGEST} characters, each one of A-Z a-z 0-9 . _ ~ -")
        made = RegistrationToken(token, uses_allowed, 0, 0, expiry_ts)

        async def write(transaction: Transaction) -> bool:
            return await stored.create(transaction, made.token, uses_allowed, expiry_ts)

        if not await self._writer.run(write):
            raise invalid_param("There is a registration token of that name.")
        return made

    async def change(self, token: str, limits: dict[str, int | None]) -> RegistrationToken:
        """Set `uses_allowed` or `expiry_ts` anew, whichever is given."""
        self._check(limits.get("uses_allowed"), limits.get("expiry_ts"))
        changed = replace(await self.find(token), **limits)  # type: ignore[arg-type]
        await self._writer.run(
            lambda transaction: stored.change(transaction, token, changed.uses_allowed, changed.expiry_ts)
        )
        return changed

    async def remove(self, token: str) -> None:
        """Take a token back; M_NOT_FOUND."""
        await self.find(token)
        await self._writer.run(lambda transaction: stored.remove(transaction, token))

    def _check(self, uses_allowed: int | None, expiry_ts: int | None) -> None:
        if uses_allowed is not None and not 0 <= uses_allowed <= _MOST:
            raise invalid_param("'uses_allowed' must be a whole number, or null.")
        if expiry_ts is not None and not self._now() <= expiry_ts <= _MOST:
            raise invalid_param(
                "'expiry_time' must be a time to come, in milliseconds since the epoch, or null."
            )


def _draw(length: int) -> str:
    if not 0 < length <= LONGEST:
        raise Refusal("M_INVALID_PARAM", f"'length' must lie between 1 and {LONGEST}.")
    return "".join(secrets.choice(_CHARACTERS) for _ in range(length))
