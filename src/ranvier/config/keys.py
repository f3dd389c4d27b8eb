"""The table of keys that the server honours: name, kind, default, and what it does.

Reading, the sample (`ranvier config`) and docs/configuration.md all come from this table. Names and meanings
are Synapse's where the meaning is the same.
"""

from ipaddress import ip_network

from ranvier.config.kinds import (
    Block,
    Blocks,
    Choice,
    Duration,
    Flag,
    Free,
    Integer,
    Key,
    ListOf,
    Number,
    Rate,
    SecretText,
    Section,
    Size,
    Text,
)
from ranvier.config.listener_keys import LISTENER
from ranvier.config.process_keys import PROCESSES
from ranvier.protocol.identifiers import is_valid_server_name
from ranvier.protocol.room_versions import DEFAULT_ROOM_VERSION, ROOM_VERSIONS


def _server_name_fault(name: str) -> str | None:
    if name != name.lower():
        return f"a server name is written in lower case: {name.lower()}"
    if "://" in name or "/" in name:
        return "a server name is a domain such as example.org, without https:// and without a path"
    if not is_valid_server_name(name):
        return "a server name is a domain such as example.org, with :port only if it is part of the name"
    return None


def _url_fault(url: str) -> str | None:
    if not url.startswith(("http://", "https://")):
        return f"a URL begins with https:// or http://, such as https://{url.strip('/')}/"
    return None


def _network_fault(text: str) -> str | None:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return "this must be an address or a range such as 192.168.0.0/16 or fc00::/7"
    return None


def _other_server_fault(name: str) -> str | None:
    return None if is_valid_server_name(name) else "this must be a server name such as example.org"


BLOCKED_RANGES = [
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "192.0.0.0/24",
    "169.254.0.0/16",
    "192.88.99.0/24",
    "198.18.0.0/15",
    "192.0.2.0/24",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "::1/128",
    "fe80::/10",
    "fc00::/7",
    "2001:db8::/32",
    "ff00::/8",
    "fec0::/10",
]


def _rate(name: str, per_second: float, burst_count: int, doc: str) -> Key:
    return Key(name, Rate(), {"per_second": per_second, "burst_count": burst_count}, doc)


def _naming_rules(alias: str) -> Blocks:
    return Blocks(
        (
            Key("user_id", Text("pattern"), "*", "Pattern (* and ?) for the user."),
            Key("alias", Text("pattern"), "*", f"Pattern for the alias; {alias}."),
            Key("room_id", Text("pattern"), "*", "Pattern for the room's ID."),
            Key("action", Choice(("allow", "deny")), "allow", "What is decided."),
        )
    )


SERVER = Section(
    "Server",
    (
        Key(
            "server_name",
            Text("domain", _server_name_fault),
            doc="The domain in every user ID and alias made here (@user:example.org). It can't be changed "
            "once the server has started: users and rooms carry it for ever.",
            example="example.org",
            required=True,
        ),
        Key(
            "public_baseurl",
            Text("URL", _url_fault),
            doc="Where clients reach the server, as seen from outside the reverse proxy. When it is set, "
            "/.well-known/matrix/client answers with it.",
            example="https://matrix.example.org/",
        ),
        Key(
            "extra_well_known_client_content",
            Free(),
            {},
            "Further content of /.well-known/matrix/client. m.homeserver comes from public_baseurl.",
            example={"org.example.support": "https://example.org/help"},
        ),
        Key(
            "data_directory",
            Text("folder"),
            doc="Where the server keeps what it writes; relative paths in this file start here. The "
            "default is the folder of the first configuration file.",
            example="/var/lib/ranvier",
        ),
        Key(
            "signing_key_path",
            Text("file"),
            "signing.key",
            "The server's Ed25519 signing key, one line `ed25519 a_abcd BASE64`. Keep a copy of it in a "
            "safe place: without it other servers take this one for an impostor. With several lines the first one "
            "signs; `ranvier keys rotate` adds one.",
        ),
        Key(
            "report_stats",
            Flag(),
            False,
            "Accepted so that a Synapse file can be used as it is. This server never reports usage to "
            "anybody.",
        ),
    ),
)

