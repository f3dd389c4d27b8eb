"""A certificate authority for one run, and how each server of the run is reached."""

import ssl
from pathlib import Path

import trustme

from bench.postgresql import free_port
from bench.servers import Secure


class Authority:
    """All servers of a run are called `localhost`, on ports of their own, and share one certificate."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        issued = authority.issue_cert("localhost")
        self.path = folder / "authority.pem"
        self._certificate = folder / "certificate.pem"
        self._private_key = folder / "private.key"
        authority.cert_pem.write_to_path(str(self.path))
        self._certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(str(self._private_key))

    def secure(self) -> Secure:
        """A place for one more server."""
        return Secure(free_port(), self._certificate, self._private_key, self.path)

    def listening(self) -> ssl.SSLContext:
        """What a server speaks TLS with."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._certificate, self._private_key)
        return context

    def asking(self) -> ssl.SSLContext:
        """What one that asks servers trusts."""
        return ssl.create_default_context(cafile=str(self.path))
