"""Tokens with which a user proves to a third party who they are.

Source: Client-Server API, "OpenID"; Server-Server API, "OpenID".
"""

from collections.abc import Callable

from ranvier.accounts.tokens import OPENID, hash_token, make_token
from ranvier.protocol.refusal import Refusal
from ranvier.store import tokens
from ranvier.store.database import Database
from ranvier.store.writer import Writer

LIFETIME_S = 3600


class OpenIdTokens:
    """Gives them out, and tells whose they are."""

    def __init__(self, database: Database, writer: Writer, now: Callable[[], int]) -> None:
        self._database = database
        self._writer = writer
        self._now = now

    async def create(self, user_id: str) -> str:
        """A token that is good for an hour."""
        token, now = make_token(OPENID), self._now()
        expires = now + LIFETIME_S * 1000
        await self._writer.run(
            lambda transaction: tokens.add_purpose(
                transaction, hash_token(token), "openid", user_id, expires, now
            )
        )
        return token

    async def owner(self, token: str) -> str:
        """Whose token it is; M_UNKNOWN_TOKEN if it is unknown or expired."""
        user_id = await tokens.find_purpose(self._database, hash_token(token), "openid", self._now())
        if user_id is None:
            raise Refusal("M_UNKNOWN_TOKEN", "The OpenID token is unknown or has expired.")
        return user_id
