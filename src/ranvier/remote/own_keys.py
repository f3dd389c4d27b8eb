"""This server's own keys: those that sign, and those that once did."""

from collections.abc import Callable, Sequence
from typing import Any

from ranvier.protocol import server_keys
from ranvier.protocol.server_keys import OldKey, VerifyKey
from ranvier.protocol.signing import SigningKey

_FOR_EVER = 2**53 - 1


class OwnKeys:
    """The signing keys, of which the first signs, and the retired ones. What is published counts for `validity_ms`;
    `now` gives milliseconds since the epoch."""

    def __init__(
        self,
        signers: Sequence[SigningKey],
        old: Sequence[OldKey],
        validity_ms: int,
        now: Callable[[], int],
    ) -> None:
        self.now = now
        self.signers = list(signers)
        self._old = list(old)
        self._validity_ms = validity_ms

    @property
    def signer(self) -> SigningKey:
        """The key that signs."""
        return self.signers[0]

    @property
    def server_name(self) -> str:
        """Whose keys these are."""
        return self.signer.server_name

    def find(self, key_id: str) -> VerifyKey | None:
        """The public key of that ID."""
        for signer in self.signers:
            if signer.key_id == key_id:
                return VerifyKey(signer.public, _FOR_EVER)
        for old in self._old:
            if old.key_id == key_id:
                return VerifyKey(old.public, old.expired_ts)
        return None

    def document(self) -> dict[str, Any]:
        """What is published, signed by all keys that sign."""
        return server_keys.make(self.signers, self._old, self.now() + self._validity_ms)
