"""The accounts floor, composed."""

from collections.abc import Callable, Collection

from ranvier.accounts.account_data import AccountDatas
from ranvier.accounts.addresses import Addresses
from ranvier.accounts.calls import RelayRules, Relays
from ranvier.accounts.closing import Closing
from ranvier.accounts.credentials import Credentials
from ranvier.accounts.devices import Devices
from ranvier.accounts.directory_words import DirectoryWords
from ranvier.accounts.discovery import Capabilities, Discovery, early_features, spoken_versions
from ranvier.accounts.filters import Filters
from ranvier.accounts.interactive_auth import InteractiveAuth, InteractiveRules
from ranvier.accounts.logins import LoginRules, Logins
from ranvier.accounts.moderation import Moderation
from ranvier.accounts.openid import OpenIdTokens
from ranvier.accounts.password_change import PasswordChange
from ranvier.accounts.passwords import PasswordPolicy, Passwords
from ranvier.accounts.profiles import ProfileRules, Profiles
from ranvier.accounts.registration import Registration, RegistrationRules
from ranvier.accounts.registration_tokens import RegistrationTokens
from ranvier.accounts.shared_secret import SharedSecretRegistration
from ranvier.accounts.sightings import Sightings
from ranvier.accounts.succession import Succession
from ranvier.accounts.tokens import TokenLifetimes, Tokens
from ranvier.accounts.user_directory import UserDirectory, UserDirectoryRules
from ranvier.config import Config, Role
from ranvier.federation.memberships import FederatedMemberships
from ranvier.federation.profiles import RemoteProfiles
from ranvier.http.limits import Limits
from ranvier.main.parts import Parts
from ranvier.remote.client import FederationClient
from ranvier.rooms.events import Events
from ranvier.rooms.following import GATHERING_S, Following
from ranvier.rooms.heads import Heads
from ranvier.rooms.membership import Memberships
from ranvier.rooms.preferences import Preferences
from ranvier.store.database import Database
from ranvier.store.shares import Leases
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
    rules = InteractiveRules(
        config.passwords.confirms, config.registration.terms, config.sessions.interactive_timeout
    )
    authentication = parts.add(InteractiveAuth(rules, database, writer, credentials, now))
    parts.add(Logins(_login_rules(config), database, writer, credentials, limits, now))
    registration = parts.add(
        Registration(registration_rules, database, writer, passwords, authentication, now)
    )
    secret = config.registration.shared_secret
    parts.add(
        SharedSecretRegistration(secret.reveal() if secret is not None else None, writer, registration, now)
    )
    parts.add(PasswordChange(registration_rules.password_policy, passwords, writer))
    parts.add(RegistrationTokens(database, writer, now))
    parts.add(OpenIdTokens(database, writer, now))
    parts.add(Relays(_relay_rules(config), now))
    parts.add(Devices(database, writer))
    parts.add(Sightings(writer, now))
    parts.add(Filters(database, writer))
    parts.add(Addresses(database))
    parts.add(Moderation(config.server.name, database, writer))
    parts.add(AccountDatas(database, writer, parts.get(Preferences).push_rules_json))
    _add_followers(config, database, writer, parts)
    shares = parts.get(Leases).queue("departures", Role.BACKGROUND, 1)
    parts.add(Closing(database, writer, parts.get(FederatedMemberships).leave, shares))
    profile_rules = ProfileRules(
        config.server.name,
        config.registration.users_set_displayname,
        config.registration.users_set_avatar_url,
        told_to_peers=config.federation.tells_profiles,
    )
    remote = RemoteProfiles(parts.get(FederationClient))
    parts.add(Profiles(profile_rules, database, writer, parts.get(Memberships).update_profile, remote.fetch))
    return tokens


def _add_followers(config: Config, database: Database, writer: Writer, parts: Parts) -> None:
    server_name, searching = config.server.name, config.searching
    rules = UserDirectoryRules(
        server_name,
        enabled=searching.users,
        everybody=searching.users_everybody,
        local_first=searching.users_local_first,
        local_only=searching.users_local_only,
        locked_too=searching.users_locked_too,
    )
    events = parts.get(Events)
    words = DirectoryWords(server_name, database, parts.get(Heads), events)
    shares = parts.get(Leases).queue("user directory", Role.BACKGROUND, 1)
    following = Following(words, database, writer, shares, gathering=GATHERING_S)
    directory = parts.add(UserDirectory(rules, database, events, following))
    parts.bell.listen(directory.hear)
    shares = parts.get(Leases).queue("succession", Role.BACKGROUND, 1)
    moving = Succession(server_name, database, parts.get(Heads), events)
    succession = parts.add(Following(moving, database, writer, shares))
    parts.bell.listen(succession.hear)


def add_discovery(config: Config, parts: Parts, served: Collection[tuple[str, str]]) -> None:
    """What clients are told of this server; `served` are method and path of all its endpoints."""
    base_url = config.server.public_baseurl
    parts.add(
        Discovery(
            tuple(spoken_versions(served)),
            base_url,
            config.server.extra_well_known_client_content,
            unstable_features=early_features(served),
        )
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


def _relay_rules(config: Config) -> RelayRules:
    calls = config.calls
    secret, password = calls.turn_secret, calls.turn_password
    return RelayRules(
        calls.turn_uris,
        secret.reveal() if secret is not None else None,
        calls.turn_username,
        password.reveal() if password is not None else None,
        calls.turn_lifetime,
        calls.turn_for_guests,
    )


def _registration_rules(config: Config) -> RegistrationRules:
    policy = config.passwords.policy
    return RegistrationRules(
        config.server.name,
        enabled=config.registration.enabled,
        requires_token=config.registration.requires_token,
        requires_terms=bool(config.registration.terms),
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
