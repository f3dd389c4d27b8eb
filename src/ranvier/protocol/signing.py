"""Hashes and signatures (appendices, "Signing JSON"; server-server API, "Signing Events")."""

import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any, Final

from nacl.bindings import crypto_sign, crypto_sign_open, crypto_sign_seed_keypair
from nacl.exceptions import BadSignatureError

from ranvier.protocol import canonical_json, unpadded_base64
from ranvier.protocol.redaction import redact
from ranvier.protocol.room_versions import RoomVersion

_SIGNATURE_BYTES: Final = 64
_PUBLIC_KEY_BYTES: Final = 32
_SEED_BYTES: Final = 32
_KEY_VERSION: Final = re.compile(r"[A-Za-z0-9_]{1,200}\Z")
_UNHASHED: Final = frozenset({"unsigned", "signatures", "hashes"})
_UNSIGNED: Final = frozenset({"unsigned", "signatures"})


class BadKey(ValueError):
    """A signing key or key file that cannot be read; the message never shows the key."""


class SigningKey:
    """An Ed25519 key with the name of the server that signs by it.

    `key_id` is the whole identifier, such as `ed25519:a_AbCd`; `private` the seed of 32 bytes.
    """

    __slots__ = ("_secret", "_seed", "key_id", "public", "server_name")

    def __init__(self, server_name: str, key_id: str, private: bytes) -> None:
        algorithm, _, key_version = key_id.partition(":")
        if algorithm != "ed25519" or _KEY_VERSION.match(key_version) is None:
            raise BadKey(
                "A key ID has the form ed25519:version, the version of letters, digits and underscores."
            )
        if len(private) != _SEED_BYTES:
            raise BadKey(f"An Ed25519 seed has {_SEED_BYTES} bytes.")
        self.server_name = server_name
        self.key_id = key_id
        self.public: bytes
        self.public, self._secret = crypto_sign_seed_keypair(private)
        self._seed = private

    def __repr__(self) -> str:
        return f"SigningKey({self.server_name!r}, {self.key_id!r})"

    def sign(self, message: bytes) -> str:
        """The signature of the bytes, in unpadded Base64."""
        return unpadded_base64.encode(crypto_sign(message, self._secret)[:_SIGNATURE_BYTES])

    def sign_json(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """The object with this key's signature added; the one given is left as it is."""
        signature = self.sign(signed_bytes(value))
        signatures = dict(value.get("signatures") or {})
        signatures[self.server_name] = {**signatures.get(self.server_name, {}), self.key_id: signature}
        return {**value, "signatures": signatures}

    def format(self) -> str:
        """The line of a key file: `ed25519 a_AbCd <seed in Base64>`. It is a secret."""
        return f"ed25519 {self.key_id.partition(':')[2]} {unpadded_base64.encode(self._seed)}\n"


def parse_key_file(text: str, server_name: str) -> list[SigningKey]:
    """Keys of a file in Synapse's form, one a line, in its order; the first one signs. Raises BadKey."""
    keys = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words:
            continue
        if len(words) != 3 or words[0] != "ed25519":
            raise BadKey(f"Line {number} of the key file is not of the form: ed25519 version key")
        try:
            seed = unpadded_base64.decode(words[2])
        except ValueError:
            raise BadKey(f"The key in line {number} of the key file is not Base64.") from None
        keys.append(SigningKey(server_name, f"ed25519:{words[1]}", seed))
    if not keys:
        raise BadKey("The key file holds no key.")
    return keys


def format_key_file(keys: Iterable[SigningKey]) -> str:
    """The text of a key file that `parse_key_file` reads. It is a secret."""
    return "".join(key.format() for key in keys)


def signed_bytes(value: Mapping[str, Any]) -> bytes:
    """What a signature of this object covers: all but `signatures` and `unsigned`. Raises BadJson."""
    return canonical_json.encode({key: item for key, item in value.items() if key not in _UNSIGNED})


def signatures_of(value: Mapping[str, Any], server_name: str) -> dict[str, str]:
    """Signatures of the server by key ID, those of unknown algorithms or wrong types left out."""
    signatures = value.get("signatures")
    by_key = signatures.get(server_name) if isinstance(signatures, dict) else None
    if not isinstance(by_key, dict):
        return {}
    return {key: sig for key, sig in by_key.items() if key.startswith("ed25519:") and isinstance(sig, str)}


def verify(public: bytes, message: bytes, signature: str) -> bool:
    """Whether the Base64 signature of the bytes is by this public key. It never raises."""
    try:
        raw = unpadded_base64.decode_leniently(signature)
    except ValueError:
        return False
    if len(raw) != _SIGNATURE_BYTES or len(public) != _PUBLIC_KEY_BYTES:
        return False
    try:
        crypto_sign_open(raw + message, public)
    except BadSignatureError:
        return False
    return True


def verify_json(value: Mapping[str, Any], server_name: str, verify_keys: Mapping[str, bytes]) -> bool:
    """Whether the server signed this object: at least one signature by a key that is known, and none false.

    `verify_keys` are the server's public keys by key ID; signatures by other keys are passed over.
    """
    try:
        message = signed_bytes(value)
    except canonical_json.BadJson:
        return False
    return is_signed(value, message, server_name, verify_keys)


def is_signed(
    value: Mapping[str, Any], message: bytes, server_name: str, verify_keys: Mapping[str, bytes]
) -> bool:
    """`verify_json` where the bytes that the object's signatures cover are known."""
    known = [
        (verify_keys[key], sig)
        for key, sig in signatures_of(value, server_name).items()
        if key in verify_keys
    ]
    return bool(known) and all(verify(public, message, signature) for public, signature in known)


def verify_event(
    pdu: Mapping[str, Any], version: RoomVersion, server_name: str, verify_keys: Mapping[str, bytes]
) -> bool:
    """`verify_json` of the event's redacted form, which is what servers sign."""
    return verify_json(redact(pdu, version), server_name, verify_keys)


def content_hash(pdu: Mapping[str, Any], *, checked: bool = False) -> bytes:
    """SHA-256 of the whole event less `unsigned`, `signatures` and `hashes`. Raises BadJson.

    `checked`: the PDU is known to hold no floats.
    """
    covered = {key: item for key, item in pdu.items() if key not in _UNHASHED}
    encode = canonical_json.encode_checked if checked else canonical_json.encode
    return sha256(encode(covered)).digest()


def content_hash_matches(pdu: Mapping[str, Any], *, checked: bool = False) -> bool:
    """Whether `hashes` names the event's content hash; if not, only its redacted form may be used."""
    hashes = pdu.get("hashes")
    claimed = hashes.get("sha256") if isinstance(hashes, dict) else None
    if not isinstance(claimed, str):
        return False
    try:
        return unpadded_base64.decode_leniently(claimed) == content_hash(pdu, checked=checked)
    except ValueError:
        return False


def reference_hash(pdu: Mapping[str, Any], version: RoomVersion) -> bytes:
    """SHA-256 of the event's redacted form less `signatures`: what names it. Raises BadJson."""
    return sha256(signed_bytes(redact(pdu, version))).digest()
