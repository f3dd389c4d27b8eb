"""Plain requests over HTTPS to names that others chose: bounded, and only to addresses that may be contacted."""

import asyncio
import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from ssl import SSLContext
from typing import Any, Final

import aiohttp
from aiohttp import ClientTimeout, TCPConnector
from yarl import URL

from ranvier import __version__
from ranvier.remote.ip_ranges import Blocked, IpRanges
from ranvier.remote.resolver import LookUpFailed, Resolver

CONNECT_S: Final = 10.0
"""Time for DNS, TCP and TLS of one address."""

_CONNECTIONS: Final = 2000
_KEPT_S: Final = 60.0
_PIECE: Final = 64 * 1024
USER_AGENT: Final = f"Ranvier/{__version__}"


class Web:
    """The one place from which connections go out. Host names are looked up by our own resolver."""

    def __init__(self, resolver: Resolver, ranges: IpRanges) -> None:
        self.resolver = resolver
        self._ranges = ranges
        self._session: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def open(
        self,
        method: str,
        url: str,
        *,
        tls: SSLContext,
        timeout_s: float,
        tls_name: str | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer's head, and its body for reading; redirects are not followed.

        `url` is sent as it stands. `tls_name` is what the certificate must be for, if not the URL's host. Raises
        what aiohttp raises, and Blocked, LookUpFailed.
        """
        target = URL(url, encoded=True)
        host = target.host or ""
        if (":" in host or host.replace(".", "").isdigit()) and not self._ranges.allows(host):
            # aiohttp asks no resolver about literals.
            raise Blocked(f"{host} is in a range that `ip_range_blacklist` forbids to contact")
        timeout = ClientTimeout(
            total=timeout_s, connect=min(CONNECT_S * 2, timeout_s), sock_connect=CONNECT_S
        )
        sent = {"User-Agent": USER_AGENT, "Accept-Encoding": "gzip", **(headers or {})}
        try:
            async with self._opened().request(
                method,
                target,
                headers=sent,
                data=body,
                ssl=tls,
                server_hostname=tls_name,
                allow_redirects=False,
                timeout=timeout,
            ) as response:
                yield response
        except aiohttp.ClientConnectorDNSError as error:
            if isinstance(error.os_error, Blocked | LookUpFailed):
                raise error.os_error from None
            raise

    async def stop(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None
        await self.resolver.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = TCPConnector(
                resolver=self.resolver,
                use_dns_cache=False,
                limit=_CONNECTIONS,
                keepalive_timeout=_KEPT_S,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("Content-Type",),
            )
        return self._session


async def pieces_of(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """The body in pieces of at most 64 KiB or so, decompressed; whoever reads bounds the sum."""
    if response.headers.get("Content-Encoding", "").strip().lower() not in ("gzip", "x-gzip"):
        async for piece in response.content.iter_any():
            yield piece
        return
    inflate = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    async for piece in response.content.iter_any():
        rest = piece
        # A small piece may become a very long one: it is taken out bit by bit, and the loop gets its turn.
        while rest:
            found = inflate.decompress(rest, _PIECE)
            rest = inflate.unconsumed_tail
            if found:
                yield found
                await asyncio.sleep(0)
            if inflate.eof:
                return


async def read_at_most(response: aiohttp.ClientResponse, most: int) -> bytes | None:
    """The body, decompressed; None if it is longer than that."""
    body = bytearray()
    async for piece in pieces_of(response):
        body += piece
        if len(body) > most:
            return None
    return bytes(body)


def headers_of(response: aiohttp.ClientResponse) -> dict[str, Any]:
    """Headers by lower-case name; of several with one name the first."""
    found: dict[str, Any] = {}
    for name, value in response.headers.items():
        found.setdefault(name.lower(), value)
    return found
