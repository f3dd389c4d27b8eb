"""Reading configuration: what is taken, and what is refused with its place and its cure."""

from pathlib import Path

import pytest

from ranvier.config import Config, ConfigError, PostgresStore, SqliteStore, build, load, read_text
from ranvier.config.kinds import RateLimit, Secret

FOLDER = Path("/srv/example")


def config_of(text: str) -> Config:
    return build(read_text("server_name: example.org\n" + text, "homeserver.yaml"), FOLDER)


def faults_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        build(read_text(text, "homeserver.yaml"), FOLDER)
    return [str(fault) for fault in caught.value.faults]


def fault_of(text: str) -> str:
    [fault] = faults_of("server_name: example.org\n" + text)
    return fault


def test_a_server_name_is_all_that_is_needed() -> None:
    config = config_of("")
    assert config.server.name == "example.org"
    assert config.database == SqliteStore(FOLDER / "homeserver.db")
    assert config.server.signing_key_path == FOLDER / "signing.key"
    assert config.media.path == FOLDER / "media_store"
    assert config.warnings == ()
    [listener] = config.listeners
    assert (listener.port, listener.addresses, listener.x_forwarded) == (8008, ("127.0.0.1",), False)
    assert listener.resources == {"client", "federation", "keys", "media", "openid", "health"}


def test_a_missing_server_name_says_what_to_add() -> None:
    [fault] = faults_of("enable_registration: false\n")
    assert fault == "homeserver.yaml:1:1: `server_name` is missing; add `server_name: example.org`"


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("https://example.org", "without https://"),
        ("Example.org", "lower case: example.org"),
        ("a b", "a domain"),
    ],
)
def test_a_server_name_that_is_none_is_refused(name: str, word: str) -> None:
    [fault] = faults_of(f"server_name: {name}\n")
    assert fault.startswith("homeserver.yaml:1:1: `server_name`: ") or "homeserver.yaml:1:" in fault
    assert word in fault


def test_an_unknown_key_names_its_place_and_the_nearest_known_one() -> None:
    assert fault_of("enable_registratoin: true") == (
        "homeserver.yaml:2:1: `enable_registratoin` is no key that this server knows; "
        "did you mean `enable_registration`?"
    )
    assert "2:1" in fault_of("x_forwarded: true")
    assert "`listeners[].x_forwarded`" in fault_of("x_forwarded: true")
    assert "`ranvier config` prints" in fault_of("zzzzzz: 1")


def test_an_unknown_key_in_a_block_names_its_place() -> None:
    fault = fault_of("password_config:\n  policy:\n    minimum_lenght: 8\n")
    assert fault.startswith("homeserver.yaml:4:5: `password_config.policy.minimum_lenght`")
    assert "`minimum_length`" in fault


def test_a_key_that_is_known_but_not_used_warns_once_and_whole() -> None:
    config = config_of("email:\n  smtp_host: mail.example.org\n  smtp_port: 25\nmacaroon_secret_key: abc\n")
    assert config.warnings == (
        "homeserver.yaml:2:1: `email` is known, but not yet used; it has no effect",
        "homeserver.yaml:5:1: `macaroon_secret_key` is known, but not yet used; it has no effect",
    )


