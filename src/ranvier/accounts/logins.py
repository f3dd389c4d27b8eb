"""Logging in, staying logged in, logging out.

Source: Client-Server API, "Login" and "Refreshing access tokens".
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ranvier.accounts.credentials import Credentials, check_open
from ranvier.accounts.limits import AttemptLimits
from ranvier.accounts.requester import Requester
from ranvier.accounts.sessions import (
    Session,
    Wish,
    end_all,
    end_devices,
    make_session,
    renew,
    write_session,
    write_tokens,
)
from ranvier.accounts.tokens import LOGIN, TokenLifetimes, announce_end, hash_token, make_token
from ranvier.protocol.refusal import Refusal, forbidden
from ranvier.store import accounts, tokens
from ranvier.store.database import Database, Transaction
from ranvier.store.writer import Writer


@dataclass(frozen=True, slots=True)
class LoginRules:
    """What this server lets log in.

    `tokens` are those that a client can get for another one of its user, after it confirmed itself with a password if
    `token_needs_password`.
    """

    passwords: bool = True
    tokens: bool = False
    token_needs_password: bool = True
    lifetimes: TokenLifetimes = field(default_factory=TokenLifetimes)


class Logins:
    """Opens, renews and ends logins."""

    def __init__(
        self,
        rules: LoginRules,
        database: Database,
        writer: Writer,
        credentials: Credentials,
        limits: AttemptLimits,
        now: Callable[[], int],
    ) -> None:
        self.rules = rules
        self._database = database
        self._writer = writer
        self._credentials = credentials
        self._limits = limits
        self._now = now

    def flows(self) -> list[dict[str, Any]]:
        """The ways to log in that this server offers."""
        offered: list[dict[str, Any]] = []
        if self.rules.passwords:
            offered.append({"type": "m.login.password"})
        if self.rules.tokens:
            offered.append({"type": "m.login.token", "get_login_token": True})
        return offered

    def check_tokens(self) -> None:
        """Refuse where clients get no login tokens for each other (M_UNRECOGNIZED)."""
        if not self.rules.tokens:
            raise Refusal("M_UNRECOGNIZED", "This server gives out no login tokens.")

    async def with_password(self, identifier: Mapping[str, Any], password: str, wish: Wish) -> Session:
        """Log in with a password; M_FORBIDDEN if it is wrong, M_USER_DEACTIVATED, M_USER_LOCKED."""
        if not self.rules.passwords:
            raise Refusal("M_UNKNOWN", "This server has no login with passwords; see GET /login.")
        user_id = await self._credentials.resolve(identifier)
        self._limits.count("login_account", user_id)
        check_open(await self._credentials.check(user_id, password))
        return await self.open(user_id, wish)

    async def with_token(self, token: str, wish: Wish) -> Session:
        """Log in with a token from `create_token`, which is spent thereby."""
        if not self.rules.tokens:
            raise Refusal("M_UNKNOWN", "This server has no login with tokens; see GET /login.")
        now, digest = self._now(), hash_token(token)
        user_id = await tokens.find_purpose(self._database, digest, "login", now)
        account = await accounts.find(self._database, user_id) if user_id is not None else None
        if account is None:
            raise _bad_login_token()
        check_open(account)
        session = make_session(self.rules.lifetimes, account.user_id, wish, now)

        async def write(transaction: Transaction) -> None:
            if await tokens.take_purpose(transaction, digest, "login", now) is None:
                raise _bad_login_token()
            await write_session(transaction, session, now)

        await self._writer.run(write)
        return session

    async def open(self, user_id: str, wish: Wish) -> Session:
        """A new login of a user whose identity is proven."""
        now = self._now()
        session = make_session(self.rules.lifetimes, user_id, wish, now)
        await self._writer.run(lambda transaction: write_session(transaction, session, now))
        return session

    async def create_token(self, requester: Requester) -> tuple[str, int]:
        """A token with which another client can log in once as the requester; and its life in milliseconds."""
        self.check_tokens()
        now, token = self._now(), make_token(LOGIN)
        expires = now + self.rules.lifetimes.login
        await self._writer.run(
            lambda transaction: tokens.add_purpose(
                transaction, hash_token(token), "login", requester.user_id, expires, now
            )
        )
        return token, self.rules.lifetimes.login

    async def refresh(self, refresh_token: str) -> Session:
        """New tokens for a refresh token. The old ones hold until the new ones are first used."""
        now, digest = self._now(), hash_token(refresh_token)
        known = await tokens.find_refresh(self._database, digest)
        account = await accounts.find(self._database, known.user_id) if known is not None else None
        if known is None or account is None or account.deactivated:
            raise _bad_refresh_token(soft=False)
        if account.locked:
            check_open(account)
        ends = [ts for ts in (known.expires_ts, known.session_expires_ts) if ts is not None]
        if ends and min(ends) <= now:
            raise _bad_refresh_token(soft=True)
        session = renew(self.rules.lifetimes, known, now)

        async def write(transaction: Transaction) -> None:
            current = await tokens.find_refresh(transaction, digest)
            if current is None:
                raise _bad_refresh_token(soft=False)
            fallen = await tokens.successors(transaction, digest)
            if current.replaces is not None:
                fallen.append(current.replaces)
            for old in fallen:
                announce_end(transaction, await tokens.retire_refresh(transaction, old))
            await write_tokens(transaction, session, digest)

        await self._writer.run(write)
        return session

    async def log_out(self, requester: Requester) -> None:
        """End the requester's login: its device goes, with its keys."""

        async def write(transaction: Transaction) -> None:
            if requester.device_id is not None:
                await end_devices(transaction, requester.user_id, [requester.device_id])
            else:
                await tokens.remove_access(transaction, requester.token)
                announce_end(transaction, [requester.token])

        await self._writer.run(write)

    async def log_out_everywhere(self, user_id: str) -> None:
        """End all logins of a user; all devices go, with their keys."""
        await self._writer.run(lambda transaction: end_all(transaction, user_id, kept_device=None))


def _bad_login_token() -> Refusal:
    return forbidden("The login token is unknown, expired or already used.")


def _bad_refresh_token(*, soft: bool) -> Refusal:
    reason = "has expired" if soft else "is unknown or was already used"
    return Refusal("M_UNKNOWN_TOKEN", f"The refresh token {reason}: log in again.", soft_logout=soft)
