"""What one user may see of another's keys (Client-Server API, "Key and signature security").

Shown are the signatures of the keys' owner and of the one who looks; never those of an owner's user-signing key, which
would tell whom the owner verified.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from ranvier.store.cross_signing import CrossSigningRow, Purpose

Added = Mapping[tuple[str, str], Mapping[str, Mapping[str, str]]]
"""Signatures that were uploaded after the keys: by target (user, device id or public key), signer, key identifier."""


class View:
    """The keys of users as `viewer` sees them."""

    def __init__(
        self, viewer: str, cross_signing: Mapping[str, Mapping[Purpose, CrossSigningRow]], added: Added
    ) -> None:
        self._viewer = viewer
        self._cross_signing = cross_signing
        self._added = added

    def device(self, user_id: str, device_id: str, keys: str, display_name: str | None) -> dict[str, Any]:
        """A device's keys, with its name beside them."""
        shown = self._shown(orjson.loads(keys), user_id, device_id)
        shown["unsigned"] = {"device_display_name": display_name} if display_name is not None else {}
        return shown

    def cross_signing(self, purpose: Purpose) -> dict[str, Any]:
        """The users' keys for one purpose, by user; user-signing keys are shown to their owner only."""
        return {
            user_id: self._shown(orjson.loads(keys[purpose].key), user_id, keys[purpose].public_key)
            for user_id, keys in self._cross_signing.items()
            if purpose in keys and (purpose != "user_signing" or user_id == self._viewer)
        }

    def _shown(self, value: dict[str, Any], owner: str, key: str) -> dict[str, Any]:
        signatures: dict[str, dict[str, str]] = {}
        for source in (value.get("signatures") or {}, self._added.get((owner, key), {})):
            for signer, by_key in source.items():
                if signer in (owner, self._viewer):
                    signatures.setdefault(signer, {}).update(by_key)
        hidden = self._cross_signing.get(owner, {}).get("user_signing")
        if owner != self._viewer and hidden is not None and owner in signatures:
            signatures[owner].pop(f"ed25519:{hidden.public_key}", None)
        return {**value, "signatures": signatures}
