"""The server's signing keys on disk."""

from pathlib import Path

from ranvier.config.creation import create_signing_key
from ranvier.main.databases import CannotStart
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