LISTENERS = Section(
    "Listeners",
    (
        Key(
            "listeners",
            Blocks(LISTENER),
            [
                {
                    "port": 8008,
                    "bind_addresses": ["127.0.0.1"],
                    "type": "http",
                    "resources": [{"names": ["client", "federation"]}],
                }
            ],
            "The sockets that the server opens.",
        ),
        Key(
            "tls_certificate_path",
            Text("file"),
            doc="PEM file with the certificate, and after it those of the authorities between it and the root, for "
            "listeners with `tls: true`. It is read again when it changes, and at SIGHUP.",
            example="fullchain.pem",
        ),
        Key(
            "tls_private_key_path",
            Text("file"),
            doc="PEM file with the certificate's private key.",
            example="privkey.pem",
        ),
        Key(
            "enable_metrics",
            Flag(),
            False,
            "Serve Prometheus metrics on http listeners with the resource metrics. A listener of type "
            "metrics always serves them.",
        ),
    ),
)

DATABASE = Section(
    "Database",
    (
        Key(
            "database",
            Block(
                (
                    Key(
                        "name",
                        Choice(("sqlite3", "psycopg2", "asyncpg")),
                        "sqlite3",
                        "sqlite3: one file, nothing to set up. psycopg2 or asyncpg: PostgreSQL 12 or "
                        "newer (both words mean the same here).",
                    ),
                    Key(
                        "allow_unsafe_locale",
                        Flag(),
                        False,
                        "Accept a PostgreSQL database whose locale is not C.",
                    ),
                    Key(
                        "args",
                        Block(
                            (
                                Key(
                                    "database",
                                    Text("file or name"),
                                    "homeserver.db",
                                    "SQLite: the file. PostgreSQL: the database's name; `dbname` means "
                                    "the same.",
                                ),
                                Key(
                                    "dbname",
                                    Text("name"),
                                    doc="PostgreSQL: the same as `database`.",
                                    example="ranvier",
                                ),
                                Key("user", Text("name"), doc="PostgreSQL: the role.", example="ranvier"),
                                Key(
                                    "password",
                                    SecretText(),
                                    doc="PostgreSQL: its password.",
                                    example="<password>",
                                ),
                                Key(
                                    "host",
                                    Text("host or folder"),
                                    doc="PostgreSQL: host name, or the folder of its Unix socket. Without "
                                    "it the local Unix socket is used.",
                                    example="localhost",
                                ),
                                Key("port", Integer(1, 65_535), 5432, "PostgreSQL: port."),
                                Key(
                                    "cp_min",
                                    Integer(1, 1000),
                                    2,
                                    "PostgreSQL: connections that each process keeps open once they "
                                    "were needed; those beyond are closed after a minute or two.",
                                ),
                                Key(
                                    "cp_max",
                                    Integer(1, 1000),
                                    10,
                                    "PostgreSQL: connections that each process opens at most. With "
                                    "4 or more, one of them is for commits alone.",
                                ),
                                Key(
                                    "sslmode",
                                    Choice(
                                        ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
                                    ),
                                    "prefer",
                                    "PostgreSQL: whether the connection is encrypted and the server's "
                                    "certificate checked.",
                                ),
                            )
                        ),
                        doc="How to reach the database.",
                    ),
                )
            ),
            doc="Where accounts, rooms and events are kept.",
        ),
    ),
)