def test_all_faults_are_told_at_once_in_the_order_of_the_file() -> None:
    faults = faults_of(
        "server_name: example.org\nmax_upload_size: big\nenable_registration: 'yes'\nport: 8008\n"
    )
    assert [fault.split(":")[1] for fault in faults] == ["2", "3", "4"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("enable_registration: 'true'", "true or false, without quotes"),
        ("max_upload_size: 50 megabytes", "size (512K, 50M, 2G)"),
        ("session_lifetime: 3 weeks", "duration (30s, 5m, 2h, 7d, 4w, 1y), or infinity"),
        ("refreshable_access_token_lifetime: infinity", "duration"),
        ("default_room_version: 11", "put 11 in quotes"),
        ("default_room_version: '99'", "but it is '99'"),
        ("public_baseurl: matrix.example.org", "https://matrix.example.org/"),
        ("rc_message: 5", "`per_second` and `burst_count`"),
        ("rc_message: {per_second: 1}", "`per_second` and `burst_count`"),
        ("rc_message: {per_second: -1, burst_count: 1}", "not negative"),
        ("thumbnail_sizes: 32", "must be a list"),
        ("thumbnail_sizes: [{width: 32}]", "`thumbnail_sizes[].height` is missing"),
        ("password_config: true", "must be a block"),
        ("listeners: [{bind_addresses: []}]", "either a `port` or the `path`"),
        ("listeners: [{port: 80, path: /a}]", "either a `port` or the `path`"),
        ("listeners: [{port: 70000}]", "from 0 to 65535"),
        ("listeners: [{port: 80, tls: true}]", "needs `tls_certificate_path`"),
        ("listeners: [{port: 80, bind_addresses: [example.org]}]", "no IP address"),
        ("listeners: [{port: 80, type: replication}]", "one of http | metrics"),
        ("logging: {level: loud}", "one of debug | info | warning | error"),
        ("enable_registration: true", "`registration_requires_token: true`"),
        ("database: {name: psycopg2, args: {user: a}}", "name the PostgreSQL database"),
        ("database: {name: psycopg2, args: {database: a, cp_min: 5, cp_max: 2}}", "larger than `cp_max`"),
        ("database: {name: mysql}", "sqlite3 | psycopg2 | asyncpg"),
        ("extra_well_known_client_content: {m.homeserver: {}}", "set `public_baseurl` instead"),
        ("filter_timeline_limit: 1.5", "whole number"),
        ("registration_shared_secret: 12345", "put it in quotes"),
    ],
)
def test_a_wrong_value_is_refused_with_the_cure(text: str, words: str) -> None:
    fault = fault_of(text)
    assert fault.startswith("homeserver.yaml:")
    assert words in fault


def test_synapse_notation_is_read_as_synapse_means_it() -> None:
    config = config_of(
        "max_upload_size: 10M\nsession_lifetime: 24h\nredaction_retention_period: null\nmax_image_pixels: 32M\n"
        "nonrefreshable_access_token_lifetime: 60000\nrefresh_token_lifetime: '1w'\npublic_baseurl: https://m.example.org\n"
    )
    assert config.media.max_upload_bytes == 10 * 1024 * 1024
    assert config.sessions.session_lifetime == 86_400_000
    assert config.sessions.nonrefreshable_access_token_lifetime == 60_000
    assert config.sessions.refresh_token_lifetime == 7 * 86_400_000
    assert config.rooms.redaction_retention_period is None
    assert config.server.public_baseurl == "https://m.example.org/"


def test_rate_limits_are_named_after_their_keys() -> None:
    config = config_of(
        "rc_message: {per_second: 7, burst_count: 9}\nrc_login: {account: {per_second: 1, burst_count: 2}}"
    )
    assert config.rate_limits["message"] == RateLimit(7, 9)
    assert config.rate_limits["login_account"] == RateLimit(1, 2)
    assert config.rate_limits["login_address"] == RateLimit(0.003, 5)


def test_a_postgresql_database_is_read_as_the_guides_write_it() -> None:
    config = config_of(
        "database:\n    name: psycopg2\n    args:\n        user: synapse_user\n        password: <pass>\n"
        "        database: synapse\n        host: localhost\n        cp_min: 5\n        cp_max: 10\n"
    )
    database = config.database
    assert isinstance(database, PostgresStore)
    assert (database.database, database.user, database.host, database.port) == (
        "synapse",
        "synapse_user",
        "localhost",
        5432,
    )
    assert (database.min_connections, database.max_connections) == (5, 10)
    assert database.password == Secret("<pass>")
    dbname = config_of("database: {name: asyncpg, args: {dbname: other}}").database
    assert isinstance(dbname, PostgresStore)
    assert dbname.database == "other"


