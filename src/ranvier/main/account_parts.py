"""The accounts floor, composed."""

from collections.abc import Callable, Collection

from ranvier.accounts.credentials import Credentials
from ranvier.accounts.discovery import Capabilities, Discovery, spoken_versions
from ranvier.accounts.interactive_auth import InteractiveAuth, InteractiveRules
from ranvier.accounts.logins import LoginRules, Logins
from ranvier.accounts.passwords import PasswordPolicy, Passwords
from ranvier.accounts.registration import Registration, RegistrationRules
from ranvier.accounts.shared_secret import SharedSecretRegistration
from ranvier.accounts.tokens import TokenLifetimes, Tokens
from ranvier.config import Config
from ranvier.http.limits import Limits
from ranvier.main.parts import Parts
from ranvier.store.database import Database
from ranvier.store.writer import Writer


def add_accounts(
    config: Config,
    database: Database,
    writer: Writer,
    parts: Parts,
    limits: Limits,
    now: Callable[[], int],
) -> Tokens:
    """Build the floor; answers what authenticates requests."""
    registration_rules = _registration_rules(config)
    pepper = config.passwords.pepper
    passwords = parts.add(Passwords(pepper.reveal() if pepper is not None else ""))
    tokens = parts.add(Tokens(database, writer, now))
    credentials = Credentials(config.server.name, database, writer, passwords, limits)
    rules = InteractiveRules(config.passwords.confirms, {}, config.sessions.interactive_timeout)
    authentication = parts.add(InteractiveAuth(rules, database, writer, credentials, now))
    parts.add(Logins(_login_rules(config), database, writer, credentials, limits, now))
    registration = parts.add(
        Registration(registration_rules, database, writer, passwords, authentication, now)
    )
    secret = config.registration.shared_secret
    parts.add(
        SharedSecretRegistration(secret.reveal() if secret is not None else None, writer, registration, now)
    )
    return tokens


def add_discovery(config: Config, parts: Parts, served: Collection[tuple[str, str]]) -> None:
    """What clients are told of this server; `served` are method and path of all its endpoints."""
    base_url = config.server.public_baseurl
    parts.add(
        Discovery(tuple(spoken_versions(served)), base_url, config.server.extra_well_known_client_content)
    )
    parts.add(
        Capabilities(
            change_password=config.passwords.confirms,
            set_displayname=config.registration.users_set_displayname,
            set_avatar_url=config.registration.users_set_avatar_url,
            get_login_token=config.sessions.login_token_enabled,
            forgets_left_rooms=config.rooms.leaving_forgets,
            default_room_version=config.rooms.default_version,
        )
    )


def _lifetimes(config: Config) -> TokenLifetimes:
    sessions = config.sessions
    return TokenLifetimes(
        sessions.refreshable_access_token_lifetime,
        sessions.nonrefreshable_access_token_lifetime,
        sessions.refresh_token_lifetime,
        sessions.session_lifetime,
        sessions.login_token_lifetime,
    )


def _login_rules(config: Config) -> LoginRules:
    return LoginRules(
        config.passwords.logs_in,
        config.sessions.login_token_enabled,
        config.sessions.login_token_needs_password,
        _lifetimes(config),
    )


def _registration_rules(config: Config) -> RegistrationRules:
    policy = config.passwords.policy
    return RegistrationRules(
        config.server.name,
        enabled=config.registration.enabled,
        requires_token=config.registration.requires_token,
        hide_taken_names=config.registration.hides_taken_names,
        password_policy=PasswordPolicy(
            policy.enabled,
            policy.minimum_length,
            policy.require_digit,
            policy.require_symbol,
            policy.require_lowercase,
            policy.require_uppercase,
        ),
        lifetimes=_lifetimes(config),
    )
