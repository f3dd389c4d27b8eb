"""People with real keys, for tests: their devices sign what they upload, as clients do."""

from __future__ import annotations

from typing import Any

from nacl.signing import SigningKey

from ranvier.protocol import unpadded_base64
from ranvier.protocol.signing import signed_bytes

Json = dict[str, Any]


def public(key: SigningKey) -> str:
    """The public key in unpadded Base64."""
    return unpadded_base64.encode(bytes(key.verify_key))


def sign(value: Json, user_id: str, key_id: str, key: SigningKey) -> Json:
    """The object with one signature more."""
    signature = unpadded_base64.encode(key.sign(signed_bytes(value)).signature)
    signatures = {user: dict(by_key) for user, by_key in value.get("signatures", {}).items()}
    signatures.setdefault(user_id, {})[f"ed25519:{key_id}"] = signature
    return {**value, "signatures": signatures}


class Device:
    """A device with an Ed25519 key; its Curve25519 keys are just names, as nobody computes with them here."""

    def __init__(self, user_id: str, device_id: str) -> None:
        self.user_id = user_id
        self.device_id = device_id
        self.key = SigningKey.generate()

    def keys(self, **changes: Any) -> Json:
        """The identity keys, signed."""
        value = {
            "user_id": self.user_id,
            "device_id": self.device_id,
            "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
            "keys": {
                f"ed25519:{self.device_id}": public(self.key),
                f"curve25519:{self.device_id}": public(self.key)[::-1],
            },
            **changes,
        }
        return sign(value, self.user_id, self.device_id, self.key)

    def one_time_keys(self, *names: str, fallback: bool = False) -> Json:
        """Signed one-time keys, or fallback keys, of these names."""
        return {f"signed_curve25519:{name}": self._one_time_key(name, fallback) for name in names}

    def _one_time_key(self, name: str, fallback: bool) -> Json:
        value: Json = {"key": f"key {name} of {self.device_id}"}
        if fallback:
            value["fallback"] = True
        return sign(value, self.user_id, self.device_id, self.key)


class Person:
    """A user with cross-signing keys and devices."""

    def __init__(self, user_id: str, *device_ids: str) -> None:
        self.user_id = user_id
        self.devices = {device_id: Device(user_id, device_id) for device_id in device_ids}
        self.master = SigningKey.generate()
        self.self_signing = SigningKey.generate()
        self.user_signing = SigningKey.generate()

    def device(self, device_id: str) -> Device:
        """One device."""
        return self.devices[device_id]

    def master_key(self) -> Json:
        """The master key, without signatures."""
        return self._cross_signing_key("master", self.master)

    def cross_signing_keys(self) -> dict[Any, Json]:
        """All three keys by purpose, signed by the master key."""
        return {
            "master": self.master_key(),
            "self_signing": self.signed_by_master("self_signing", self.self_signing),
            "user_signing": self.signed_by_master("user_signing", self.user_signing),
        }

    def signed_by_master(self, purpose: str, key: SigningKey) -> Json:
        """A key for a purpose, signed by the master key."""
        return sign(self._cross_signing_key(purpose, key), self.user_id, public(self.master), self.master)

    def _cross_signing_key(self, purpose: str, key: SigningKey) -> Json:
        name = public(key)
        return {"user_id": self.user_id, "usage": [purpose], "keys": {f"ed25519:{name}": name}}