REGISTRATION = Section(
    "Registration",
    (
        Key("enable_registration", Flag(), False, "Let people make accounts for themselves."),
        Key(
            "enable_registration_without_verification",
            Flag(),
            False,
            "Needed in addition for open registration that asks for nothing at all. Open servers are "
            "found and abused within days.",
        ),
        Key("registration_requires_token", Flag(), False, "Ask for a registration token at registration."),
        Key(
            "registration_terms",
            Blocks(
                (
                    Key(
                        "id", Text(), doc="The document's name among these.", required=True, example="privacy"
                    ),
                    Key("version", Text(), doc="Its version.", required=True, example="1.0"),
                    Key("language", Text(), "en", "Its language."),
                    Key("name", Text(), doc="Its title.", required=True, example="Privacy policy"),
                    Key(
                        "url",
                        Text("URL", _url_fault),
                        doc="Where it is read.",
                        required=True,
                        example="https://example.org/privacy",
                    ),
                )
            ),
            [],
            "Documents that new users accept at registration, with an entry for each language (m.login.terms). "
            "A key of Ranvier's own: Synapse's user_consent makes pages from templates.",
        ),
        Key(
            "registration_shared_secret",
            SecretText(),
            doc="Whoever knows it can make accounts, even with registration closed; `ranvier register` "
            "uses it.",
            example="<long random text>",
        ),
        Key(
            "registration_shared_secret_path",
            Text("file"),
            doc="A file that holds the secret; instead of registration_shared_secret.",
            example="registration_shared_secret",
        ),
        Key("allow_guest_access", Flag(), False, "Let guests in without an account."),
        Key(
            "inhibit_user_in_use_error", Flag(), False, "Don't tell at registration whether a name is taken."
        ),
        Key("enable_set_displayname", Flag(), True, "Let users change their display name."),
        Key("enable_set_avatar_url", Flag(), True, "Let users change their avatar."),
    ),
)

PASSWORDS = Section(
    "Passwords",
    (
        Key(
            "password_config",
            Block(
                (
                    Key(
                        "enabled",
                        Choice((True, False, "only_for_reauth")),
                        True,
                        "Log in with a password; only_for_reauth: passwords confirm sensitive steps but "
                        "don't log in.",
                    ),
                    Key(
                        "pepper",
                        SecretText(),
                        doc="Added to passwords before they are hashed. Set it once: with another pepper "
                        "no password fits any more.",
                        example="<long random text>",
                    ),
                    Key(
                        "policy",
                        Block(
                            (
                                Key("enabled", Flag(), False, "Refuse new passwords that break these rules."),
                                Key("minimum_length", Integer(0, 512), 0, "Fewest characters."),
                                Key("require_digit", Flag(), False, "At least one digit."),
                                Key(
                                    "require_symbol",
                                    Flag(),
                                    False,
                                    "At least one character that is neither letter nor digit.",
                                ),
                                Key("require_lowercase", Flag(), False, "At least one lower-case letter."),
                                Key("require_uppercase", Flag(), False, "At least one upper-case letter."),
                            )
                        ),
                        doc="Rules for new passwords.",
                    ),
                )
            ),
            doc="Login with passwords.",
        ),
    ),
)

SESSIONS = Section(
    "Sessions and tokens",
    (
        Key(
            "session_lifetime",
            Duration(endless=True),
            "infinity",
            "How long a login lasts, whatever the client does.",
        ),
        Key(
            "refreshable_access_token_lifetime",
            Duration(),
            "5m",
            "Life of an access token of a client that knows how to refresh it.",
        ),
        Key(
            "refresh_token_lifetime",
            Duration(endless=True),
            "infinity",
            "Life of a refresh token that isn't used.",
        ),
        Key(
            "nonrefreshable_access_token_lifetime",
            Duration(endless=True),
            "infinity",
            "Life of an access token of a client that can't refresh it.",
        ),
        Key(
            "ui_auth",
            Block(
                (
                    Key(
                        "session_timeout",
                        Duration(),
                        0,
                        "How long one confirmation with a password counts for further sensitive steps. 0: "
                        "once only.",
                    ),
                )
            ),
            doc="Interactive authentication.",
        ),
        Key(
            "login_via_existing_session",
            Block(
                (
                    Key(
                        "enabled",
                        Flag(),
                        False,
                        "Let a device that is logged in bring in another one (QR codes).",
                    ),
                    Key("require_ui_auth", Flag(), True, "Ask for the password first."),
                    Key("token_timeout", Duration(), "5m", "How long the login token is good."),
                )
            ),
            doc="Login tokens for a further device.",
        ),
    ),
)

