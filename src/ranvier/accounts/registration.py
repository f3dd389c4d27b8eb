"""New accounts: who may have one, under which name, and its first login.

Source: Client-Server API, "Account registration".
"""

import secrets
import string
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from ranvier.accounts.interactive_auth import DUMMY, REGISTRATION_TOKEN, TERMS, InteractiveAuth, Passed
from ranvier.accounts.passwords import PasswordPolicy, Passwords, check_policy
from ranvier.accounts.sessions import Session, Wish, make_session, write_session
from ranvier.accounts.tokens import TokenLifetimes
from ranvier.protocol.identifiers import MAX_IDENTIFIER_BYTES, is_valid_localpart
from ranvier.protocol.refusal import Refusal, forbidden, invalid_param
from ranvier.store import accounts, profiles, registration_tokens
from ranvier.store.database import Database, Entry, Transaction
from ranvier.store.log import EVERYONE, Kind
from ranvier.store.writer import Writer

_RANDOM_NAME = 12


def _nobody_counts() -> None:
    pass


def _nobody_owns(user_id: str) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class RegistrationRules:
    """Who may register. Nobody, unless `enabled`.

    `is_reserved` tells whether a user id belongs to a bridge alone. `hide_taken_names` lets any name look free until
    it is asked for in earnest.
    """

    server_name: str
    enabled: bool = False
    requires_token: bool = False
    requires_terms: bool = False
    underscore_names: bool = False
    hide_taken_names: bool = False
    password_policy: PasswordPolicy = field(default_factory=PasswordPolicy)
    lifetimes: TokenLifetimes = field(default_factory=TokenLifetimes)
    is_reserved: Callable[[str], bool] = _nobody_owns


@dataclass(frozen=True, slots=True)
class NewAccount:
    """What an account begins as. Without a password nobody can log in to it with one."""

    user_id: str
    password: str | None = None
    admin: bool = False
    user_type: str | None = None
    appservice_id: str | None = None
    displayname: str | None = None


