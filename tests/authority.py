"""A certificate authority of the tests' own, and the certificates that it gives."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Files:
    """PEM files of a certificate with its chain, and of its private key."""

    certificate: Path
    private_key: Path

    def context(self) -> ssl.SSLContext:
        """What a server of the tests speaks TLS with."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.private_key)
        return context


class Authority:
    """Its own certificate is in the file `path`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ca = trustme.CA()
        self._number = 0
        self.path = folder / "authority.pem"
        self._ca.cert_pem.write_to_path(str(self.path))

    def issue(self, *names: str) -> Files:
        """A certificate for host names and IP addresses."""
        self._number += 1
        issued = self._ca.issue_cert(*names)
        files = Files(self._folder / f"{self._number}.pem", self._folder / f"{self._number}.key")
        files.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(str(files.private_key))
        return files
