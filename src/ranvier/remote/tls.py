"""How this server checks the certificates of others (`federation_verify_certificates` and its kin)."""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ranvier.protocol.globs import Glob


@dataclass(frozen=True, slots=True)
class TlsRules:
    """`authorities` are PEM files that take the place of the system's; `unverified` are globs of hosts whose
    certificates are not checked."""

    verify: bool = True
    authorities: Sequence[Path] = ()
    unverified: Sequence[str] = ()
    minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2


class BadAuthorities(Exception):
    """A file of certificate authorities can't be used; the message says which and why."""


class TlsContexts:
    """The two ways to speak TLS: with the other side's certificate checked, and without. Raises BadAuthorities."""

    def __init__(self, rules: TlsRules) -> None:
        self._verify = rules.verify
        self._unverified = [Glob(pattern) for pattern in rules.unverified]
        self.checking = _checking(rules)
        # No authorities here: to read the system's takes tens of milliseconds.
        self.trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.trusting.check_hostname = False
        self.trusting.verify_mode = ssl.CERT_NONE
        for context in (self.checking, self.trusting):
            context.minimum_version = rules.minimum

    def for_host(self, host: str) -> ssl.SSLContext:
        """The way to speak with a server whose certificate must be for that host."""
        if not self._verify or any(glob.matches(host) for glob in self._unverified):
            return self.trusting
        return self.checking


def check_authorities(paths: Sequence[Path]) -> None:
    """Raises BadAuthorities for files that can't be used."""
    if paths:
        _checking(TlsRules(authorities=paths))


def _checking(rules: TlsRules) -> ssl.SSLContext:
    if not rules.authorities:
        return ssl.create_default_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for path in rules.authorities:
        try:
            context.load_verify_locations(cafile=path)
        except (OSError, ssl.SSLError) as error:
            raise BadAuthorities(
                f"{path} can't be used as a list of certificate authorities: {error.strerror or error}. "
                "`federation_custom_ca_list` names PEM files."
            ) from error
    return context