class Registration:
    """Makes accounts."""

    def __init__(
        self,
        rules: RegistrationRules,
        database: Database,
        writer: Writer,
        passwords: Passwords,
        authentication: InteractiveAuth,
        now: Callable[[], int],
    ) -> None:
        self.rules = rules
        self._database = database
        self._writer = writer
        self._passwords = passwords
        self._authentication = authentication
        self._now = now

    async def register(
        self,
        operation: str,
        body: dict[str, Any],
        wish: Wish | None = None,
        count: Callable[[], None] = _nobody_counts,
    ) -> tuple[str, Session | None]:
        """Register as the client asks; answers the user id, and the first login unless it wants none.

        `wish` says where the client asks from; what it wishes of its device stands in the body. `count` is called
        when all that is left is to make the account, and may refuse.

        Raises `AuthenticationNeeded` until a flow is done; M_FORBIDDEN where registration is closed.
        """
        self._check_open()
        attempt = await self._authentication.begin(operation, body)
        wanted = attempt.parameters
        name, password = _text(wanted, "username"), _text(wanted, "password")
        if name is not None and not self.rules.hide_taken_names:
            await self.check_available(name)
        elif name is not None:
            self.user_id_of(name)
        if password is not None:
            check_policy(self.rules.password_policy, password)
        wish = replace(
            wish or Wish(),
            device_id=_text(wanted, "device_id"),
            display_name=_text(wanted, "initial_device_display_name"),
            refreshable=_flag(wanted, "refresh_token"),
        )
        passed = await self._authentication.require(attempt, self.flows())
        if password is None:
            raise Refusal("M_MISSING_PARAM", "The body lacks 'password'.")
        user_id = self.user_id_of(name) if name is not None else await self._draw_name()
        inhibit = _flag(wanted, "inhibit_login")
        count()
        session = await self.create(NewAccount(user_id, password), None if inhibit else wish, passed)
        return user_id, session

    def flows(self) -> list[list[str]]:
        """The one flow that leads to an account here.

        COMPAT(matrix-nio 0.26): it goes through the dummy stage after the token's, as Synapse has it there.
        """
        token = [REGISTRATION_TOKEN] if self.rules.requires_token else []
        terms = [TERMS] if self.rules.requires_terms else []
        return [[*token, DUMMY, *terms]]

    async def create(
        self, new: NewAccount, wish: Wish | None, passed: Passed | None = None
    ) -> Session | None:
        """Make the account, and with a `wish` its first login, in one commit; M_USER_IN_USE if the name is taken."""
        password_hash = await self._passwords.hash(new.password) if new.password is not None else None
        now = self._now()
        session = make_session(self.rules.lifetimes, new.user_id, wish, now) if wish is not None else None
        consent = None
        if passed is not None and TERMS in passed.stages:
            consent = _versions(self._authentication.policies)
        displayname = new.displayname or new.user_id[1:].partition(":")[0]

        async def write(transaction: Transaction) -> None:
            made = await accounts.create(
                transaction,
                new.user_id,
                password_hash,
                now,
                admin=new.admin,
                user_type=new.user_type,
                appservice_id=new.appservice_id,
                consent=consent,
            )
            if not made:
                raise _in_use(new.user_id)
            await profiles.write(transaction, new.user_id, {"displayname": displayname})
            transaction.announce(Entry(Kind.PROFILE, EVERYONE, new.user_id))
            if session is not None:
                await write_session(transaction, session, now)
            if passed is not None:
                await passed.close(transaction)

        await self._writer.run(write)
        return session

    def user_id_of(self, name: str) -> str:
        """The user id that a wished name becomes; M_INVALID_USERNAME, M_EXCLUSIVE."""
        localpart = name.lower()
        user_id = f"@{localpart}:{self.rules.server_name}"
        if not is_valid_localpart(localpart):
            raise Refusal(
                "M_INVALID_USERNAME",
                "A user name can only contain a-z, 0-9, and any of . _ = - / + characters.",
            )
        if len(user_id) > MAX_IDENTIFIER_BYTES:
            raise Refusal(
                "M_INVALID_USERNAME", f"The whole user id may have {MAX_IDENTIFIER_BYTES} characters."
            )
        if localpart.startswith("_") and not self.rules.underscore_names:
            raise Refusal("M_INVALID_USERNAME", "A user name can't begin with an underscore here.")
        if self.rules.is_reserved(user_id):
            raise Refusal("M_EXCLUSIVE", "That name belongs to a bridge.")
        return user_id

    async def check_available(self, name: str) -> None:
        """Refuse a name that can't be had: M_USER_IN_USE, M_INVALID_USERNAME, M_EXCLUSIVE."""
        user_id = self.user_id_of(name)
        if await accounts.exists(self._database, user_id):
            raise _in_use(user_id)

    async def is_available(self, name: str) -> bool:
        """For those who ask before they register; M_FORBIDDEN where registration is closed."""
        self._check_open()
        if self.rules.hide_taken_names:
            self.user_id_of(name)
        else:
            await self.check_available(name)
        return True

    async def token_is_valid(self, token: str) -> bool:
        """Whether a registration token can be used now; M_FORBIDDEN where registration is closed."""
        self._check_open()
        return "\0" not in token and await registration_tokens.is_usable(self._database, token, self._now())

    def _check_open(self) -> None:
        if not self.rules.enabled:
            raise forbidden(
                "This server is closed for registration: ask its administrator for an account, "
                "or the administrator may set enable_registration."
            )

    async def _draw_name(self) -> str:
        while True:
            name = "".join(secrets.choice(string.ascii_lowercase) for _ in range(_RANDOM_NAME))
            user_id = self.user_id_of(name)
            if not await accounts.exists(self._database, user_id):
                return user_id


def _in_use(user_id: str) -> Refusal:
    return Refusal("M_USER_IN_USE", f"The user id {user_id} is taken.")


def _versions(policies: Any) -> str:
    return orjson.dumps({name: policy.get("version") for name, policy in policies.items()}).decode()


def _text(parameters: dict[str, Any], key: str) -> str | None:
    value = parameters.get(key)
    if value is not None and not isinstance(value, str):
        raise invalid_param(f"'{key}' must be a string.")
    return value


def _flag(parameters: dict[str, Any], key: str) -> bool:
    value = parameters.get(key, False)
    if not isinstance(value, bool):
        raise invalid_param(f"'{key}' must be true or false.")
    return value
