"""Looking names up in DNS, by c-ares: never in a thread, and never for longer than a bounded time.

A host's addresses come as the system knows them (its hosts file included), without those that are blocked.
"""

import asyncio
import ipaddress
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import aiodns
from aiohttp.abc import AbstractResolver, ResolveResult

from ranvier.protocol.server_discovery import SrvRecord
from ranvier.remote.ip_ranges import Blocked, IpRanges

_TIMEOUT_S: Final = 3.0
_TRIES: Final = 2
_LEAST_TTL_S: Final = 30
_MOST_TTL_S: Final = 3600
_MISSING_TTL_S: Final = 30
_REMEMBERED: Final = 10_000
_MAX_RECORDS: Final = 20
"""Addresses or service records of one name that are used."""

_NOTHING: Final = frozenset({1, 4})
"""ARES_ENODATA and ARES_ENOTFOUND: DNS answered that there is nothing."""


class LookUpFailed(OSError):
    """A name has no addresses, or DNS gave no answer; the message says which."""


class _Known(NamedTuple):
    until: float
    addresses: tuple[str, ...]
    fault: OSError | None


class Resolver(AbstractResolver):
    """Addresses and service records. `nameservers` (host:port) take the place of the system's."""

    def __init__(
        self,
        ranges: IpRanges,
        nameservers: Sequence[str] = (),
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ranges = ranges
        self._nameservers = list(nameservers)
        self._now = now
        self._dns: aiodns.DNSResolver | None = None
        self._known: dict[str, _Known] = {}

    async def find_addresses(self, host: str) -> tuple[str, ...]:
        """The host's addresses that may be contacted, the one to try first at the front.

        Raises Blocked if none may, LookUpFailed if there are none.
        """
        known = self._known.get(host)
        if known is None or known.until <= self._now():
            known = await self._look_up(host)
            if len(self._known) >= _REMEMBERED:
                for old in list(self._known)[: _REMEMBERED // 10]:
                    del self._known[old]
            self._known.pop(host, None)
            self._known[host] = known
        if known.fault is not None:
            raise type(known.fault)(str(known.fault))
        return known.addresses

    async def find_srv(self, name: str) -> tuple[Sequence[SrvRecord], float]:
        """The service records of a name, and for how many seconds they count.

        A look-up that fails is as good as one that finds nothing: there is a next step for that.
        """
        try:
            answer = await self._channel().query_dns(name, "SRV")
        except aiodns.error.DNSError as error:
            return (), _MISSING_TTL_S * (2 if error.args[0] in _NOTHING else 1)
        records, ttl = [], _MOST_TTL_S
        for record in answer.answer[:_MAX_RECORDS]:
            data: Any = record.data
            if hasattr(data, "target"):
                target = data.target.rstrip(".")
                records.append(SrvRecord(data.priority, data.weight, data.port, target))
                ttl = min(ttl, record.ttl)
        return records, max(ttl, _LEAST_TTL_S)

    async def find_alias(self, host: str) -> str | None:
        """The name that the host is an alias of (CNAME), if it is one."""
        try:
            answer = await self._channel().query_dns(host, "CNAME")
        except (aiodns.error.DNSError, UnicodeError):
            return None
        targets = [str(record.data.cname) for record in answer.answer if hasattr(record.data, "cname")]
        return targets[0].rstrip(".") if targets else None

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """What aiohttp connects to."""
        addresses = await self.find_addresses(host)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """Let go of the sockets."""
        if self._dns is not None:
            await self._dns.close()
            self._dns = None

    async def _look_up(self, host: str) -> _Known:
        try:
            ipaddress.ip_address(host)
            found, ttl = [host], _MOST_TTL_S
        except ValueError:
            try:
                answer = await self._channel().getaddrinfo(
                    host, family=socket.AF_UNSPEC, type=socket.SOCK_STREAM
                )
            except (aiodns.error.DNSError, UnicodeError) as error:
                return _Known(self._now() + _MISSING_TTL_S, (), LookUpFailed(_reason(host, error)))
            found = list(dict.fromkeys(node.addr[0].decode("ascii") for node in answer.nodes))
            ttl = min((node.ttl for node in answer.nodes), default=0)
        until = self._now() + max(_LEAST_TTL_S, min(ttl, _MOST_TTL_S))
        allowed = tuple(address for address in found if self._ranges.allows(address))[:_MAX_RECORDS]
        if allowed:
            return _Known(until, allowed, None)
        if not found:
            return _Known(until, (), LookUpFailed(f"{host} has no IP address"))
        shown = ", ".join(found[:3])
        return _Known(until, (), Blocked(f"{host} is {shown}, which `ip_range_blacklist` forbids to contact"))

    def _channel(self) -> aiodns.DNSResolver:
        if self._dns is None:
            options: dict[str, Any] = {"timeout": _TIMEOUT_S, "tries": _TRIES}
            self._dns = aiodns.DNSResolver(
                self._nameservers or None, loop=asyncio.get_running_loop(), **options
            )
        return self._dns


def _reason(host: str, error: Exception) -> str:
    code = error.args[0] if error.args else None
    if code in _NOTHING:
        return f"{host} has no IP address in DNS"
    return f"DNS gives no answer for {host}: {error.args[-1] if error.args else error}"