RATE_LIMITS = Section(
    "Rate limits",
    (
        _rate("rc_message", 0.2, 10, "Events sent, for each user."),
        _rate("rc_registration", 0.17, 3, "Registrations, for each client address."),
        _rate(
            "rc_registration_token_validity",
            0.1,
            5,
            "Checks of registration tokens, for each client address.",
        ),
        Key(
            "rc_login",
            Block(
                (
                    _rate("address", 0.003, 5, "Logins, for each client address."),
                    _rate("account", 0.003, 5, "Logins, for each account."),
                    _rate("failed_attempts", 0.17, 3, "Logins that failed, for each account."),
                )
            ),
            doc="Logins.",
        ),
        Key(
            "rc_joins",
            Block(
                (
                    _rate("local", 0.1, 10, "Joins to rooms that the server is in, for each user."),
                    _rate(
                        "remote", 0.01, 10, "Joins to rooms that only other servers are in, for each user."
                    ),
                )
            ),
            doc="Joins.",
        ),
        _rate("rc_joins_per_room", 1, 10, "Joins, for each room."),
        Key(
            "rc_invites",
            Block(
                (
                    _rate("per_room", 0.3, 10, "Invites, for each room."),
                    _rate("per_user", 0.003, 5, "Invites, for each user who is invited."),
                    _rate("per_issuer", 0.3, 10, "Invites, for each user who invites."),
                )
            ),
            doc="Invites.",
        ),
        Key(
            "rc_presence",
            Block((_rate("per_user", 0.1, 10, "Presences and status messages, for each user."),)),
            doc="Presence that users set.",
        ),
        _rate("rc_reports", 1, 5, "Reports to the administrators, for each user."),
        _rate("rc_room_creation", 0.016, 10, "New rooms, for each user."),
        _rate(
            "rc_delayed_event_mgmt",
            1,
            5,
            "Looking up, restarting, cancelling and sending of scheduled events, for each user, or for each client "
            "address where nobody is logged in.",
        ),
        _rate("rc_user_directory", 0.016, 200, "Searches for users, for each user."),
        _rate("rc_media_create", 10, 50, "Uploads announced ahead, for each user."),
        _rate(
            "rc_media",
            50,
            500,
            "Downloads, thumbnails and uploads of files, for each user, or for each client address where nobody is "
            "logged in. Not a Synapse key.",
        ),
        _rate(
            "rc_other",
            10,
            50,
            "Every other operation that the specification marks as rate-limited, for each user. Not a "
            "Synapse key.",
        ),
    ),
)

