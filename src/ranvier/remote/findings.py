"""What a diagnosis means, in words: each step with what was found, and where it is at fault, the cure."""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Literal

from ranvier.protocol import server_keys
from ranvier.protocol.server_keys import BadServerKeys
from ranvier.protocol.signing import signatures_of, signed_bytes, verify
from ranvier.protocol.unpadded_base64 import decode
from ranvier.remote.diagnosis import Diagnosis, Reached, SignedRequest

Verdict = Literal["good", "doubtful", "fault"]
_SOON_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence on one step; `cure` says what to do where it is not good."""

    step: str
    verdict: Verdict
    sentence: str
    cure: str = ""


@dataclass(frozen=True, slots=True)
class KeyChecks:
    """What is right about a document of keys; `keys` tells by key ID whether it is one, and whether it signed."""

    is_of_server: bool
    is_valid_for_long: bool
    keys: dict[str, tuple[bool, bool]]

    @property
    def all_good(self) -> bool:
        """Whether nothing is wrong."""
        good = bool(self.keys) and all(is_key and has_signed for is_key, has_signed in self.keys.values())
        return self.is_of_server and self.is_valid_for_long and good


def check_keys(document: dict[str, Any], server_name: str, now: int) -> KeyChecks:
    """Look at each part of a document of keys by itself; whatever its form."""
    valid_until = document.get("valid_until_ts")
    entries = document.get("verify_keys")
    signatures = signatures_of(document, server_name)
    try:
        message = signed_bytes(document)
    except ValueError:
        message = b""
    keys = {}
    for key_id, entry in list(entries.items() if isinstance(entries, dict) else ())[: server_keys.MAX_KEYS]:
        if key_id.startswith("ed25519:"):
            public = _public(entry)
            keys[key_id] = (len(public) == 32, verify(public, message, signatures.get(key_id, "")))
    return KeyChecks(
        document.get("server_name") == server_name, type(valid_until) is int and valid_until > now, keys
    )


def findings_of(found: Diagnosis) -> list[Finding]:
    """All steps in order."""
    if found.error is not None:
        return [
            Finding("name", "fault", found.error, "Give the part of a user ID that follows the first colon.")
        ]
    steps = [Finding("name", "good", f"{found.server_name} is a server name.")]
    steps += _well_known(found)
    steps += _srv_records(found)
    steps += _addresses(found)
    for reached in found.reached:
        steps += _connection(found, reached)
    steps += _version(found)
    return [*steps, *_signed(found)]


def federation_ok(findings: list[Finding]) -> bool:
    """Whether nothing was found that keeps other servers away."""
    return all(finding.verdict != "fault" for finding in findings)


def _well_known(found: Diagnosis) -> Iterator[Finding]:
    known = found.well_known
    step = "well-known"
    if known is None:
        yield Finding(step, "good", "A name with a port, or an IP address, needs none.")
    elif known.m_server is not None:
        yield Finding(step, "good", f"It says that the server is at {known.m_server}.")
    elif known.is_temporary or known.fault == "it answered 404":
        yield Finding(
            step,
            "good" if found.reached else "doubtful",
            f"There is none: {known.fault}. Other servers then look at DNS, and at port 8448.",
            f"Where the server is not at port 8448 of {found.server_name}: serve "
            f"https://{found.server_name}/.well-known/matrix/server with "
            '{"m.server": "HOST:PORT"} (`serve_server_wellknown: true` does so where port 443 leads here).',
        )
    else:
        yield Finding(
            step,
            "doubtful",
            f"There is one that can't be used: {known.fault}.",
            'It must be JSON of the form {"m.server": "matrix.example.org:443"}, answered with status 200.',
        )


def _srv_records(found: Diagnosis) -> Iterator[Finding]:
    step = "SRV"
    if not found.srv_names:
        yield Finding(step, "good", "No service record is looked up: the port is known.")
        return
    last = found.srv_names[-1]
    if not found.srv_records:
        yield Finding(step, "good", f"There is none ({', '.join(found.srv_names)}): port 8448 it is.")
        return
    shown = ", ".join(f"{record.target or '.'}:{record.port}" for record in found.srv_records)
    if last.startswith("_matrix._tcp."):
        yield Finding(
            step,
            "doubtful",
            f"{last} leads to {shown}.",
            "This name is deprecated: use _matrix-fed._tcp, or better a well-known.",
        )
    else:
        yield Finding(step, "good", f"{last} leads to {shown}.")
    if found.route is not None and not found.route.targets:
        yield Finding(
            step, "fault", "The record says that there is no server.", "Remove it, or name a target."
        )
    for host in found.hosts.values():
        if host.alias is not None:
            yield Finding(
                step,
                "fault",
                f"The target {host.name} is an alias (CNAME) of {host.alias}, which RFC 2782 forbids.",
                f"Let the record name {host.alias}, or give {host.name} A and AAAA records.",
            )


def _addresses(found: Diagnosis) -> Iterator[Finding]:
    step = "addresses"
    for host in found.hosts.values():
        if host.fault is not None:
            yield Finding(
                step, "fault", f"{host.fault}.", f"Give {host.name} an A or AAAA record in public DNS."
            )
            continue
        private = [address for address in host.addresses if not ip_address(address).is_global]
        yield Finding(step, "good", f"{host.name} is {', '.join(host.addresses)}.")
        if private:
            yield Finding(
                step,
                "doubtful",
                f"{', '.join(private)} is an address of a private network: servers elsewhere can't come there.",
                "If that is only what DNS says within your network, ask again from outside.",
            )


def _connection(found: Diagnosis, reached: Reached) -> Iterator[Finding]:
    where = reached.address
    if reached.fault is not None:
        yield Finding(
            "connection",
            "fault",
            f"{where}: {reached.fault}.",
            "Open the port in firewall and router, and let the server or its reverse proxy listen there; or name "
            "the right port in the well-known. Remove addresses from DNS that don't lead to it.",
        )
        return
    yield Finding("connection", "good", f"{where} speaks {reached.tls_version} ({reached.cipher}).")
    yield _certificate(found, reached)
    if reached.keys_fault is not None:
        yield Finding(
            "keys",
            "fault",
            f"{where} gives no keys at /_matrix/key/v2/server: {reached.keys_fault}.",
            "The reverse proxy must pass /_matrix/key and /_matrix/federation on to the server, with the Host header "
            f"{found.route.host_header if found.route is not None else ''} that it got; the listener needs the "
            "resource `federation`.",
        )
    elif reached.keys is not None:
        yield from _keys(found, where, reached.keys)


def _certificate(found: Diagnosis, reached: Reached) -> Finding:
    assert found.route is not None
    wanted = found.route.tls_name
    own = reached.certificates[0] if reached.certificates else None
    if reached.certificate_fault is None:
        until = f", until {own.not_after}" if own is not None and own.not_after else ""
        return Finding("certificate", "good", f"{reached.address}: it is valid for {wanted}{until}.")
    fault = reached.certificate_fault
    names = ", ".join(own.names) if own is not None and own.names else "no name"
    if "ostname" in fault or "IP address" in fault:
        cure = (
            f"The certificate is for {names}; it must be for {wanted}. Not the name in a well-known or service "
            "record of your liking counts, but the one that discovery ends with."
        )
    elif "expired" in fault:
        cure = f"It ended {own.not_after if own is not None else ''}: renew it, and let the server read it again."
    elif "unable to get" in fault and "issuer" in fault:
        cure = (
            "The server shows its own certificate without the authority's between it and the root: use the file with "
            "the whole chain (Let's Encrypt: fullchain.pem, not cert.pem)."
        )
    elif "self" in fault and "signed" in fault:
        cure = (
            "Nobody trusts a self-signed certificate: get one of a public authority, such as Let's Encrypt."
        )
    else:
        cure = "Get a certificate of a public authority for that name."
    return Finding("certificate", "fault", f"{reached.address}: it is not valid for {wanted}: {fault}.", cure)


def _keys(found: Diagnosis, where: str, document: dict[str, Any]) -> Iterator[Finding]:
    checks = check_keys(document, found.server_name, found.now)
    if not checks.is_of_server:
        yield Finding(
            "keys",
            "fault",
            f"{where} gives the keys of {str(document.get('server_name'))[:255]!r}, not of {found.server_name}.",
            "Another server is there: look at the well-known and the reverse proxy; or `server_name` of the "
            "configuration is another one.",
        )
        return
    try:
        read = server_keys.parse(document, found.now, found.server_name)
    except BadServerKeys as error:
        yield Finding(
            "keys", "fault", f"{where}: {error}", "The server must sign what it publishes, with all keys."
        )
        return
    if not checks.all_good:
        yield Finding(
            "keys",
            "fault",
            f"{where}: the document is out of date, or not signed by each of its keys.",
            "Check the clock of the server.",
        )
    elif read.valid_until_ts < found.now + _SOON_MS:
        yield Finding(
            "keys",
            "doubtful",
            f"{where}: its keys are good for less than an hour.",
            "A longer `key_refresh_interval`.",
        )
    else:
        yield Finding("keys", "good", f"{where}: {', '.join(checks.keys)}, rightly signed.")


def _version(found: Diagnosis) -> Iterator[Finding]:
    if found.version is not None:
        yield Finding("version", "good", f"It runs {found.version['name']} {found.version['version']}.")
    else:
        yield Finding(
            "version",
            "fault",
            f"It does not tell its version: {found.version_fault}",
            "Mend what stands above; if all is good there, the reverse proxy must pass /_matrix/federation on.",
        )


def _signed(found: Diagnosis) -> Iterator[Finding]:
    for request in found.signed:
        if request.fault is None and (request.seen in (None, request.sent)):
            continue
        yield _refused(found, request)
        return
    if found.signed:
        whole = "arrive as they were sent" if found.is_own else "are accepted"
        yield Finding(
            "signed requests", "good", f"Signed requests with /, !, @, %, + in their paths {whole}."
        )


def _refused(found: Diagnosis, request: SignedRequest) -> Finding:
    cure = (
        "The reverse proxy must pass the path on as it came. nginx: `proxy_pass http://127.0.0.1:8008;` without a "
        "slash or path behind the port. Apache: `AllowEncodedSlashes NoDecode`, and `nocanon` at the end of ProxyPass. "
        "HAProxy: no `normalize-uri`. Others: switch the normalisation of paths off."
    )
    if request.seen is not None:
        sentence = f"{request.sent} arrived as {request.seen}."
    else:
        sentence = f"{request.sent} was refused: {request.fault}"
    if not found.is_own:
        cure = (
            "Either the way there changes paths (see `ranvier federation test` on that server), or that server can't "
            f"get this one's keys: test this one too. {cure}"
        )
    return Finding("signed requests", "fault", sentence, cure)


def _public(entry: Any) -> bytes:
    text = entry.get("key") if isinstance(entry, dict) else None
    try:
        return decode(text) if isinstance(text, str) else b""
    except ValueError:
        return b""
