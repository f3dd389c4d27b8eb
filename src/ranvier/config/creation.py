"""What a server needs before its first start: a data folder with configuration, signing key and secret."""

from __future__ import annotations

import base64
import os
import secrets
import string
from collections.abc import Sequence
from pathlib import Path

import yaml

from ranvier.config.keys import KEYS
from ranvier.config.reading import ConfigError, Reading, read_all
from ranvier.config.tree import Fault, Place, read_text

CONFIG_NAME = "homeserver.yaml"
SIGNING_KEY_NAME = "signing.key"
SHARED_SECRET_NAME = "registration_shared_secret"  # noqa: S105 - the name of a file
DATABASE_NAME = "homeserver.db"


def create(data: Path, server_name: str, address: str = "127.0.0.1", port: int = 8008) -> Path:
    """Make the data folder of a new server and answer the path of its configuration.

    The configuration is written last: a folder that has one is complete. Raises ConfigError when a value does
    not fit or the folder already holds another server's files without a configuration.
    """
    text = _first_configuration(server_name, address, port)
    path = data / CONFIG_NAME
    reading = Reading(KEYS)
    reading.read(read_text(text, str(path)))
    if reading.faults:
        raise ConfigError(reading.faults)
    if (data / DATABASE_NAME).exists():
        sentence = (
            f"the folder has a database but no {CONFIG_NAME}; bring that back, or choose another folder"
        )
        raise ConfigError([Fault(Place(str(data)), sentence)])
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        create_signing_key(data / SIGNING_KEY_NAME)
        create_secret(data / SHARED_SECRET_NAME)
        _write(path, text)
    except OSError as error:
        raise ConfigError(
            [Fault(Place(str(error.filename or data)), f"can't be written: {error.strerror}")]
        ) from None
    return path


def _first_configuration(server_name: str, address: str, port: int) -> str:
    listener = {
        "port": port,
        "bind_addresses": [address],
        "type": "http",
        "x_forwarded": False,
        "resources": [{"names": ["client", "federation"]}],
    }
    values = {
        "server_name": server_name,
        "listeners": [listener],
        "database": {"name": "sqlite3", "args": {"database": DATABASE_NAME}},
        "signing_key_path": SIGNING_KEY_NAME,
        "registration_shared_secret_path": SHARED_SECRET_NAME,
        "media_store_path": "media_store",
    }
    head = (
        "# Written at the first start. `ranvier config` prints every key that there is, with its meaning.\n"
        "# server_name can't be changed once there are users; relative paths start in this folder.\n"
    )
    body: str = yaml.safe_dump(values, sort_keys=False)
    return head + body


def create_signing_key(path: Path) -> bool:
    """Write a new Ed25519 signing key unless there is one; whether it was written."""
    if path.exists():
        return False
    version = "a_" + "".join(secrets.choice(string.ascii_letters) for _ in range(4))
    seed = base64.b64encode(secrets.token_bytes(32)).decode().rstrip("=")
    _write(path, f"ed25519 {version} {seed}\n")
    return True


def create_secret(path: Path) -> bool:
    """Write a new random secret unless the file exists; whether it was written."""
    if path.exists():
        return False
    _write(path, secrets.token_urlsafe(38) + "\n")
    return True


def create_missing(paths: Sequence[Path], assignments: Sequence[str] = ()) -> list[Path]:
    """Write the signing key and the secret that a configuration names and that don't exist; what was written.

    Raises ConfigError when the configuration can't be read so far, or a file can't be written.
    """
    tree, start = read_all(paths, assignments)
    reading = Reading(KEYS)
    values = reading.read(tree)
    if reading.faults:
        raise ConfigError(reading.faults)
    folder = start / (values["data_directory"] or "")
    written = []
    try:
        if create_signing_key(folder / values["signing_key_path"]):
            written.append(folder / values["signing_key_path"])
        secret = values["registration_shared_secret_path"]
        if secret is not None and create_secret(folder / secret):
            written.append(folder / secret)
    except OSError as error:
        raise ConfigError(
            [Fault(Place(str(error.filename)), f"can't be written: {error.strerror}")]
        ) from None
    return written


def _unwritable(error: OSError) -> ConfigError:
    return ConfigError([Fault(Place(str(error.filename)), f"this can't be written: {error.strerror}")])


def _write(path: Path, text: str) -> None:
    """A new file that only its owner may read, on the disk when this returns; one that exists stays as it is."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