def test_a_listener_takes_its_addresses_in_both_spellings() -> None:
    config = config_of(
        "listeners:\n"
        "  - {port: 8008, bind_address: 127.0.0.1, type: http, x_forwarded: true,\n"
        "     resources: [{names: [client, federation, consent]}]}\n"
        "  - {path: http.sock, resources: [{names: [media]}]}\n"
        "  - {port: 9000, type: metrics, bind_addresses: ['::1', localhost]}\n"
    )
    http, socket, metrics = config.listeners
    assert http.addresses == ("127.0.0.1",)
    assert http.x_forwarded
    assert http.resources == {"client", "federation", "keys", "media", "openid", "health"}
    assert (socket.path, socket.port, socket.x_forwarded) == (FOLDER / "http.sock", None, True)
    assert (metrics.kind, metrics.addresses) == ("metrics", ("::1", "127.0.0.1"))
    assert config.warnings == ("homeserver.yaml:3:5: nothing is served for the resource `consent` yet",)


def test_secrets_show_in_no_representation() -> None:
    config = config_of("registration_shared_secret: very-secret\npassword_config: {pepper: also-secret}\n")
    assert config.registration.shared_secret is not None
    assert config.registration.shared_secret.reveal() == "very-secret"
    for text in (repr(config), str(config.registration), f"{config.passwords}"):
        assert "very-secret" not in text
        assert "also-secret" not in text


def test_a_wrong_secret_shows_in_no_complaint() -> None:
    for text in ("registration_shared_secret: [hunter2]", "password_config: {pepper: {a: hunter2}}"):
        assert "hunter2" not in fault_of(text)


def test_a_secret_may_lie_in_a_file_but_not_in_both_places(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("  from-a-file \n")
    text = "server_name: example.org\nregistration_shared_secret_path: secret\n"
    config = build(read_text(text, "homeserver.yaml"), tmp_path)
    assert config.registration.shared_secret == Secret("from-a-file")
    with pytest.raises(ConfigError, match="not both"):
        build(read_text(text + "registration_shared_secret: x\n", "homeserver.yaml"), tmp_path)
    with pytest.raises(ConfigError, match="no secret in"):
        build(read_text(text.replace("secret\n", "missing\n"), "homeserver.yaml"), tmp_path)


def test_password_login_can_be_left_to_confirming() -> None:
    assert (config_of("").passwords.logs_in, config_of("").passwords.confirms) == (True, True)
    only = config_of("password_config: {enabled: only_for_reauth}").passwords
    assert (only.logs_in, only.confirms) == (False, True)
    never = config_of("password_config: {enabled: false}").passwords
    assert (never.logs_in, never.confirms) == (False, False)


def test_later_files_replace_whole_top_level_keys(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "server_name: example.org\nrc_login:\n  address: {per_second: 1, burst_count: 1}\n"
    )
    folder = tmp_path / "conf.d"
    folder.mkdir()
    (folder / "1.yaml").write_text("rc_login:\n  account: {per_second: 2, burst_count: 2}\n")
    (folder / "2.yaml").write_text("max_upload_size: 1M\n")
    (folder / "ignored.txt").write_text("nonsense: 1\n")
    config = load([tmp_path / "a.yaml", folder])
    assert config.rate_limits["login_address"] == RateLimit(0.003, 5)
    assert config.rate_limits["login_account"] == RateLimit(2, 2)
    assert config.media.max_upload_bytes == 1024**2
    assert config.media.path == tmp_path / "media_store"


def test_an_assignment_replaces_one_value(tmp_path: Path) -> None:
    path = tmp_path / "homeserver.yaml"
    path.write_text("server_name: example.org\nlisteners: [{port: 8008, bind_addresses: [127.0.0.1]}]\n")
    config = load(
        [path],
        [
            "listeners.0.port=0",
            "rc_login.address={per_second: 9, burst_count: 9}",
            "enable_search_is_not_set=1",
        ][:2],
    )
    assert config.listeners[0].port == 0
    assert config.listeners[0].addresses == ("127.0.0.1",)
    assert config.rate_limits["login_address"] == RateLimit(9, 9)


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("listeners.3.port=0", "no place in a list of 1"),
        ("server_name.x=1", "has no parts"),
        ("max_upload_size", "--set key=value"),
        ("max_upload_size=huge", "size (512K"),
        ("max_upload_sice=1M", "did you mean `max_upload_size`"),
    ],
)
def test_a_wrong_assignment_is_placed_on_the_command_line(
    tmp_path: Path, assignment: str, words: str
) -> None:
    path = tmp_path / "homeserver.yaml"
    path.write_text("server_name: example.org\nlisteners: [{port: 8008}]\n")
    with pytest.raises(ConfigError) as caught:
        load([path], [assignment])
    assert str(caught.value).startswith("--set ")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "not valid YAML"),
        ("a: 1\na: 2\n", "stands twice; the first is at homeserver.yaml:1:1"),
        ("- a\n", "the top of a configuration file"),
        ("a: !!python/object:os.system x\n", "not valid YAML"),
        ("a: " + "[" * 40 + "]" * 40, "nested more than"),
        ("? [a]\n: 1\n", "a key must be a plain word"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused_with_its_place(
    tmp_path: Path, text: str, words: str
) -> None:
    path = tmp_path / "homeserver.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load([path])
    assert words in str(caught.value).replace(str(tmp_path) + "/", "")


def test_aliases_cannot_multiply() -> None:
    lines = ["a0: &a0 [x, x]"] + [
        f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}, *a{i - 1}, *a{i - 1}]" for i in range(1, 15)
    ]
    tree = read_text("\n".join(lines), "homeserver.yaml")
    assert len(tree.value) == 15


