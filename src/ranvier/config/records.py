"""The configuration as frozen records, one for each concern; only `main` and the commands ever see a Config.

Durations are milliseconds (None: without end), sizes bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ranvier.config.kinds import RateLimit, Secret
from ranvier.config.process_records import Processes


@dataclass(frozen=True, slots=True)
class Server:
    """Who the server is. `public_baseurl` ends in a slash; without it no client well-known is served."""

    name: str
    public_baseurl: str | None
    extra_well_known_client_content: Mapping[str, Any]
    data_directory: Path
    signing_key_path: Path


@dataclass(frozen=True, slots=True)
class Listener:
    """One socket or one port on some addresses; no addresses: all of them. `path` is a Unix socket's."""

    kind: Literal["http", "metrics"]
    port: int | None
    path: Path | None
    addresses: tuple[str, ...]
    x_forwarded: bool
    tls: bool
    resources: frozenset[str]


@dataclass(frozen=True, slots=True)
class Tls:
    """Files of the certificate that listeners with `tls` show."""

    certificate: Path
    private_key: Path


@dataclass(frozen=True, slots=True)
class SqliteStore:
    """A database file."""

    path: Path


@dataclass(frozen=True, slots=True)
class PostgresStore:
    """A PostgreSQL database; `host` None means the local Unix socket."""

    database: str
    user: str | None
    password: Secret | None
    host: str | None
    port: int
    min_connections: int
    max_connections: int
    ssl_mode: str
    allow_unsafe_locale: bool


@dataclass(frozen=True, slots=True)
class Registration:
    """Who may make an account, and how.

    `terms` are documents that new users accept, as `m.login.terms` shows them: by id, with `version`, and by language.
    """

    enabled: bool
    requires_token: bool
    shared_secret: Secret | None
    guests: bool
    hides_taken_names: bool
    users_set_displayname: bool
    users_set_avatar_url: bool
    terms: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class PasswordPolicy:
    """Rules for new passwords; they count only when `enabled`."""

    enabled: bool
    minimum_length: int
    require_digit: bool
    require_symbol: bool
    require_lowercase: bool
    require_uppercase: bool


@dataclass(frozen=True, slots=True)
class Passwords:
    """Login with passwords; `confirms` allows them for interactive authentication."""

    logs_in: bool
    confirms: bool
    pepper: Secret | None
    policy: PasswordPolicy


@dataclass(frozen=True, slots=True)
class Sessions:
    """Lives of logins and tokens, in milliseconds; None is without end."""

    session_lifetime: int | None
    refreshable_access_token_lifetime: int
    refresh_token_lifetime: int | None
    nonrefreshable_access_token_lifetime: int | None
    interactive_timeout: int
    login_token_enabled: bool
    login_token_needs_password: bool
    login_token_lifetime: int


@dataclass(frozen=True, slots=True)
class Presence:
    """Whether users see who is there, and after which times (ms) they are idle, no longer active, gone."""

    enabled: bool
    shows_offline: bool
    idle_timeout: int
    active_granularity: int
    online_timeout: int


@dataclass(frozen=True, slots=True)
class Patience:
    """Requests to other servers: milliseconds, and numbers of further attempts."""

    timeout: int
    retries: int
    longest_pause: int
    patient_retries: int
    longest_patient_pause: int
    first_back_off: int
    back_off_growth: int
    longest_back_off: int


@dataclass(frozen=True, slots=True)
class PeerLimit:
    """Requests of one other server; times in milliseconds."""

    window: int
    free_requests: int
    delay: int
    waiting_requests: int
    at_once: int


@dataclass(frozen=True, slots=True)
class Federation:
    """With whom this server speaks, and how. `allowed_servers` None: with all."""

    serves_wellknown: bool
    allowed_servers: frozenset[str] | None
    denied_servers: frozenset[str]
    verifies_certificates: bool
    unverified_hosts: tuple[str, ...]
    minimum_tls: Literal["1.2", "1.3"]
    authorities: tuple[Path, ...]
    blocked_ranges: tuple[str, ...]
    allowed_ranges: tuple[str, ...]
    nameservers: tuple[str, ...]
    patience: Patience
    peer_limit: PeerLimit
    tells_profiles: bool
    tells_device_names: bool
    nominated_servers: frozenset[str]


