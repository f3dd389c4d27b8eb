"""The configuration: YAML, parsed once into records. Nothing below this floor sees a Config."""

from ranvier.config.creation import CONFIG_NAME, create, create_missing
from ranvier.config.kinds import RateLimit, Secret
from ranvier.config.loading import build, load
from ranvier.config.process_records import Processes
from ranvier.config.reading import ConfigError
from ranvier.config.records import Config, Listener, PostgresStore, SqliteStore, Tls
from ranvier.config.roles import ALL_ROLES, Role
from ranvier.config.sample import manual, sample
from ranvier.config.tree import Fault, read_text

__all__ = [
    "ALL_ROLES",
    "CONFIG_NAME",
    "Config",
    "ConfigError",
    "Fault",
    "Listener",
    "PostgresStore",
    "Processes",
    "RateLimit",
    "Role",
    "Secret",
    "SqliteStore",
    "Tls",
    "build",
    "create",
    "create_missing",
    "load",
    "manual",
    "read_text",
    "sample",
]
