"""The accounts floor on a fresh database of each kind, with a clock that tests move."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from ranvier.accounts.credentials import Credentials
from ranvier.accounts.interactive_auth import InteractiveAuth, InteractiveRules
from ranvier.accounts.logins import LoginRules, Logins
from ranvier.accounts.passwords import Passwords
from ranvier.accounts.registration import NewAccount, Registration, RegistrationRules
from ranvier.accounts.requester import Requester
from ranvier.accounts.sessions import Session, Wish
from ranvier.accounts.tokens import Tokens
from ranvier.http.limits import Limits, RateLimit
from ranvier.store import log
from ranvier.store.database import Database, Entry, Transaction
from ranvier.store.tailing import Tailing
from ranvier.store.writer import Writer

SERVER = "ranvier.test"
PASSWORD = "correct horse battery staple"


class Clock:
    """Milliseconds since the epoch, moved by hand."""

    def __init__(self) -> None:
        self.now = 1_700_000_000_000

    def __call__(self) -> int:
        return self.now

    def pass_by(self, milliseconds: int) -> None:
        """Let time pass."""
        self.now += milliseconds


@dataclass
class Floor:
    """All that the accounts floor is made of; rules are given when a test makes its own."""

    database: Database
    writer: Writer
    clock: Clock
    entries: list[Entry]
    listeners: list[Any]
    passwords: Passwords
    limits: Limits
    credentials: Credentials
    tokens: Tokens
    rules: RegistrationRules = field(default_factory=lambda: RegistrationRules(SERVER, enabled=True))
    login_rules: LoginRules = field(default_factory=LoginRules)
    interactive_rules: InteractiveRules = field(default_factory=InteractiveRules)

    @property
    def authentication(self) -> InteractiveAuth:
        return InteractiveAuth(
            self.interactive_rules, self.database, self.writer, self.credentials, self.clock
        )

    @property
    def registration(self) -> Registration:
        return Registration(
            self.rules, self.database, self.writer, self.passwords, self.authentication, self.clock
        )

    @property
    def logins(self) -> Logins:
        return Logins(self.login_rules, self.database, self.writer, self.credentials, self.limits, self.clock)

    def allow(self, **rules: Any) -> None:
        """Change rules of registration."""
        self.rules = replace(self.rules, **rules)

    async def make(self, name: str, device_id: str | None = None, **facts: Any) -> Session:
        """An account that is logged in."""
        new = NewAccount(f"@{name}:{SERVER}", PASSWORD, **facts)
        session = await self.registration.create(new, Wish(device_id))
        assert session is not None
        return session

    async def requester(self, session: Session) -> Requester:
        """Who the session's access token stands for."""
        return await self.tokens.authenticate(session.access_token)

    async def write(self, function: Any, *values: Any, **options: Any) -> Any:
        """One function of the store in a transaction of its own."""

        async def write(transaction: Transaction) -> Any:
            return await function(transaction, *values, **options)

        return await self.writer.run(write)

    def heard(self, kind: int) -> list[tuple[str, str]]:
        """(audience, ref) of what was announced of that kind."""
        return [(entry.audience, entry.ref) for entry in self.entries if entry.kind == kind]


@pytest.fixture
async def floor(database: Database) -> AsyncIterator[Floor]:
    entries: list[Entry] = []
    listeners: list[Any] = []

    def announce(news: Sequence[Entry]) -> None:
        entries.extend(news)
        for listener in listeners:
            listener(news)

    writer = Writer(database, Tailing(database, log.Tail(await log.read_tip(database)), announce))
    writer.start()
    clock = Clock()
    passwords = Passwords("a pinch of pepper")
    plenty = RateLimit(1000, 1000)
    limits = Limits(
        {"login_account": plenty, "login_failed_attempts": RateLimit(0.1, 3)}, lambda: clock.now / 1000
    )
    credentials = Credentials(SERVER, database, writer, passwords, limits)
    tokens = Tokens(database, writer, clock)
    listeners.append(tokens.heard)
    yield Floor(database, writer, clock, entries, listeners, passwords, limits, credentials, tokens)
    await writer.stop()
    passwords.stop()
