"""The record of processes: what this one is, by keys of our own or by those of Synapse's workers."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ranvier.config.process_keys import MAIN_APP
from ranvier.config.process_records import Daemon, Processes, Redis, RedisTls, ReplicationAddress
from ranvier.config.records import Listener, SqliteStore
from ranvier.config.roles import Role

Values = Mapping[str, Any]
Say = Callable[[str, str], None]
"""Takes the name of a key and a sentence about it."""

MAIN: Final = "main"
_NAMES_OF_MAIN: Final = frozenset({"main", "master"})
_RESOURCES: Final = {"client": Role.CLIENTS, "federation": Role.FEDERATION, "media": Role.MEDIA}
_DUTIES: Final = (
    # role, the app that had it before names were listed, list of names, the switch of the main process
    (Role.SENDING, "synapse.app.federation_sender", "federation_sender_instances", "send_federation"),
    (Role.PUSHING, "synapse.app.pusher", "pusher_instances", "start_pushers"),
    (Role.BRIDGES, "synapse.app.appservice", "notify_appservices_from_worker", "notify_appservices"),
    (Role.BACKGROUND, "synapse.app.user_dir", "update_user_directory_from_worker", "update_user_directory"),
)


def is_main(values: Values) -> bool:
    """Whether these values are the main process's: no worker's file came last."""
    return values["worker_app"] in (None, MAIN_APP)


class ProcessReading:
    """Makes the record; each rule adds a complaint or a warning where the keys stand."""

    def __init__(self, values: Values, path_of: Callable[[str], Path], complain: Say, warn: Say) -> None:
        self._values = values
        self._path_of = path_of
        self._complain = complain
        self._warn = warn
        self._is_main = is_main(values)
        self._name = MAIN if self._is_main else values["worker_name"] or values["worker_app"]

    def processes(self, listeners: Sequence[Listener], database: object, secrets: Secrets) -> Processes:
        """The record, of a process with these listeners."""
        values = self._values
        self._check_number(database)
        if not self._is_main:
            self._check_worker()
        secret = secrets(values, "worker_replication_secret")
        if secret is None:
            self._check_open(listeners)
        return Processes(
            instance=self._name,
            is_main=self._is_main,
            roles=self._roles(listeners),
            # What other servers send is a worker's to work through where there is one that answers them.
            in_reserve=frozenset({Role.FEDERATION} if self._is_main and values["roles"] is None else ()),
            workers=values["workers"],
            redis=self._redis(secrets),
            daemon=self._daemon(),
            main_address=None if self._is_main else self._main_address(),
            replication_secret=secret,
        )

    def _check_number(self, database: object) -> None:
        workers = self._values["workers"]
        if self._is_main:
            if isinstance(database, SqliteStore) and workers is not None and workers > 1:
                self._complain(
                    "workers",
                    "several processes can't share an SQLite database: set `workers: 1`, or use PostgreSQL with "
                    "`database.name: psycopg2` (`ranvier database copy` takes along what there is)",
                )
            return
        if isinstance(database, SqliteStore):
            self._complain(
                "worker_app",
                "a worker can't share an SQLite database with the main process: both need PostgreSQL, "
                "`database.name: psycopg2`",
            )

    def _check_worker(self) -> None:
        values = self._values
        if values["worker_name"] is None:
            self._warn("worker_app", f"there is no `worker_name`; this process is called {self._name}")
        elif self._name in _NAMES_OF_MAIN:
            self._complain("worker_name", f"{self._name} is what the main process is called")
        app = values["worker_app"]
        for _, former_app, names, switch in _DUTIES:
            if app != former_app or self._name in _listed(values[names]):
                continue
            if values[names] is not None:
                self._warn("worker_app", f"`{names}` does not name {self._name}, so it does no such work")
            elif values[switch]:
                self._complain(
                    "worker_app",
                    f"the main process does this work itself: set `{switch}: false` in the file that all processes "
                    f"share, or name {self._name} in `{names}`",
                )
        if app == "synapse.app.media_repository" and values["enable_media_repo"]:
            self._complain(
                "worker_app",
                "the main process serves media itself: set `enable_media_repo: false` in the file that all processes "
                "share",
            )

    def _check_open(self, listeners: Sequence[Listener]) -> None:
        """Without a secret, what workers ask is for this machine alone."""
        for listener in listeners:
            if "replication" not in listener.resources or listener.path is not None:
                continue
            if not listener.addresses or not all(
                ipaddress.ip_address(address).is_loopback for address in listener.addresses
            ):
                self._warn(
                    "listeners",
                    "the listener with the resource replication can be reached from outside: set "
                    "`worker_replication_secret`, or `bind_addresses: ['127.0.0.1']`",
                )

    # Roles.

    def _roles(self, listeners: Sequence[Listener]) -> frozenset[Role]:
        if self._values["roles"] is not None:
            return frozenset(Role(name) for name in self._values["roles"])
        roles = self._answering(listeners)
        roles |= {role for role, app, names, switch in _DUTIES if self._has_duty(app, names, switch)}
        if self._is_named("run_background_tasks_on", by_main=True) or self._is_named(
            "media_instance_running_background_jobs"
        ):
            roles.add(Role.BACKGROUND)
        elif self._is_main:
            roles.discard(Role.BACKGROUND)
        if self._writes_events():
            roles.add(Role.EVENTS)
        return frozenset(roles)

    def _answering(self, listeners: Sequence[Listener]) -> set[Role]:
        """What of the roles that answer requests."""
        if not self._is_main:
            served = frozenset().union(*(listener.resources for listener in listeners))
            return {role for resource, role in _RESOURCES.items() if resource in served}
        roles = set(_RESOURCES.values())
        if not self._values["enable_media_repo"]:
            roles.discard(Role.MEDIA)
        return roles

    def _has_duty(self, app: str, names: str, switch: str) -> bool:
        if self._values[names] is not None:
            return self._is_listed(_listed(self._values[names]))
        if self._is_main:
            return bool(self._values[switch])
        return bool(self._values["worker_app"] == app)

    def _is_named(self, key: str, *, by_main: bool = False) -> bool:
        """Whether the key names this process; `by_main`: without a name it is the main one."""
        name = self._values[key]
        return self._is_main and by_main if name is None else self._is_listed((name,))

    def _is_listed(self, names: Sequence[str]) -> bool:
        return bool(_NAMES_OF_MAIN & set(names)) if self._is_main else self._name in names

    def _writes_events(self) -> bool:
        writers = self._values["stream_writers"].get("events", MAIN)
        listed = _listed(writers)
        if not all(isinstance(name, str) for name in listed) or not listed:
            self._complain("stream_writers", "`events` must be a name, or a list of names")
            return False
        return self._is_listed(listed)

    # Where the others are.

    def _main_address(self) -> ReplicationAddress | None:
        values = self._values
        legacy = [
            name
            for name in ("worker_replication_host", "worker_replication_http_port")
            if values[name] is not None
        ]
        entry = values["instance_map"].get(MAIN)
        if legacy:
            keys = " and ".join(f"`{name}`" for name in legacy)
            which = "is followed instead" if entry is not None else "says the same today"
            self._warn(legacy[0], f"{keys}: an older form; `instance_map.main` {which}")
        if entry is not None:
            return self._address(entry)
        host, port = values["worker_replication_host"], values["worker_replication_http_port"]
        if port is None:
            return None
        return ReplicationAddress(host or "localhost", port, None, values["worker_replication_http_tls"])

    def _address(self, entry: object) -> ReplicationAddress | None:
        if isinstance(entry, dict):
            host, port, path = entry.get("host"), entry.get("port"), entry.get("path")
            if isinstance(path, str) and path:
                return ReplicationAddress("", 0, self._path_of(path), False)
            if isinstance(host, str) and host and type(port) is int and 0 < port < 65_536:
                return ReplicationAddress(host, port, None, entry.get("tls") is True)
        self._complain("instance_map", "`main` needs `host` and `port`, or the `path` of a Unix socket")
        return None

    def _redis(self, secrets: Secrets) -> Redis | None:
        block = self._values["redis"]
        password = secrets(block, "password")
        if not block["enabled"]:
            return None

        def file(name: str) -> Path | None:
            return self._path_of(block[name]) if block[name] is not None else None

        tls = None
        if block["use_tls"]:
            tls = RedisTls(*map(file, ("certificate_file", "private_key_file", "ca_file", "ca_path")))
            if (tls.certificate is None) != (tls.private_key is None):
                self._complain("redis", "`certificate_file` and `private_key_file` belong together")
        return Redis(
            host=block["host"],
            port=block["port"],
            path=file("path"),
            username=block["username"],
            password=password,
            dbid=block["dbid"] or 0,
            tls=tls,
        )

    def _daemon(self) -> Daemon | None:
        prefix = "" if self._is_main else "worker_"
        if not self._values[f"{prefix}daemonize"]:
            return None
        path = self._values[f"{prefix}pid_file"]
        return Daemon(self._path_of(path) if path is not None else None)


Secrets = Callable[[Values, str], Any]
"""Gives the secret of a name in a block: it stands there, or in the file that `<name>_path` names."""


def _listed(names: Any) -> Sequence[Any]:
    """A name or a list of names, as a sequence."""
    if names is None:
        return ()
    return names if isinstance(names, list | tuple) else (names,)
