"""Keys that servers publish: the document, who signed it, and how long a key counts.

Source: server-server API, "Publishing Keys" and "Querying Keys Through Another Server".
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from ranvier.protocol import unpadded_base64
from ranvier.protocol.signing import SigningKey, signatures_of, signed_bytes, verify, verify_json

LONGEST_VALIDITY_MS: Final = 7 * 24 * 3_600_000
"""However long a server says that its keys are good, they are asked for anew after so long."""
MAX_KEYS: Final = 100
"""Keys of a document, current and old ones together."""

_MAX_TS: Final = 2**53 - 1
_KEY_BYTES: Final = 32
_MAX_KEY_ID: Final = 255


class BadServerKeys(ValueError):
    """A document that can't be trusted or read; the message says why."""


class VerifyKey(NamedTuple):
    """A public key of a server, and until when what it signs counts (milliseconds since the epoch).

    For a current key that is when the document must be asked for anew, for an old one when it was retired.
    """

    public: bytes
    valid_until_ts: int

    def is_valid_at(self, ts: int) -> bool:
        """Whether a signature of that moment may be by this key."""
        return ts <= self.valid_until_ts


class OldKey(NamedTuple):
    """A key of our own that signs no more: still published so that what it signed can be checked."""

    key_id: str
    public: bytes
    expired_ts: int


class ServerKeys(NamedTuple):
    """A document that was read: keys by ID, old ones included, and the document itself as it came."""

    server_name: str
    keys: Mapping[str, VerifyKey]
    valid_until_ts: int
    document: dict[str, Any]


def parse(document: Any, fetched_ts: int, server_name: str | None = None) -> ServerKeys:
    """The keys of a document, which must be signed by one of its own current keys and by none falsely.

    `fetched_ts` is now; `server_name` whose document it must be, where that is known. Raises BadServerKeys.
    """
    if not isinstance(document, dict):
        raise BadServerKeys("The key document is no JSON object.")
    name = document.get("server_name")
    if not isinstance(name, str) or (server_name is not None and name != server_name):
        wanted = server_name or "a server name"
        raise BadServerKeys(
            f"`server_name` of the key document must be {wanted}, but is {str(name)[:255]!r}."
        )
    valid_until_ts = _time_of(document, "valid_until_ts")
    valid_until_ts = min(valid_until_ts, fetched_ts + LONGEST_VALIDITY_MS)
    current = _publics(document, "verify_keys")
    old = _publics(document, "old_verify_keys", required=False)
    if len(current) + len(old) > MAX_KEYS:
        raise BadServerKeys(f"The key document holds more than {MAX_KEYS} keys.")
    _check_signatures(document, name, {key_id: public for key_id, (public, _) in current.items()})
    keys = {
        key_id: VerifyKey(public, _time_of(entry, "expired_ts")) for key_id, (public, entry) in old.items()
    }
    # A key that stands in both is in use.
    keys |= {key_id: VerifyKey(public, valid_until_ts) for key_id, (public, _) in current.items()}
    return ServerKeys(name, keys, valid_until_ts, document)


def is_cosigned(document: Mapping[str, Any], notary: str, verify_keys: Mapping[str, bytes]) -> bool:
    """Whether the notary vouches for the document."""
    return verify_json(document, notary, verify_keys)


def make(signers: Sequence[SigningKey], old: Iterable[OldKey], valid_until_ts: int) -> dict[str, Any]:
    """Our own document, signed by each of our current keys."""
    document: dict[str, Any] = {
        "server_name": signers[0].server_name,
        "valid_until_ts": valid_until_ts,
        "verify_keys": {s.key_id: {"key": unpadded_base64.encode(s.public)} for s in signers},
        "old_verify_keys": {
            key.key_id: {"key": unpadded_base64.encode(key.public), "expired_ts": key.expired_ts}
            for key in old
        },
    }
    for signer in signers:
        document = signer.sign_json(document)
    return document


def _publics(
    document: Mapping[str, Any], name: str, *, required: bool = True
) -> dict[str, tuple[bytes, dict[str, Any]]]:
    """Ed25519 keys of one part of the document, with their entries; keys of other algorithms are passed over."""
    entries = document.get(name)
    if entries is None and not required:
        return {}
    if not isinstance(entries, dict):
        raise BadServerKeys(f"`{name}` of the key document must be an object.")
    if len(entries) > MAX_KEYS:
        raise BadServerKeys(f"`{name}` of the key document holds more than {MAX_KEYS} keys.")
    found = {}
    for key_id, entry in entries.items():
        if not key_id.startswith("ed25519:") or len(key_id) > _MAX_KEY_ID:
            continue
        text = entry.get("key") if isinstance(entry, dict) else None
        try:
            public = unpadded_base64.decode(text) if isinstance(text, str) else b""
        except ValueError:
            public = b""
        if len(public) != _KEY_BYTES:
            raise BadServerKeys(f"The key {key_id} is not the Base64 of {_KEY_BYTES} bytes.")
        found[key_id] = (public, entry)
    return found


def _check_signatures(document: dict[str, Any], name: str, current: Mapping[str, bytes]) -> None:
    if not current:
        raise BadServerKeys("The key document has no Ed25519 key under `verify_keys`.")
    signatures = signatures_of(document, name)
    try:
        message = signed_bytes(document)
    except ValueError as error:
        raise BadServerKeys(f"The key document is not canonical JSON: {error}") from None
    signed = [key_id for key_id in current if key_id in signatures]
    if not signed:
        raise BadServerKeys(f"The key document is not signed by any of {name}'s own keys.")
    for key_id in signed:
        if not verify(current[key_id], message, signatures[key_id]):
            raise BadServerKeys(f"The key document's signature by {key_id} is false.")


def _time_of(entry: Mapping[str, Any], name: str) -> int:
    value = entry.get(name)
    if type(value) is not int or not 0 <= value <= _MAX_TS:
        raise BadServerKeys(f"`{name}` of the key document must be a time in milliseconds.")
    return value
