"""From a server's name to where it is: a step machine over `.well-known` and DNS.

Source: server-server API, "Resolving server names". The machine is asked for its next step and either gives the route
or says what it has to know; whoever drives it looks that up and tells it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final, NamedTuple

import orjson

from ranvier.protocol.identifiers import check_server_name, is_valid_server_name

DEFAULT_PORT: Final = 8448
SRV_SERVICES: Final = ("_matrix-fed._tcp", "_matrix._tcp")
"""In this order; the second one is deprecated."""

MAX_WELL_KNOWN_BYTES: Final = 50 * 1024
MAX_REDIRECTS: Final = 5

_MINUTE_MS: Final = 60_000
_HOUR_MS: Final = 60 * _MINUTE_MS
DEFAULT_LIFETIME_MS: Final = 24 * _HOUR_MS
LONGEST_LIFETIME_MS: Final = 48 * _HOUR_MS
SHORTEST_LIFETIME_MS: Final = 5 * _MINUTE_MS
LONGEST_ERROR_LIFETIME_MS: Final = _HOUR_MS
FIRST_ERROR_LIFETIME_MS: Final = 2 * _MINUTE_MS

_MAX_AGE: Final = re.compile(r"(?:\A|[,\s])max-age\s*=\s*\"?([0-9]{1,12})", re.IGNORECASE)
_UNCACHED: Final = re.compile(r"(?:\A|[,\s])no-(?:store|cache)(?:\Z|[,\s=])", re.IGNORECASE)


class Address(NamedTuple):
    """A server name in its parts; `host` has no brackets, `is_literal` says that it is an IP address."""

    host: str
    port: int | None
    is_literal: bool


class SrvRecord(NamedTuple):
    """A service record of DNS; `target` without a dot at its end, so that the empty one means "not here"."""

    priority: int
    weight: int
    port: int
    target: str


class Target(NamedTuple):
    """A host name or IP literal (without brackets), and a port."""

    host: str
    port: int


class Route(NamedTuple):
    """Where a server is: targets in the order in which they are to be tried, and how to speak there.

    `host_header` is what requests say, `tls_name` the host name or IP address that the certificate must be for (and
    the SNI, if it is a name). Without targets, DNS says that there is no such server.
    """

    host_header: str
    tls_name: str
    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True)
class NeedWellKnown:
    """Tell with `tell_well_known` what `https://<host>/.well-known/matrix/server` says."""

    host: str


@dataclass(frozen=True, slots=True)
class NeedSrv:
    """Tell with `tell_srv` the service records of this name."""

    name: str


Step = NeedWellKnown | NeedSrv | Route


class Discovery:
    """The way from one server name to its route. Raises BadIdentifier for what is no server name."""

    def __init__(self, server_name: str) -> None:
        check_server_name(server_name)
        self._name = server_name
        self._prefixes = list(SRV_SERVICES)
        address = parse_address(server_name)
        self._step: Step
        if address.is_literal or address.port is not None:
            self._step = _direct(server_name, address)
        else:
            self._step = NeedWellKnown(address.host)

    def next_step(self) -> Step:
        """The route, or what has to be told first; the same again until it is told."""
        return self._step

    def tell_well_known(self, m_server: str | None) -> None:
        """The server name that the document delegates to; None if there is no valid document."""
        assert isinstance(self._step, NeedWellKnown)
        if m_server is not None:
            address = parse_address(m_server)
            if address.is_literal or address.port is not None:
                self._step = _direct(m_server, address)
                return
            self._name = m_server
        self._step = self._next_srv()

    def tell_srv(self, records: Sequence[SrvRecord]) -> None:
        """The records in the order in which they are to be tried (`in_order`); empty if there are none."""
        assert isinstance(self._step, NeedSrv)
        if records:
            targets = tuple(Target(record.target, record.port) for record in records if record.target)
            self._step = Route(self._name, self._name, targets)
        elif self._prefixes:
            self._step = self._next_srv()
        else:
            self._step = Route(self._name, self._name, (Target(self._name, DEFAULT_PORT),))

    def _next_srv(self) -> NeedSrv:
        return NeedSrv(f"{self._prefixes.pop(0)}.{self._name}")


def parse_address(server_name: str) -> Address:
    """Host and port of a valid server name."""
    host, port = server_name, None
    if server_name.startswith("["):
        host, _, rest = server_name[1:].partition("]")
        port = int(rest[1:]) if rest else None
    elif ":" in server_name:
        host, _, digits = server_name.partition(":")
        port = int(digits)
    return Address(host, port, _literal_of(host) is not None)


def parse_well_known(body: bytes) -> str | None:
    """The server name that a document delegates to; None if it is not valid."""
    try:
        document: Any = orjson.loads(body[: MAX_WELL_KNOWN_BYTES + 1])
    except orjson.JSONDecodeError:
        return None
    m_server = document.get("m.server") if isinstance(document, dict) else None
    if not isinstance(m_server, str) or not is_valid_server_name(m_server):
        return None
    port = parse_address(m_server).port
    return m_server if port is None or port <= 65_535 else None


def lifetime_of(headers: Mapping[str, str], now: int) -> int:
    """Milliseconds for which a valid document counts; names of headers in lower case, `now` since the epoch."""
    control = headers.get("cache-control", "")[:1000]
    if _UNCACHED.search(control):
        return SHORTEST_LIFETIME_MS
    max_age = _MAX_AGE.search(control)
    lifetime = DEFAULT_LIFETIME_MS
    if max_age is not None:
        lifetime = int(max_age[1]) * 1000
    elif "expires" in headers:
        try:
            lifetime = int(parsedate_to_datetime(headers["expires"][:100]).timestamp() * 1000) - now
        except (ValueError, OverflowError):
            # A date that can't be read has passed (RFC 9111, section 5.3).
            lifetime = 0
    return max(SHORTEST_LIFETIME_MS, min(lifetime, LONGEST_LIFETIME_MS))


def error_lifetime(failures: int, *, is_temporary: bool) -> int:
    """Milliseconds for which it counts that there is no valid document, the `failures`-th time in a row.

    `is_temporary` where the server did not answer at all, or not as it should.
    """
    if not is_temporary:
        return LONGEST_ERROR_LIFETIME_MS
    return int(min(LONGEST_ERROR_LIFETIME_MS, FIRST_ERROR_LIFETIME_MS * 2 ** min(failures - 1, 10)))


def in_order(records: Sequence[SrvRecord], chances: Sequence[float]) -> list[SrvRecord]:
    """Service records in the order in which they are to be tried: by priority, and by chance as their weights are.

    `chances` are random numbers below 1, one for each record. Source: RFC 2782.
    """
    ordered: list[SrvRecord] = []
    left = sorted(records, key=lambda record: (record.priority, record.weight > 0))
    for chance in chances[: len(records)]:
        first = [record for record in left if record.priority == left[0].priority]
        point = chance * (sum(record.weight for record in first) + 1)
        for record in first:
            point -= record.weight
            if point < 1:
                break
        ordered.append(record)
        left.remove(record)
    return ordered


def _direct(server_name: str, address: Address) -> Route:
    port = address.port if address.port is not None else DEFAULT_PORT
    return Route(server_name, address.host, (Target(address.host, port),))


def _literal_of(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
