"""From values to records, with the rules that concern several keys."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ranvier.config.federation import federation_of, server_keys_of
from ranvier.config.keys import KEYS, RATE_LIMITS
from ranvier.config.kinds import Block, Key, RateLimit, Secret
from ranvier.config.process_records import Processes
from ranvier.config.processes import ProcessReading, is_main
from ranvier.config.reading import ConfigError, Reading, read_all
from ranvier.config.records import (
    Calls,
    Config,
    Listener,
    Media,
    Operation,
    PasswordPolicy,
    Passwords,
    PostgresStore,
    Presence,
    Registration,
    RoomNaming,
    Rooms,
    Searching,
    Server,
    Sessions,
    SqliteStore,
    ThumbnailSize,
    Tls,
    UploadLimit,
)
from ranvier.config.tree import Fault, Given, Place

Values = Mapping[str, Any]
SERVED = frozenset(
    {"client", "federation", "keys", "media", "metrics", "openid", "health", "static", "replication"}
)
IMPLIED = {"client": {"media"}, "federation": {"keys", "media", "openid"}}


def load(paths: Sequence[Path], assignments: Sequence[str] = ()) -> Config:
    """The configuration of these files, in order, with `key=value` assignments on top.

    Raises ConfigError with everything that is wrong.
    """
    tree, folder = read_all(paths, assignments)
    return build(tree, folder)


def build(tree: Given, folder: Path) -> Config:
    """The records of a tree whose relative paths start in `folder` unless it names a data directory."""
    reading = Reading(KEYS)
    values = reading.read(tree)
    if reading.faults:
        raise ConfigError(reading.faults)
    return _Building(values, tree, folder, reading.warnings).config()


class _Building:
    """Makes the records; each rule over several keys adds a fault where the keys stand."""

    def __init__(self, values: Values, tree: Given, folder: Path, warnings: list[str]) -> None:
        self._values = values
        self._tree = tree
        self._folder = folder / values["data_directory"] if values["data_directory"] else folder
        self._warnings = warnings
        self._faults: list[Fault] = []

    def config(self) -> Config:
        values = self._values
        listeners = self._listeners()
        database = self._database(values["database"])
        config = Config(
            server=self._server(),
            listeners=listeners,
            tls=self._tls(),
            database=database,
            registration=self._registration(),
            passwords=_passwords(values["password_config"]),
            sessions=_sessions(values),
            rate_limits=_rate_limits(values),
            presence=self._presence(),
            federation=federation_of(values, self._path),
            server_keys=server_keys_of(values, self._complain),
            rooms=_rooms(values),
            searching=_searching(values),
            media=self._media(),
            calls=self._calls(),
            operation=_operation(values),
            processes=self._processes(listeners, database),
            warnings=tuple(self._warnings),
        )
        if self._faults:
            raise ConfigError(self._faults)
        return config

    def _place(self, *names: str) -> Place:
        """Where the first of these keys stands, or the file."""
        for name in names:
            if name in self._tree.value:
                place: Place = self._tree.value[name].place
                return place
        return self._tree.place

    def _complain(self, name: str, sentence: str) -> None:
        self._faults.append(Fault(self._place(name), f"`{name}`: {sentence}"))

    def _path(self, text: str) -> Path:
        return self._folder / text

    def _server(self) -> Server:
        values = self._values
        url = values["public_baseurl"]
        extra = values["extra_well_known_client_content"]
        for refused in ("m.homeserver", "m.identity_server"):
            if refused in extra:
                place = self._place("extra_well_known_client_content")
                self._faults.append(
                    Fault(place, f"`{refused}` can't stand here; set `public_baseurl` instead")
                )
        if values["report_stats"]:
            self._warnings.append(
                f"{self._place('report_stats')}: `report_stats` has no effect; nothing is reported"
            )
        return Server(
            name=values["server_name"],
            public_baseurl=url.rstrip("/") + "/" if url else None,
            extra_well_known_client_content=extra,
            data_directory=self._folder,
            signing_key_path=self._path(values["signing_key_path"]),
        )

    def _warn(self, name: str, sentence: str) -> None:
        self._warnings.append(f"{self._place(name)}: `{name}`: {sentence}")

    def _processes(self, listeners: tuple[Listener, ...], database: SqliteStore | PostgresStore) -> Processes:
        reading = ProcessReading(self._values, self._path, self._complain, self._warn)
        return reading.processes(listeners, database, self._secret_of)

    @property
    def _listener_blocks(self) -> Sequence[Values]:
        """Those of this process: a worker has its own."""
        blocks: Sequence[Values] = self._values["listeners" if is_main(self._values) else "worker_listeners"]
        return blocks

    def _listeners(self) -> tuple[Listener, ...]:
        listeners = tuple(self._listener(block) for block in self._listener_blocks)
        if is_main(self._values) and not any("client" in one.resources for one in listeners):
            self._warn(
                "listeners",
                "no listener has the resource client, so nobody can log in here. Of several files the last one with "
                "`listeners` counts: put them all under one",
            )
        return listeners

    def _listener(self, values: Values) -> Listener:
        place = values["_place"]
        port, path = values["port"], values["path"]
        if (port is None) == (path is None):
            self._faults.append(Fault(place, "a listener has either a `port` or the `path` of a Unix socket"))
        if values["tls"] and (path is not None or values["type"] == "metrics"):
            self._faults.append(Fault(place, "`tls` is for listeners of type http with a `port`"))
        if path is not None and values["type"] == "metrics":
            self._faults.append(Fault(place, "a metrics listener has a `port`, not a `path`"))
        addresses = [*values["bind_addresses"], *([values["bind_address"]] if values["bind_address"] else [])]
        for address in addresses:
            if not _is_address(address):
                self._faults.append(
                    Fault(place, f"`{address}` in `bind_addresses` is no IP address such as 127.0.0.1 or ::1")
                )
        forwarded = values["x_forwarded"]
        return Listener(
            kind=values["type"],
            port=port,
            path=self._path(path) if path is not None else None,
            addresses=tuple("127.0.0.1" if address == "localhost" else address for address in addresses),
            x_forwarded=path is not None if forwarded is None else forwarded,
            tls=values["tls"],
            resources=frozenset()
            if values["type"] == "metrics"
            else self._resources(values["resources"], place),
        )

    def _tls(self) -> Tls | None:
        values = self._values
        certificate, private_key = values["tls_certificate_path"], values["tls_private_key_path"]
        if not any(listener["tls"] for listener in self._listener_blocks):
            return None
        if certificate is None or private_key is None:
            missing = "tls_certificate_path" if certificate is None else "tls_private_key_path"
            place = self._place("listeners")
            self._faults.append(Fault(place, f"a listener with `tls: true` needs `{missing}`"))
            return None
        return Tls(self._path(certificate), self._path(private_key))

    def _resources(self, blocks: Sequence[Values], place: Place) -> frozenset[str]:
        names = {name for block in blocks for name in block["names"]}
        for name in sorted(names - SERVED):
            self._warnings.append(f"{place}: nothing is served for the resource `{name}` yet")
        implied = set().union(*(IMPLIED.get(name, set()) for name in names))
        return frozenset((names & SERVED) | implied | {"health"})

    def _database(self, values: Values) -> SqliteStore | PostgresStore:
        args = values["args"]
        if values["name"] == "sqlite3":
            return SqliteStore(self._path(args["database"]))
        name = args["dbname"]
        if name is None and "database" in self._given("database", "args"):
            name = args["database"]
        if name is None:
            self._faults.append(
                Fault(self._place("database"), "`database.args.database`: name the PostgreSQL database")
            )
        if args["cp_min"] > args["cp_max"]:
            self._faults.append(
                Fault(self._place("database"), "`database.args.cp_min` is larger than `cp_max`")
            )
        return PostgresStore(
            database=name or "",
            user=args["user"],
            password=args["password"],
            host=args["host"],
            port=args["port"],
            min_connections=args["cp_min"],
            max_connections=args["cp_max"],
            ssl_mode=args["sslmode"],
            allow_unsafe_locale=values["allow_unsafe_locale"],
        )

    def _given(self, *names: str) -> Mapping[str, Given]:
        """What was given in a nested block; empty when it was not given."""
        found: Any = self._tree.value
        for name in names:
            entry = found.get(name)
            found = entry.value if entry is not None and isinstance(entry.value, dict) else {}
        block: Mapping[str, Given] = found
        return block

    def _registration(self) -> Registration:
        values = self._values
        verified = values["registration_requires_token"] or values["enable_registration_without_verification"]
        if values["enable_registration"] and not verified:
            self._faults.append(
                Fault(
                    self._place("enable_registration"),
                    "open registration that asks for nothing is abused within days: set "
                    "`registration_requires_token: true`, or `enable_registration_without_verification: "
                    "true` if you want it so",
                )
            )
        return Registration(
            enabled=values["enable_registration"],
            requires_token=values["registration_requires_token"],
            shared_secret=self._secret("registration_shared_secret"),
            guests=values["allow_guest_access"],
            hides_taken_names=values["inhibit_user_in_use_error"],
            users_set_displayname=values["enable_set_displayname"],
            users_set_avatar_url=values["enable_set_avatar_url"],
            terms=self._terms(),
        )

    def _terms(self) -> Mapping[str, Mapping[str, Any]]:
        documents: dict[str, dict[str, Any]] = {}
        for entry in self._values["registration_terms"]:
            document = documents.setdefault(entry["id"], {"version": entry["version"]})
            if document["version"] != entry["version"]:
                self._complain(
                    "registration_terms", f"{entry['id']} has two versions: all languages need the same"
                )
            if entry["language"] == "version" or entry["language"] in document:
                self._complain("registration_terms", f"{entry['id']} stands twice in {entry['language']}")
            document[entry["language"]] = {"name": entry["name"], "url": entry["url"]}
        return documents

    def _secret(self, name: str) -> Secret | None:
        return self._secret_of(self._values, name)

    def _secret_of(self, values: Values, name: str) -> Secret | None:
        """A secret that stands in the configuration, or in a file that `<name>_path` names."""
        inline: Secret | None = values[name]
        path = values[f"{name}_path"]
        if path is None:
            return inline
        place = self._place(f"{name}_path")
        if inline is not None:
            self._faults.append(Fault(place, f"give either `{name}` or `{name}_path`, not both"))
            return None
        try:
            text = self._path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            text = ""
        if not text:
            sentence = (
                f"`{name}_path`: there is no secret in {self._path(path)}; write one line of random text"
            )
            self._faults.append(Fault(place, f"{sentence}, or let `ranvier config --create-missing` do it"))
            return None
        return Secret(text)

    def _calls(self) -> Calls:
        values = self._values
        return Calls(
            turn_uris=values["turn_uris"],
            turn_secret=self._secret("turn_shared_secret"),
            turn_username=values["turn_username"],
            turn_password=values["turn_password"],
            turn_lifetime=values["turn_user_lifetime"],
            turn_for_guests=values["turn_allow_guests"],
        )

    def _presence(self) -> Presence:
        block, old = self._values["presence"], self._values["use_presence"]
        enabled = block["enabled"] is True
        return Presence(
            enabled=enabled if old is None or "enabled" in self._given("presence") else old,
            shows_offline=block["include_offline_users_on_sync"],
            idle_timeout=block["idle_timeout"],
            active_granularity=block["last_active_granularity"],
            online_timeout=block["sync_online_timeout"],
        )

    def _media(self) -> Media:
        values = self._values
        return Media(
            path=self._path(values["media_store_path"]),
            max_upload_bytes=values["max_upload_size"],
            max_pending_uploads=values["max_pending_media_uploads"],
            pending_lifetime=values["unused_expiration_time"],
            max_image_pixels=values["max_image_pixels"],
            dynamic_thumbnails=values["dynamic_thumbnails"],
            thumbnail_sizes=tuple(
                ThumbnailSize(size["width"], size["height"], size["method"])
                for size in values["thumbnail_sizes"]
            ),
            needs_token=values["enable_authenticated_media"],
            upload_limits=tuple(
                UploadLimit(limit["time_period"], limit["max_size"])
                for limit in values["media_upload_limits"]
            ),
        )


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return text == "localhost"
    return True


def _passwords(values: Values) -> Passwords:
    policy = values["policy"]
    return Passwords(
        logs_in=values["enabled"] is True,
        confirms=values["enabled"] is not False,
        pepper=values["pepper"],
        policy=PasswordPolicy(
            enabled=policy["enabled"],
            minimum_length=policy["minimum_length"],
            require_digit=policy["require_digit"],
            require_symbol=policy["require_symbol"],
            require_lowercase=policy["require_lowercase"],
            require_uppercase=policy["require_uppercase"],
        ),
    )


def _sessions(values: Values) -> Sessions:
    login_token = values["login_via_existing_session"]
    return Sessions(
        session_lifetime=values["session_lifetime"],
        refreshable_access_token_lifetime=values["refreshable_access_token_lifetime"],
        refresh_token_lifetime=values["refresh_token_lifetime"],
        nonrefreshable_access_token_lifetime=values["nonrefreshable_access_token_lifetime"],
        interactive_timeout=values["ui_auth"]["session_timeout"],
        login_token_enabled=login_token["enabled"],
        login_token_needs_password=login_token["require_ui_auth"],
        login_token_lifetime=login_token["token_timeout"],
    )


def _rate_limits(values: Values) -> Mapping[str, RateLimit]:
    limits: dict[str, RateLimit] = {}

    def gather(keys: tuple[Key, ...], given: Values, prefix: str) -> None:
        for key in keys:
            name = prefix + key.name.removeprefix("rc_")
            if isinstance(key.kind, Block):
                gather(key.kind.keys, given[key.name], f"{name}_")
            elif given[key.name] is not None:
                limits[name] = given[key.name]

    gather(RATE_LIMITS.keys, values, "")
    return limits


def _rooms(values: Values) -> Rooms:
    encrypted = values["encryption_enabled_by_default_for_room_type"]
    limit = values["filter_timeline_limit"]
    return Rooms(
        default_version=values["default_room_version"],
        encrypted_by_default=encrypted or "off",
        redaction_retention_period=values["redaction_retention_period"],
        timeline_limit=limit if limit > 0 else None,
        list_enabled=values["enable_room_list_search"],
        list_without_token=values["allow_public_rooms_without_auth"],
        list_for_peers=values["allow_public_rooms_over_federation"],
        publication_rules=_naming(values["room_list_publication_rules"]),
        alias_rules=_naming(values["alias_creation_rules"]),
        alias_needs_membership=values["require_membership_for_aliases"],
        leaving_forgets=values["forget_rooms_on_leave"],
        longest_event_delay=values["max_event_delay_duration"],
    )


def _searching(values: Values) -> Searching:
    directory = values["user_directory"]
    return Searching(
        messages=values["enable_search"],
        users=directory["enabled"],
        users_everybody=directory["search_all_users"],
        users_local_first=directory["prefer_local_users"],
        users_local_only=directory["exclude_remote_users"],
        users_locked_too=directory["show_locked_users"],
    )


def _naming(rules: Sequence[Values] | None) -> tuple[RoomNaming, ...] | None:
    if rules is None:
        return None
    return tuple(
        RoomNaming(rule["action"] == "allow", rule["user_id"], rule["alias"], rule["room_id"])
        for rule in rules
    )


def _operation(values: Values) -> Operation:
    return Operation(
        metrics=values["enable_metrics"],
        cache_factor=values["caches"]["global_factor"],
        log_level=values["logging"]["level"],
        log_format=values["logging"]["format"],
    )