def test_a_file_that_is_missing_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load([tmp_path / "none.yaml"])
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load([tmp_path / "b.yaml"])
    with pytest.raises(ConfigError, match=r"no \*.yaml file"):
        (tmp_path / "empty").mkdir()
        load([tmp_path / "empty"])


def test_federation_is_open_and_guarded_unless_the_file_says_otherwise() -> None:
    config = config_of("report_stats: false")
    assert config.federation.allowed_servers is None
    assert config.federation.verifies_certificates
    assert "10.0.0.0/8" in config.federation.blocked_ranges
    assert [notary.name for notary in config.server_keys.notaries] == ["matrix.org"]


def test_an_empty_list_of_servers_allows_none_of_them() -> None:
    assert config_of("federation_domain_whitelist: []").federation.allowed_servers == frozenset()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ip_range_blacklist: [10.0.0.0/33]", "an address or a range"),
        ("federation_domain_whitelist: ['https://example.org']", "a server name such as example.org"),
        ("old_signing_keys: {ed25519:a: {key: short, expired_ts: 1}}", "`expired_ts`"),
        ("old_signing_keys: {rsa:a: {key: AAAA, expired_ts: 1}}", "ed25519:a_old"),
        ("trusted_key_servers: [{}]", "`trusted_key_servers[].server_name` is missing"),
        ("trusted_key_servers: [{server_name: a.org, verify_keys: {ed25519:a: x}}]", "`verify_keys`"),
        ("rc_federation: {concurrent: 0}", "from 1"),
        ("listeners: [{port: 80, tls: true, type: metrics}]", "listeners of type http"),
    ],
)
def test_what_is_wrong_with_federation_is_refused_with_the_cure(text: str, words: str) -> None:
    assert words in "\n".join(faults_of("server_name: example.org\n" + text))


def test_documents_to_accept_have_one_version_in_all_languages() -> None:
    entry = "{id: privacy, version: '%s', language: %s, name: Privacy, url: 'https://example.org/p'}"
    entries = [entry % ("1", "en"), entry % ("2", "de")]
    assert "two versions" in fault_of(f"registration_terms: [{', '.join(entries)}]")
    assert "stands twice" in fault_of(f"registration_terms: [{entry % ('1', 'en')}, {entry % ('1', 'en')}]")
