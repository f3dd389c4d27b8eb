"""Testing whether a server can be reached by others: each step on its own, so that the fault has a place.

The steps are those of `remote/network.py`, which only tells the last fault; the judgement on what is found stands in
`remote/findings.py`.
"""

import asyncio
import hashlib
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import aiohttp

from ranvier.protocol import canonical_json, x_matrix
from ranvier.protocol.identifiers import BadIdentifier
from ranvier.protocol.server_discovery import (
    Discovery,
    NeedSrv,
    NeedWellKnown,
    Route,
    SrvRecord,
    Target,
    in_order,
)
from ranvier.protocol.signing import SigningKey
from ranvier.remote.client import path_of
from ranvier.remote.failure import RemoteFailure
from ranvier.remote.network import Network
from ranvier.remote.resolver import Resolver
from ranvier.remote.transport import Call
from ranvier.remote.web import read_at_most
from ranvier.remote.well_known import WellKnown

ECHO_PATH: Final = "/_matrix/federation/unstable/org.ranvier/echo"
ECHOED: Final = ("plain", "!a/b:c", "@d:e", "ends/", "//", "50% & +", "ü")
"""What a path of a real request may hold; each is percent-encoded whole."""

_TIMEOUT_S: Final = 10.0
_MAX_ANSWER: Final = 512 * 1024
_MAX_TARGETS: Final = 20


