"""This process among those of its server, and where the others are, as frozen records."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ranvier.config.kinds import Secret
from ranvier.config.roles import ALL_ROLES, Role


@dataclass(frozen=True, slots=True)
class RedisTls:
    """How TLS with Redis is made: PEM files, each of which may be missing."""

    certificate: Path | None
    private_key: Path | None
    authorities: Path | None
    authorities_folder: Path | None


@dataclass(frozen=True, slots=True)
class Redis:
    """Where Redis is; `path` is its Unix socket's, and stands above host and port."""

    host: str
    port: int
    path: Path | None
    username: str | None
    password: Secret | None
    dbid: int
    tls: RedisTls | None


@dataclass(frozen=True, slots=True)
class ReplicationAddress:
    """Where a process has its replication listener: host and port, or a Unix socket."""

    host: str
    port: int
    path: Path | None
    tls: bool


@dataclass(frozen=True, slots=True)
class Daemon:
    """Go on in the background, and write the process's number to the file."""

    pid_file: Path | None


@dataclass(frozen=True, slots=True)
class Processes:
    """This process among those of its server.

    `instance` is its name, another one for each on this machine. `workers` equal ones are started by a supervisor
    (None: one for each core). A worker of Synapse's form is not `is_main`, and `main_address` is where it finds the
    one that is. Of the roles `in_reserve` it does the shared work only while no other process has them.
    """

    instance: str
    is_main: bool = True
    roles: frozenset[Role] = ALL_ROLES
    in_reserve: frozenset[Role] = frozenset()
    workers: int | None = 1
    redis: Redis | None = None
    daemon: Daemon | None = None
    main_address: ReplicationAddress | None = None
    replication_secret: Secret | None = None
