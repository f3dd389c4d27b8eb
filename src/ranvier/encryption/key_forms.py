"""The form of uploaded keys, checked before anything is kept (Client-Server API, "Key algorithms").

Signatures of devices over their own keys are for other devices to verify: they may not trust this server anyway.
"""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import msgspec
import orjson

from ranvier.protocol import canonical_json, identifiers, signing, unpadded_base64
from ranvier.protocol.refusal import Refusal, bad_json, invalid_param
from ranvier.store.cross_signing import CrossSigningRow, Purpose
from ranvier.store.one_time_keys import KeyRow

ONE_TIME_KEYS = 1_000
"""One-time keys that one upload holds, and that one device has waiting, at most."""
_OBJECT_BYTES = 32 * 1024
_KEY_BYTES = 4 * 1024
_NAME_BYTES = 255
_ALGORITHMS = 100

T = TypeVar("T")


class DeviceKeysForm(msgspec.Struct):
    """What device keys hold at least.

    COMPAT(Complement): the specification demands signatures, but tests of servers upload keys without them.
    """

    user_id: str
    device_id: str
    algorithms: list[str]
    keys: dict[str, str]
    signatures: dict[str, dict[str, str]] = {}


class CrossSigningForm(msgspec.Struct):
    """What a cross-signing key holds at least."""

    user_id: str
    usage: list[str]
    keys: dict[str, str]
    signatures: dict[str, dict[str, str]] = {}


def check_device_keys(value: dict[str, Any], user_id: str, device_id: str) -> str:
    """The device keys as JSON; refuses those that are of another user or device, or not of the form."""
    form = _convert(value, DeviceKeysForm, "device_keys")
    if form.user_id != user_id or form.device_id != device_id:
        raise invalid_param(
            "The user_id and device_id of device_keys must be those that you are logged in as: "
            f"{user_id} and {device_id}."
        )
    if len(form.algorithms) > _ALGORITHMS or len(form.keys) > _ALGORITHMS:
        raise invalid_param(f"A device has at most {_ALGORITHMS} algorithms and keys.")
    for name in form.keys:
        algorithm, _, owner = name.partition(":")
        if not algorithm or owner != device_id:
            raise invalid_param(f"Identity keys are named <algorithm>:{device_id}, not '{name[:100]}'.")
    return _json(value, "device_keys", _OBJECT_BYTES)


def identity_of(device_keys: str) -> dict[str, str]:
    """The identity keys of kept device keys, by name."""
    keys: dict[str, str] = orjson.loads(device_keys)["keys"]
    return keys


def check_one_time_keys(value: Mapping[str, Any], what: str) -> list[KeyRow]:
    """Uploaded one-time or fallback keys; refuses names and values that are not of the form."""
    if len(value) > ONE_TIME_KEYS:
        raise Refusal("M_TOO_LARGE", f"At most {ONE_TIME_KEYS} keys can be uploaded at once.")
    return [_one_time_key(name, key, what) for name, key in value.items()]


def _one_time_key(name: str, key: Any, what: str) -> KeyRow:
    algorithm, colon, key_id = name.partition(":")
    if not colon or not algorithm or not key_id or len(name.encode()) > _NAME_BYTES:
        raise invalid_param(f"Keys in {what} are named <algorithm>:<key_id>, not '{name[:100]}'.")
    if isinstance(key, dict):
        if not isinstance(key.get("key"), str) or not isinstance(key.get("signatures", {}), dict):
            raise bad_json(f"'{name}' in {what} must hold a 'key' (a string) and 'signatures' (an object).")
    elif not isinstance(key, str):
        raise bad_json(f"'{name}' in {what} must be a string or an object.")
    return KeyRow(algorithm, key_id, _json(key, f"'{name}' in {what}", _KEY_BYTES))


def same_key(one: str, other: str) -> bool:
    """Whether two one-time keys (JSON) are the same; a client may have signed the same key anew."""
    return one == other or _unsigned(orjson.loads(one)) == _unsigned(orjson.loads(other))


def without_signatures(value: Mapping[str, Any]) -> dict[str, Any]:
    """The object less what servers and signers add to it."""
    return {key: item for key, item in value.items() if key not in ("signatures", "unsigned")}


def _unsigned(key: Any) -> Any:
    return without_signatures(key) if isinstance(key, dict) else key


def check_cross_signing_key(value: dict[str, Any], purpose: Purpose, user_id: str) -> CrossSigningRow:
    """A cross-signing key of the user; refuses one that is not of the form."""
    form = _convert(value, CrossSigningForm, f"{purpose}_key")
    if form.user_id != user_id:
        raise invalid_param(f"The user_id of {purpose}_key must be yours: {user_id}.")
    if purpose not in form.usage:
        raise invalid_param(f"The usage of {purpose}_key must be ['{purpose}'].")
    if len(form.keys) != 1:
        raise invalid_param(f"The keys of {purpose}_key must hold exactly one key.")
    [(name, public_key)] = form.keys.items()
    if name != f"ed25519:{public_key}" or _decoded(public_key) is None:
        raise invalid_param(
            f"The key of {purpose}_key must be named ed25519:<public key>, where the public key is 32 bytes in "
            "unpadded Base64, and stands as the value too."
        )
    return CrossSigningRow(purpose, public_key, _json(value, f"{purpose}_key", _OBJECT_BYTES))


def check_users(user_ids: Iterable[str]) -> None:
    """Refuse what can't be a user id."""
    try:
        for user_id in user_ids:
            identifiers.check_user_id(user_id)
    except identifiers.BadIdentifier as error:
        raise invalid_param(f"'{user_id[:100]}' is not a user id: {error}") from error


def is_signed_by(value: Mapping[str, Any], signer: str, public_key: str) -> bool:
    """Whether the object carries the signer's signature by this key, named after itself, and it is right."""
    return verifies(value, signer, f"ed25519:{public_key}", public_key)


def verifies(value: Mapping[str, Any], signer: str, key_id: str, public_key: str) -> bool:
    """Whether the object's signature under that signer and key identifier is by the public key (Base64)."""
    signature = signing.signatures_of(value, signer).get(key_id)
    public = _decoded(public_key)
    if signature is None or public is None:
        return False
    try:
        message = signing.signed_bytes(value)
    except canonical_json.BadJson:
        return False
    return signing.verify(public, message, signature)


def _decoded(public_key: str) -> bytes | None:
    try:
        public = unpadded_base64.decode(public_key)
    except ValueError:
        return None
    return public if len(public) == 32 and unpadded_base64.encode(public) == public_key else None


def _convert(value: Any, form: type[T], what: str) -> T:
    try:
        return msgspec.convert(value, form)
    except msgspec.ValidationError as error:
        raise bad_json(f"{what} is not of the expected form: {error}.") from error


def _json(value: Any, what: str, limit: int) -> str:
    try:
        canonical_json.check(value, strict=True)
    except canonical_json.BadJson as error:
        raise bad_json(f"{what} can't be signed: {error}.") from error
    text = canonical_json.encode_checked(value)
    if len(text) > limit:
        raise Refusal("M_TOO_LARGE", f"{what} is larger than {limit} bytes.")
    return text.decode()
