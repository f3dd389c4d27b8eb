"""Registration by whoever knows the shared secret of this server: it works where registration is closed.

The request proves the secret with an HMAC over a nonce that the server gave a moment ago; so it can't be replayed.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from typing import Any

from ranvier.accounts.passwords import LONGEST
from ranvier.accounts.registration import NewAccount, Registration
from ranvier.accounts.sessions import Session, Wish
from ranvier.protocol.refusal import Refusal, bad_json
from ranvier.store import registration_tokens
from ranvier.store.database import Transaction
from ranvier.store.writer import Writer

NONCE_MS = 60_000
_NONCES = 1000
_USER_TYPES = ("bot", "support")


def mac_of(secret: str, nonce: str, username: str, password: str, admin: bool, user_type: str | None) -> str:
    """HMAC-SHA1 in hex over the parts, with a NUL between them."""
    parts = [nonce, username, password, "admin" if admin else "notadmin"]
    if user_type:
        parts.append(user_type)
    return hmac.new(secret.encode(), "\0".join(parts).encode(), hashlib.sha1).hexdigest()


class SharedSecretRegistration:
    """Gives out nonces, and makes the accounts that are asked for with the right MAC."""

    def __init__(
        self, secret: str | None, writer: Writer, registration: Registration, now: Callable[[], int]
    ) -> None:
        self._secret = secret
        self._writer = writer
        self._registration = registration
        self._now = now

    async def give_nonce(self) -> str:
        """A new nonce, good for one request within a minute."""
        self._known_secret()
        nonce, now = secrets.token_hex(64), self._now()
        await self._writer.run(
            lambda transaction: registration_tokens.add_nonce(
                transaction, nonce, now + NONCE_MS, now, _NONCES
            )
        )
        return nonce

    async def register(self, body: dict[str, Any]) -> tuple[str, Session | None]:
        """Make the account; answers the user id, and its first login unless it wants none.

        The checks come in the order that scripts rely on. The nonce is spent as soon as it is known, whatever follows.
        """
        secret = self._known_secret()
        await self._spend(body.get("nonce"))
        username = _text(body, "username")
        password = _text(body, "password")
        user_type = body.get("user_type")
        if user_type is not None and user_type not in _USER_TYPES:
            raise Refusal("M_UNKNOWN", f"The user type must be one of {', '.join(_USER_TYPES)}.")
        admin = body.get("admin", False) is True
        self._check_mac(body, mac_of(secret, body["nonce"], username, password, admin, user_type))
        refreshable = body.get("refresh_token", False)
        if not isinstance(refreshable, bool):
            raise Refusal("M_UNKNOWN", "'refresh_token' must be true or false.")
        user_id = self._registration.user_id_of(username)
        wish = Wish(_optional(body, "device_id"), _optional(body, "initial_device_display_name"), refreshable)
        new = NewAccount(user_id, password, admin, user_type, displayname=_optional(body, "displayname"))
        session = await self._registration.create(new, None if body.get("inhibit_login") is True else wish)
        return user_id, session

    def _known_secret(self) -> str:
        if self._secret is None:
            raise Refusal("M_UNKNOWN", "Registration with a shared secret is not configured on this server.")
        return self._secret

    async def _spend(self, nonce: Any) -> None:
        if nonce is None:
            raise bad_json("The body lacks 'nonce'.")
        now = self._now()

        async def write(transaction: Transaction) -> bool:
            return await registration_tokens.take_nonce(transaction, nonce, now)

        known = isinstance(nonce, str) and nonce.isalnum() and await self._writer.run(write)
        if not known:
            raise Refusal("M_UNKNOWN", "The nonce is unknown, expired or already used: get a new one.")

    def _check_mac(self, body: dict[str, Any], right: str) -> None:
        given = body.get("mac")
        if given is None:
            raise bad_json("The body lacks 'mac'.")
        if not isinstance(given, str) or not hmac.compare_digest(given.encode(), right.encode()):
            raise Refusal("M_UNKNOWN", "The MAC is wrong: is it made with this server's secret?", status=403)


def _text(body: dict[str, Any], key: str) -> str:
    value = body.get(key)
    if value is None or value == "":
        raise bad_json(f"The body lacks '{key}'.")
    if not isinstance(value, str) or len(value) > LONGEST or "\0" in value:
        raise Refusal("M_UNKNOWN", f"'{key}' must be a string of at most {LONGEST} characters, without NUL.")
    return value


def _optional(body: dict[str, Any], key: str) -> str | None:
    value = body.get(key)
    if value is not None and (not isinstance(value, str) or "\0" in value):
        raise Refusal("M_UNKNOWN", f"'{key}' must be a string without NUL.")
    return value