FEDERATION = Section(
    "Federation",
    (
        Key(
            "serve_server_wellknown",
            Flag(),
            False,
            "Answer /.well-known/matrix/server so that other servers come to port 443 of server_name instead of 8448.",
        ),
        Key("allow_profile_lookup_over_federation", Flag(), True, "Tell other servers users' profiles."),
        Key(
            "allow_device_name_lookup_over_federation",
            Flag(),
            False,
            "Tell other servers the names of users' devices.",
        ),
        Key(
            "federation_domain_whitelist",
            ListOf(Text("server name", _other_server_fault), most=100_000),
            doc="Only federate with these servers. Without it, with all; an empty list means none.",
            example=["example.org"],
        ),
        Key(
            "federation_domain_blacklist",
            ListOf(Text("server name", _other_server_fault), most=100_000),
            [],
            "Never federate with these servers. Not a Synapse key.",
            example=["example.org"],
        ),
        Key(
            "federation_metrics_domains",
            ListOf(Text("server name", _other_server_fault), most=1_000),
            [],
            "Show in the metrics when an event last came from these servers, and went to them.",
            example=["matrix.org"],
        ),
        Key("federation_verify_certificates", Flag(), True, "Check the certificates of other servers."),
        Key(
            "federation_certificate_verification_whitelist",
            ListOf(Text("host, * and ? allowed")),
            [],
            "Hosts whose certificates are not checked.",
            example=["*.onion"],
        ),
        Key(
            "federation_client_minimum_tls_version",
            Choice(("1", "1.1", "1.2", "1.3")),
            "1.2",
            "Oldest version of TLS that is spoken with other servers; 1 and 1.1 mean 1.2 here.",
        ),
        Key(
            "federation_custom_ca_list",
            ListOf(Text("file")),
            [],
            "PEM files with the certificate authorities to trust instead of the system's.",
            example=["private-ca.pem"],
        ),
        Key(
            "ip_range_blacklist",
            ListOf(Text("address range", _network_fault)),
            BLOCKED_RANGES,
            "Addresses that are never contacted on behalf of others. The default holds all private ones.",
        ),
        Key(
            "ip_range_whitelist",
            ListOf(Text("address range", _network_fault)),
            [],
            "Exceptions from ip_range_blacklist, such as another server of yours in the same network.",
            example=["192.168.1.1/32"],
        ),
        Key(
            "federation_ip_range_blacklist",
            ListOf(Text("address range", _network_fault)),
            doc="Instead of ip_range_blacklist, for federation alone.",
            example=["10.0.0.0/8"],
        ),
        Key(
            "dns_nameservers",
            ListOf(Text("host:port")),
            [],
            "Name servers to ask instead of the system's. Not a Synapse key.",
            example=["127.0.0.1:53"],
        ),
        Key(
            "federation",
            Block(
                (
                    Key("client_timeout", Duration(), "60s", "How long another server may take to answer."),
                    Key(
                        "max_short_retries", Integer(0, 20), 3, "Further attempts of what somebody waits for."
                    ),
                    Key("max_short_retry_delay", Duration(), "2s", "Longest pause between these."),
                    Key(
                        "max_long_retries", Integer(0, 100), 10, "Further attempts of what nobody waits for."
                    ),
                    Key("max_long_retry_delay", Duration(), "60s", "Longest pause between these."),
                    Key(
                        "destination_min_retry_interval",
                        Duration(),
                        "10m",
                        "How long a server that does not answer is left alone at first.",
                    ),
                    Key("destination_retry_multiplier", Integer(1, 100), 2, "How much longer each time."),
                    Key("destination_max_retry_interval", Duration(), "1w", "How long at most."),
                )
            ),
            doc="Patience with other servers.",
        ),
        Key(
            "rc_federation",
            Block(
                (
                    Key("window_size", Integer(1), 1000, "Milliseconds in which requests are counted."),
                    Key("sleep_limit", Integer(1), 10, "Requests in the window before others are delayed."),
                    Key("sleep_delay", Integer(0), 500, "The delay, in milliseconds."),
                    Key("reject_limit", Integer(1), 50, "Requests that wait before others are refused."),
                    Key("concurrent", Integer(1, 1000), 3, "Requests that are worked on at once."),
                )
            ),
            doc="Limits on requests of other servers, for each of them.",
        ),
    ),
)

SERVER_KEYS = Section(
    "Signing keys of servers",
    (
        Key(
            "key_refresh_interval",
            Duration(),
            "1d",
            "How long other servers may rely on the keys that this one publishes before they ask again.",
        ),
        Key(
            "old_signing_keys",
            Free(),
            {},
            "Keys that sign no more, and when they stopped (milliseconds): still published so that what they signed "
            "can be checked.",
            example={"ed25519:a_old": {"key": "<public key in Base64>", "expired_ts": 1700000000000}},
        ),
        Key(
            "trusted_key_servers",
            Blocks(
                (
                    Key(
                        "server_name",
                        Text("server name", _other_server_fault),
                        doc="The notary.",
                        required=True,
                        example="matrix.org",
                    ),
                    Key(
                        "verify_keys",
                        Free(),
                        {},
                        "Its public keys in Base64, by key ID; without them it is asked for them over TLS.",
                        example={"ed25519:abc": "<public key in Base64>"},
                    ),
                    Key(
                        "accept_keys_insecurely",
                        Flag(),
                        False,
                        "Accepted so that a Synapse file can be used; answers of a notary are always checked.",
                    ),
                )
            ),
            [{"server_name": "matrix.org"}],
            "Servers that are asked for the keys of others who do not answer themselves. An empty list: none.",
        ),
        Key(
            "suppress_key_server_warning",
            Flag(),
            False,
            "Accepted so that a Synapse file can be used; there is no such warning here.",
        ),
    ),
)

