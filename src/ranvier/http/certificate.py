"""The certificate that listeners show, read anew when its files change.

Connections that stand keep what they began with; the next ones get the new certificate.
"""

import logging
import ssl
from pathlib import Path
from typing import Final

_log: Final = logging.getLogger("ranvier.http")


class BadCertificate(Exception):
    """The files can't be used; the message says which and why."""


class Certificate:
    """A certificate with its chain, and its private key: two PEM files. Raises BadCertificate."""

    def __init__(self, certificate: Path, private_key: Path) -> None:
        self._certificate = certificate
        self._private_key = private_key
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols(["http/1.1"])
        self._stamp = self._stamp_now()
        self._load(self.context)

    def reload(self) -> None:
        """Read the files again; where they can't be used the old certificate stays, and the log says why."""
        self._stamp = self._stamp_now()
        try:
            # A pair that does not fit must not reach the context that is in use.
            self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
            self._load(self.context)
        except BadCertificate as error:
            _log.error("the certificate stays as it was", extra={"reason": str(error)})
            return
        _log.info("the certificate was read again", extra={"path": str(self._certificate)})

    def reload_if_changed(self) -> None:
        """Read the files again if they are others than before."""
        if self._stamp_now() != self._stamp:
            self.reload()

    def _load(self, context: ssl.SSLContext) -> None:
        try:
            context.load_cert_chain(self._certificate, self._private_key, password=_no_password)
        except (OSError, ssl.SSLError, ValueError) as error:
            raise BadCertificate(
                f"The certificate {self._certificate} with the key {self._private_key} can't be used: "
                f"{_words(error)}. `tls_certificate_path` and `tls_private_key_path` name PEM files that fit each "
                "other and that this user may read."
            ) from error

    def _stamp_now(self) -> tuple[tuple[int, int, int], ...]:
        stamps = []
        for path in (self._certificate, self._private_key):
            try:
                found = path.stat()
                stamps.append((found.st_mtime_ns, found.st_size, found.st_ino))
            except OSError:
                stamps.append((0, 0, 0))
        return tuple(stamps)


def _no_password() -> str:
    # Without this OpenSSL would ask whoever sits before the terminal.
    raise ValueError("the private key is encrypted with a password")


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or str(error)
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
