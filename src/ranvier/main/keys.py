"""The server's signing keys on disk."""

import os
import secrets
import string
from pathlib import Path

from ranvier.config.creation import create_signing_key
from ranvier.main.databases import CannotStart
from ranvier.protocol import unpadded_base64
from ranvier.protocol.server_keys import OldKey
from ranvier.protocol.signing import BadKey, SigningKey, parse_key_file


def load_signing_keys(path: Path, server_name: str, *, is_new: bool) -> list[SigningKey]:
    """The keys of the file, of which the first signs; a new server makes its own. Raises `CannotStart`.

    A server that has data must not come back with another key: other servers would take it for an impostor.
    """
    if is_new:
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            create_signing_key(path)
        except OSError as error:
            raise CannotStart(f"The signing key {path} can't be written: {error.strerror}.") from error
    try:
        return parse_key_file(path.read_text(encoding="utf-8"), server_name)
    except FileNotFoundError as error:
        raise CannotStart(
            f"There is no signing key at {path}, but the database is in use: bring the key back from a backup. "
            "If it is lost for ever, `ranvier config --create-missing` makes a new one; other servers will refuse it "
            "for rooms that knew the old one until they ask for it anew."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise CannotStart(f"The signing key {path} can't be read: {error}.") from error
    except BadKey as error:
        raise CannotStart(f"The signing key {path} is damaged: {error}") from error


def retired_path(path: Path) -> Path:
    """Where the public halves of keys that sign no more are kept, beside the key file."""
    return path.with_name(path.name + ".retired")


def load_retired_keys(path: Path) -> list[OldKey]:
    """The keys that `rotate` retired, of the server whose key file this is. Raises `CannotStart`."""
    where = retired_path(path)
    try:
        text = where.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise CannotStart(f"The retired keys {where} can't be read: {error}.") from error
    keys = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words:
            continue
        try:
            algorithm, version, public, expired = words
            key = OldKey(f"{algorithm}:{version}", unpadded_base64.decode(public), int(expired))
        except ValueError as error:
            raise CannotStart(
                f"Line {number} of {where} is not of the form: ed25519 version public-key milliseconds."
            ) from error
        keys.append(key)
    return keys


def rotate(path: Path, server_name: str, now: int) -> tuple[SigningKey, list[OldKey]]:
    """Put a new key in the place of those of the file, which are kept as retired from `now` (milliseconds) on.

    Answers the new key and the retired ones. Raises `CannotStart`. The retired ones are written first: a key must
    not be forgotten, and one that stands in both files is not retired.
    """
    before = load_signing_keys(path, server_name, is_new=False)
    retired = load_retired_keys(path)
    current = {key.key_id for key in before}
    kept = [key for key in retired if key.key_id not in current]
    ended = [OldKey(key.key_id, key.public, now) for key in before]
    taken = current | {key.key_id for key in retired}
    key_id = next(name for name in iter(_new_key_id, "") if name not in taken)
    new = SigningKey(server_name, key_id, secrets.token_bytes(32))
    lines = [_line_of(key) for key in (*kept, *ended)]
    try:
        _replace(retired_path(path), "".join(lines))
        _replace(path, new.format())
    except OSError as error:
        raise CannotStart(f"{error.filename or path} can't be written: {error.strerror}.") from error
    return new, ended


def _new_key_id() -> str:
    return "ed25519:a_" + "".join(secrets.choice(string.ascii_letters) for _ in range(4))


def _line_of(key: OldKey) -> str:
    algorithm, _, version = key.key_id.partition(":")
    return f"{algorithm} {version} {unpadded_base64.encode(key.public)} {key.expired_ts}\n"


def _replace(path: Path, text: str) -> None:
    """Write the file as a whole or not at all; only its owner may read it."""
    beside = path.with_name(path.name + ".new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