class Certificate(NamedTuple):
    """Of the chain that a server showed; `fingerprint` is the SHA-256 of it."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    not_after: str
    fingerprint: bytes


@dataclass
class Host:
    """A target of the route and what DNS says of it."""

    name: str
    addresses: tuple[str, ...] = ()
    alias: str | None = None
    fault: str | None = None


@dataclass
class Reached:
    """What became of the attempt to speak with one address (`ip:port`)."""

    address: str
    fault: str | None = None
    certificates: list[Certificate] = field(default_factory=list)
    certificate_fault: str | None = None
    tls_version: str = ""
    cipher: str = ""
    status: int | None = None
    keys: dict[str, Any] | None = None
    keys_fault: str | None = None


@dataclass
class SignedRequest:
    """A signed request whose path holds what real ones may; `seen` is the path that arrived, where that is known."""

    sent: str
    status: int | None = None
    seen: str | None = None
    fault: str | None = None


@dataclass
class Diagnosis:
    """All that was found. `well_known` is None where the name needs none; `srv_names` are those looked up."""

    server_name: str
    now: int
    error: str | None = None
    well_known: WellKnown | None = None
    srv_names: list[str] = field(default_factory=list)
    srv_records: list[SrvRecord] = field(default_factory=list)
    route: Route | None = None
    hosts: dict[str, Host] = field(default_factory=dict)
    reached: list[Reached] = field(default_factory=list)
    version: Mapping[str, str] | None = None
    version_fault: str | None = None
    signed: list[SignedRequest] = field(default_factory=list)
    is_own: bool = False


class Examiner:
    """Tests servers; `signer` is this server's key, without which no signed requests are made."""

    def __init__(self, network: Network, signer: SigningKey | None, now: Callable[[], int]) -> None:
        self._web = network.web
        self._well_knowns = network.well_knowns
        self._tls = network.tls
        self._network = network
        self._signer = signer
        self._now = now

    async def test(self, server_name: str) -> Diagnosis:
        """Everything about one server; whatever goes wrong stands in the answer."""
        found = Diagnosis(server_name, self._now())
        try:
            await self._discover(found)
        except BadIdentifier as error:
            found.error = str(error)
            return found
        assert found.route is not None
        await self._look_up(found, found.route)
        await self._reach_all(found, found.route)
        await self._ask_version(found)
        if self._signer is not None and found.version is not None:
            found.is_own = server_name == self._signer.server_name
            await self._sign(found, self._signer)
        return found

    @property
    def _resolver(self) -> Resolver:
        return self._web.resolver

    async def _discover(self, found: Diagnosis) -> None:
        discovery = Discovery(found.server_name)
        while not isinstance(step := discovery.next_step(), Route):
            if isinstance(step, NeedWellKnown):
                found.well_known = await self._well_knowns.ask(step.host)
                discovery.tell_well_known(found.well_known.m_server)
            elif isinstance(step, NeedSrv):
                found.srv_names.append(step.name)
                records, _ = await self._resolver.find_srv(step.name)
                found.srv_records = in_order(records, [0.0] * len(records))
                discovery.tell_srv(found.srv_records)
        found.route = step

    async def _look_up(self, found: Diagnosis, route: Route) -> None:
        for target in route.targets[:_MAX_TARGETS]:
            if target.host in found.hosts:
                continue
            host = found.hosts[target.host] = Host(target.host)
            try:
                host.addresses = await self._resolver.find_addresses(target.host)
            except OSError as error:
                host.fault = str(error)
            host.alias = await self._resolver.find_alias(target.host)

    async def _reach_all(self, found: Diagnosis, route: Route) -> None:
        pairs = [
            (address, target)
            for target in route.targets[:_MAX_TARGETS]
            for address in found.hosts[target.host].addresses
        ]
        found.reached = list(
            await asyncio.gather(
                *(self._reach(route, address, target) for address, target in dict.fromkeys(pairs))
            )
        )

    async def _reach(self, route: Route, address: str, target: Target) -> Reached:
        shown = f"[{address}]" if ":" in address else address
        reached = Reached(f"{shown}:{target.port}")
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                await self._shake_hands(reached, route.tls_name, address, target.port)
        except TimeoutError:
            reached.fault = f"nobody answered within {_TIMEOUT_S:.0f} seconds"
            return reached
        except OSError as error:
            reached.fault = _words(error)
            return reached
        await self._fetch_keys(reached, route, f"https://{reached.address}/_matrix/key/v2/server")
        return reached

    async def _shake_hands(self, reached: Reached, tls_name: str, address: str, port: int) -> None:
        """TLS as every other server does it, and where it fails once more without a check, to see why."""
        try:
            _, writer = await asyncio.open_connection(
                address, port, ssl=self._tls.for_host(tls_name), server_hostname=tls_name
            )
        except ssl.SSLCertVerificationError as error:
            reached.certificate_fault = error.verify_message
            _, writer = await asyncio.open_connection(
                address, port, ssl=self._tls.trusting, server_hostname=tls_name
            )
        shaken = writer.get_extra_info("ssl_object")
        reached.tls_version = shaken.version() or ""
        cipher = shaken.cipher()
        reached.cipher = cipher[0] if cipher else ""
        reached.certificates = _chain_of(shaken)
        writer.transport.abort()

    async def _fetch_keys(self, reached: Reached, route: Route, url: str) -> None:
        # Whether the certificate is good was seen; here it is asked what the server says.
        try:
            async with self._web.open(
                "GET",
                url,
                tls=self._tls.trusting,
                tls_name=route.tls_name,
                timeout_s=_TIMEOUT_S,
                headers={"Host": route.host_header},
            ) as response:
                reached.status = response.status
                body = await read_at_most(response, _MAX_ANSWER)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            reached.keys_fault = _words(error)
            return
        if reached.status != 200:
            reached.keys_fault = f"it answered {reached.status}"
            return
        try:
            value = canonical_json.decode(body if body is not None else b"")
        except canonical_json.BadJson as error:
            reached.keys_fault = str(error)
            return
        if isinstance(value, dict):
            reached.keys = value
        else:
            reached.keys_fault = "it answered with JSON that is no object"

    async def _ask_version(self, found: Diagnosis) -> None:
        call = Call(found.server_name, "GET", "/_matrix/federation/v1/version", {}, None)
        try:
            status, answer = await self._ask(call)
        except RemoteFailure as failure:
            found.version_fault = failure.reason
            return
        server = answer.get("server")
        if status != 200 or not isinstance(server, dict):
            found.version_fault = f"it answered {status} without name and version of its program"
            return
        found.version = {name: str(server.get(name, ""))[:200] for name in ("name", "version")}

    async def _sign(self, found: Diagnosis, signer: SigningKey) -> None:
        base = ECHO_PATH if found.is_own else "/_matrix/federation/v1/event"
        for text in ECHOED:
            path = path_of(base, text if found.is_own else f"$ranvier-test-{text}")
            request = SignedRequest(path)
            found.signed.append(request)
            header = x_matrix.make(signer, found.server_name, "GET", path, None)
            call = Call(found.server_name, "GET", path, {"Authorization": header}, None)
            try:
                request.status, answer = await self._ask(call)
            except RemoteFailure as failure:
                request.fault = failure.reason
                return
            uri, error = answer.get("uri"), answer.get("error")
            request.seen = uri if isinstance(uri, str) else None
            if request.status == 401 or (found.is_own and request.status != 200):
                request.fault = (
                    str(error)[:500] if isinstance(error, str) else f"it answered {request.status}"
                )

    async def _ask(self, call: Call) -> tuple[int, dict[str, Any]]:
        """Status and JSON object of an answer; an empty object where it is none."""
        async with self._network.open(call, _TIMEOUT_S) as opened:
            body = bytearray()
            async for piece in opened.pieces:
                body += piece
                if len(body) > _MAX_ANSWER:
                    return opened.status, {}
        try:
            value = canonical_json.decode(bytes(body))
        except canonical_json.BadJson:
            return opened.status, {}
        return opened.status, value if isinstance(value, dict) else {}


def _chain_of(shaken: Any) -> list[Certificate]:
    """The certificates that were shown, the server's own first; only that one's fingerprint on interpreters that
    do not tell more."""
    unverified = getattr(getattr(shaken, "_sslobj", None), "get_unverified_chain", None)
    chain = unverified() if unverified is not None else None
    if not chain:
        der = shaken.getpeercert(binary_form=True) or b""
        return [Certificate("", "", (), "", hashlib.sha256(der).digest())]
    found = []
    for certificate in chain:
        facts = certificate.get_info()
        found.append(
            Certificate(
                _name_in(facts.get("subject", ())),
                _name_in(facts.get("issuer", ())),
                tuple(str(value) for _, value in facts.get("subjectAltName", ())),
                str(facts.get("notAfter", "")),
                hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate.public_bytes())).digest(),
            )
        )
    return found


def _name_in(name: Any) -> str:
    parts = {key: value for relative in name for key, value in relative}
    return str(parts.get("commonName") or parts.get("organizationName") or "")


def _words(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "the connection was refused: nothing listens there"
    if isinstance(error, ssl.SSLError):
        return f"TLS can't be spoken: {error.reason or error}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