ROOMS = Section(
    "Rooms",
    (
        Key(
            "default_room_version",
            Choice(tuple(ROOM_VERSIONS)),
            DEFAULT_ROOM_VERSION,
            "Version of rooms whose maker asks for none.",
        ),
        Key(
            "encryption_enabled_by_default_for_room_type",
            Choice(("all", "invite", "off", False)),
            "off",
            "Which new rooms are encrypted at once: all, those by invitation only, or none.",
        ),
        Key(
            "redaction_retention_period",
            Duration(endless=True),
            "7d",
            "How long the original of a redacted event is kept. null keeps it for ever.",
        ),
        Key(
            "filter_timeline_limit",
            Integer(-1),
            100,
            "The most events of a room that one sync gives; -1: no limit.",
        ),
        Key("enable_room_list_search", Flag(), True, "Serve the list of public rooms."),
        Key("allow_public_rooms_without_auth", Flag(), False, "Serve the list of public rooms to anybody."),
        Key(
            "allow_public_rooms_over_federation",
            Flag(),
            False,
            "Serve the list of public rooms to other servers.",
        ),
        Key(
            "room_list_publication_rules",
            _naming_rules("a room without aliases has the empty one"),
            doc="Who may show which rooms in the list of public rooms: the first rule that matches decides, and "
            "none forbids. Without this key only administrators of the server may.",
            example=[{"user_id": "*", "alias": "*", "room_id": "*", "action": "allow"}],
        ),
        Key(
            "alias_creation_rules",
            _naming_rules("the alias that is to be made"),
            doc="Who may make which aliases for which rooms, in the same way. Without this key everybody may.",
            example=[{"user_id": "*", "alias": "*", "room_id": "*", "action": "allow"}],
        ),
        Key("require_membership_for_aliases", Flag(), True, "Only members of a room may give it an alias."),
        Key(
            "max_event_delay_duration",
            Duration(endless=True),
            "24h",
            "How far ahead clients may schedule events to be sent (MSC4140). null: not at all.",
        ),
        Key("forget_rooms_on_leave", Flag(), False, "Leaving a room also forgets it."),
    ),
)

SEARCHING = Section(
    "Searching",
    (
        Key(
            "enable_search",
            Flag(),
            True,
            "Index what is said in rooms that are not encrypted, so that clients can search in it.",
        ),
        Key(
            "user_directory",
            Block(
                (
                    Key("enabled", Flag(), True, "Let users look for others by name."),
                    Key(
                        "search_all_users",
                        Flag(),
                        False,
                        "Find every user of this server, not only those who share a room with the one who looks, "
                        "or are in a room that everybody may join or read.",
                    ),
                    Key("prefer_local_users", Flag(), False, "Show users of this server before others."),
                    Key("exclude_remote_users", Flag(), False, "Find users of this server only."),
                    Key("show_locked_users", Flag(), False, "Find users whose accounts are locked, too."),
                )
            ),
            doc="The user directory.",
        ),
    ),
)

PRESENCE = Section(
    "Presence",
    (
        Key(
            "presence",
            Block(
                (
                    Key(
                        "enabled",
                        Choice((True, False, "untracked")),
                        True,
                        "Tell users who share a room whether the others are there. untracked means false: it is for "
                        "modules that set presence, and there are none.",
                    ),
                    Key(
                        "include_offline_users_on_sync",
                        Flag(),
                        False,
                        "Tell clients that start anew also of users who are offline and left a status message.",
                    ),
                    Key(
                        "last_active_granularity",
                        Duration(),
                        "1m",
                        "How long somebody counts as active after they did something.",
                    ),
                    Key(
                        "sync_online_timeout",
                        Duration(),
                        "30s",
                        "How long somebody counts as there after their client last asked for news.",
                    ),
                    Key(
                        "idle_timeout",
                        Duration(),
                        "5m",
                        "How long somebody who does nothing counts as online.",
                    ),
                )
            ),
            doc="Who is there.",
        ),
        Key(
            "use_presence",
            Flag(),
            doc="An older name of presence.enabled, which it yields to.",
            example=True,
        ),
    ),
)