@dataclass(frozen=True, slots=True)
class OldSigningKey:
    """A key that signs no more; `expired_ts` in milliseconds since the epoch."""

    key_id: str
    public_key: bytes
    expired_ts: int


@dataclass(frozen=True, slots=True)
class TrustedKeyServer:
    """A notary, with its public keys by key ID where they are known."""

    name: str
    verify_keys: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class ServerKeys:
    """Keys that are published (`published_validity` milliseconds), and who tells those of others."""

    published_validity: int
    old_keys: tuple[OldSigningKey, ...]
    notaries: tuple[TrustedKeyServer, ...]


@dataclass(frozen=True, slots=True)
class RoomNaming:
    """A rule on aliases or published rooms; the three are patterns with * and ?."""

    allows: bool
    user_id: str
    alias: str
    room_id: str


@dataclass(frozen=True, slots=True)
class Rooms:
    """What rooms are like unless somebody says otherwise."""

    default_version: str
    encrypted_by_default: Literal["all", "invite", "off"]
    redaction_retention_period: int | None
    timeline_limit: int | None
    list_enabled: bool
    list_without_token: bool
    list_for_peers: bool
    publication_rules: tuple[RoomNaming, ...] | None
    alias_rules: tuple[RoomNaming, ...] | None
    alias_needs_membership: bool
    leaving_forgets: bool
    longest_event_delay: int | None


@dataclass(frozen=True, slots=True)
class Searching:
    """What can be searched: messages, and users by name (whom, and in which order)."""

    messages: bool
    users: bool
    users_everybody: bool
    users_local_first: bool
    users_local_only: bool
    users_locked_too: bool


@dataclass(frozen=True, slots=True)
class ThumbnailSize:
    """A thumbnail to make; `method` crop fills the size, scale fits into it."""

    width: int
    height: int
    method: Literal["crop", "scale"]


@dataclass(frozen=True, slots=True)
class UploadLimit:
    """Bytes that a user may upload within `period` milliseconds."""

    period: int
    most_bytes: int


@dataclass(frozen=True, slots=True)
class Media:
    """Uploaded files: where, how large, and their thumbnails. `max_image_pixels` is width times height."""

    path: Path
    max_upload_bytes: int
    max_pending_uploads: int
    pending_lifetime: int
    max_image_pixels: int
    dynamic_thumbnails: bool
    thumbnail_sizes: tuple[ThumbnailSize, ...]
    needs_token: bool
    upload_limits: tuple[UploadLimit, ...] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """How the program runs."""

    metrics: bool
    cache_factor: float
    log_level: str
    log_format: Literal["console", "json"]


@dataclass(frozen=True, slots=True)
class Calls:
    """Relays for calls: with a secret shared with them, or one name and password for all. The lifetime in ms."""

    turn_uris: tuple[str, ...]
    turn_secret: Secret | None
    turn_username: str | None
    turn_password: Secret | None
    turn_lifetime: int
    turn_for_guests: bool


@dataclass(frozen=True, slots=True)
class Config:
    """All of it. `rate_limits` is keyed by the key without `rc_`, dots as underscores ("login_address").

    `warnings` are sentences on keys that are known but not used; they are shown once, at start.
    """

    server: Server
    listeners: tuple[Listener, ...]
    tls: Tls | None
    database: SqliteStore | PostgresStore
    registration: Registration
    passwords: Passwords
    sessions: Sessions
    rate_limits: Mapping[str, RateLimit]
    presence: Presence
    federation: Federation
    server_keys: ServerKeys
    rooms: Rooms
    searching: Searching
    media: Media
    calls: Calls
    operation: Operation
    processes: Processes
    warnings: tuple[str, ...]
