"""Servers of other names on this machine, each with TLS of the tests' authority, and a way to ask them."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from aiohttp import web
from tests.authority import Authority
from tests.remote.name_server import NameServer

from ranvier.remote.ip_ranges import IpRanges
from ranvier.remote.network import Network
from ranvier.remote.plain_downloads import PlainDownloads
from ranvier.remote.resolver import Resolver
from ranvier.remote.routes import Routes
from ranvier.remote.tls import TlsContexts, TlsRules
from ranvier.remote.transport import Call
from ranvier.remote.web import Web
from ranvier.remote.well_known import WellKnowns

PRIVATE = ("127.0.0.0/8", "10.0.0.0/8", "::1/128")

Answering = Callable[[web.Request], Awaitable[web.StreamResponse]]
Speaking = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Outside:
    """The parts of the server's way out."""

    resolver: Resolver
    well_knowns: WellKnowns
    routes: Routes
    network: Network

    async def ask(
        self, name: str, target: str = "/_matrix/federation/v1/version", timeout_s: float = 5
    ) -> tuple[int, bytes]:
        """Status and body of the answer to a GET."""
        async with self.network.open(Call(name, "GET", target, {}, None), timeout_s) as opened:
            return opened.status, b"".join([piece async for piece in opened.pieces])


class Neighbourhood:
    """`serve` starts one more server; `outside` finds servers by the tests' name server and trusts their authority.

    Real servers are found at port 443 or 8448. Here they have any port, so a `https` URL of those two is led to the
    port that `ports` gives for the host.
    """

    def __init__(self, authority: Authority, name_server: NameServer) -> None:
        self.authority = authority
        self.name_server = name_server
        self.ports: dict[tuple[str, int], int] = {}
        self._runners: list[web.AppRunner] = []
        self._servers: list[asyncio.Server] = []
        self._outsides: list[Outside] = []
        self.now_ms = 1_700_000_000_000

    async def serve(self, answer: Answering, *names: str, address: str = "127.0.0.1") -> int:
        """A server with a certificate for these names, which answers each request by the function; its port."""
        application = web.Application(client_max_size=100 * 1024 * 1024)
        application.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        self._runners.append(runner)
        site = web.TCPSite(runner, address, 0, ssl_context=self.authority.issue(*names).context())
        await site.start()
        assert site._server is not None
        port: int = site._server.sockets[0].getsockname()[1]
        return port

    async def serve_raw(self, speak: Speaking, *names: str) -> int:
        """A server that says over TLS what the function writes; its port."""

        async def spoken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(ConnectionError, ssl.SSLError, asyncio.IncompleteReadError):
                await speak(reader, writer)
            writer.close()

        context = self.authority.issue(*names).context()
        server = await asyncio.start_server(spoken, "127.0.0.1", 0, ssl=context)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    def outside(
        self, *, allowed: tuple[str, ...] = ("127.0.0.0/8", "::1/128"), rules: TlsRules | None = None
    ) -> Outside:
        """What one server needs to find others; it remembers nothing yet."""
        ranges = IpRanges(PRIVATE, allowed)
        resolver = Resolver(ranges, [self.name_server.address])
        outgoing = _Led(resolver, ranges, self.ports)
        tls = TlsContexts(rules or TlsRules(authorities=[self.authority.path]))
        well_knowns = WellKnowns(outgoing, tls, lambda: self.now_ms, chance=lambda: 1.0)
        routes = Routes(resolver, well_knowns, time.monotonic, lambda: 0.0)
        made = Outside(
            resolver,
            well_knowns,
            routes,
            Network(outgoing, routes, tls, well_knowns, PlainDownloads(outgoing, tls)),
        )
        self._outsides.append(made)
        return made

    async def close(self) -> None:
        for outside in self._outsides:
            await outside.network.stop()
        for server in self._servers:
            server.close()
        for runner in self._runners:
            await runner.cleanup()


class _Led(Web):
    """Goes to the tests' ports instead of those that the specification fixes."""

    def __init__(self, resolver: Resolver, ranges: IpRanges, ports: dict[tuple[str, int], int]) -> None:
        super().__init__(resolver, ranges)
        self._ports = ports

    def open(self, method: str, url: str, **options: object):  # type: ignore[no-untyped-def, override]
        parts = urlsplit(url)
        led = self._ports.get((parts.hostname or "", parts.port or 443))
        if led is not None:
            url = urlunsplit(parts._replace(netloc=f"{parts.hostname}:{led}"))
        return super().open(method, url, **options)  # type: ignore[arg-type]