MEDIA = Section(
    "Media",
    (
        Key("media_store_path", Text("folder"), "media_store", "Where uploaded files lie."),
        Key("max_upload_size", Size(), "50M", "Largest upload."),
        Key(
            "media_upload_limits",
            Blocks(
                (
                    Key(
                        "time_period",
                        Duration(),
                        doc="How far back it is counted.",
                        required=True,
                        example="1d",
                    ),
                    Key("max_size", Size(), doc="What may come in that time.", required=True, example="500M"),
                )
            ),
            [],
            "How much a user may upload in a time; every one of these bounds holds.",
        ),
        Key(
            "max_pending_media_uploads",
            Integer(1, 10_000),
            5,
            "Uploads that a user may announce without sending them.",
        ),
        Key("unused_expiration_time", Duration(), "24h", "How long an announced upload may take."),
        Key("max_image_pixels", Size(), "32M", "Images with more pixels get no thumbnails."),
        Key(
            "dynamic_thumbnails", Flag(), False, "Make thumbnails in exactly the size that a client asks for."
        ),
        Key(
            "thumbnail_sizes",
            Blocks(
                (
                    Key("width", Integer(1, 4096), doc="Pixels.", required=True, example=320),
                    Key("height", Integer(1, 4096), doc="Pixels.", required=True, example=240),
                    Key(
                        "method",
                        Choice(("crop", "scale")),
                        "scale",
                        "crop fills the size, scale fits into it.",
                    ),
                )
            ),
            [
                {"width": 32, "height": 32, "method": "crop"},
                {"width": 96, "height": 96, "method": "crop"},
                {"width": 320, "height": 240, "method": "scale"},
                {"width": 640, "height": 480, "method": "scale"},
                {"width": 800, "height": 600, "method": "scale"},
            ],
            "Sizes of thumbnails.",
        ),
        Key(
            "enable_authenticated_media",
            Flag(),
            True,
            "Files uploaded from now on are given to logged-in users only.",
        ),
    ),
)

CALLS = Section(
    "Calls",
    (
        Key(
            "turn_uris",
            ListOf(Text("turn: or turns: URI")),
            [],
            "TURN servers that relay calls between clients that can't reach each other.",
            example=["turns:turn.example.org?transport=tcp"],
        ),
        Key(
            "turn_shared_secret",
            SecretText(),
            doc="The secret that the TURN servers share with this one: users get credentials that pass away.",
            example="<long random text>",
        ),
        Key(
            "turn_shared_secret_path",
            Text("file"),
            doc="A file that holds the secret; instead of turn_shared_secret.",
            example="turn_shared_secret",
        ),
        Key(
            "turn_username",
            Text("name"),
            doc="One name for all users, where there is no secret.",
            example="calls",
        ),
        Key("turn_password", SecretText(), doc="The password for that name.", example="<password>"),
        Key("turn_user_lifetime", Duration(), "1h", "How long credentials are good for."),
        Key("turn_allow_guests", Flag(), True, "Give them to guests, too."),
    ),
)

OPERATION = Section(
    "Operation",
    (
        Key(
            "caches",
            Block(
                (
                    Key(
                        "global_factor",
                        Number(),
                        0.5,
                        "Memory for caches: 0.5 suits a small server, each doubling doubles the memory.",
                    ),
                )
            ),
            doc="Memory for what is read often.",
        ),
        Key(
            "logging",
            Block(
                (
                    Key(
                        "level",
                        Choice(("debug", "info", "warning", "error")),
                        "info",
                        "The least grave that is logged.",
                    ),
                    Key(
                        "format",
                        Choice(("console", "json")),
                        "console",
                        "console for people, json for log collectors.",
                    ),
                )
            ),
            doc="What the server writes to standard error. Not a Synapse key.",
        ),
    ),
)

SECTIONS = (
    SERVER,
    LISTENERS,
    DATABASE,
    REGISTRATION,
    PASSWORDS,
    SESSIONS,
    RATE_LIMITS,
    FEDERATION,
    SERVER_KEYS,
    ROOMS,
    SEARCHING,
    PRESENCE,
    MEDIA,
    CALLS,
    OPERATION,
    PROCESSES,
)
KEYS: tuple[Key, ...] = tuple(key for section in SECTIONS for key in section.keys)
