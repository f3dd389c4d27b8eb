"""Calls to other servers over the network: discovery, TLS, and faults in words."""

import asyncio
import ssl
import zlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import aiohttp

from ranvier.protocol.server_discovery import Route, Target
from ranvier.remote.failure import RemoteFailure
from ranvier.remote.ip_ranges import Blocked
from ranvier.remote.plain_downloads import PlainDownloads
from ranvier.remote.resolver import LookUpFailed
from ranvier.remote.routes import Routes
from ranvier.remote.tls import TlsContexts
from ranvier.remote.transport import Call, Downloading, Opened
from ranvier.remote.web import Web, headers_of, pieces_of
from ranvier.remote.well_known import WellKnowns

_TARGETS: Final = 5
"""Targets of a route that are tried for one call."""


class Network:
    """The Transport that goes over the network."""

    def __init__(
        self,
        web: Web,
        routes: Routes,
        tls: TlsContexts,
        well_knowns: WellKnowns,
        downloads: PlainDownloads,
    ) -> None:
        self.web = web
        self.tls = tls
        self.well_knowns = well_knowns
        self.downloads: Downloading = downloads
        self._routes = routes

    @asynccontextmanager
    async def open(self, call: Call, timeout_s: float) -> AsyncIterator[Opened]:
        """Send the call to the first target of the destination's route that can be connected to."""
        deadline = asyncio.timeout(timeout_s)
        try:
            async with deadline, AsyncExitStack() as stack:
                route = await self._routes.find(call.destination)
                response = await self._first(stack, call, route, timeout_s)
                pieces = _pieces(call.destination, response, timeout_s)
                yield Opened(response.status, headers_of(response), pieces)
        except TimeoutError:
            if not deadline.expired():
                # Another's deadline: that one knows what it means.
                raise
            self._routes.forget(call.destination)
            raise _timed_out(call.destination, timeout_s) from None

    async def stop(self) -> None:
        """Close all connections."""
        await self.web.stop()

    async def _first(
        self, stack: AsyncExitStack, call: Call, route: Route, timeout_s: float
    ) -> aiohttp.ClientResponse:
        """The answer of the first target that can be connected to; what was not connected to was sent nothing."""
        if not route.targets:
            raise RemoteFailure(call.destination, "DNS says that there is no Matrix server.", is_final=True)
        fault: Exception = OSError()
        for target in route.targets[:_TARGETS]:
            opened = self.web.open(
                call.method,
                f"https://{_authority(target)}{call.target}",
                tls=self.tls.for_host(route.tls_name),
                timeout_s=timeout_s,
                tls_name=route.tls_name,
                headers={**call.headers, "Host": route.host_header},
                body=call.body,
            )
            try:
                return await stack.enter_async_context(opened)
            except (
                aiohttp.ClientConnectorError,
                aiohttp.ConnectionTimeoutError,
                Blocked,
                LookUpFailed,
            ) as error:
                fault = error
            except (aiohttp.ClientError, OSError, ValueError) as error:
                fault = error
                break
        self._routes.forget(call.destination)
        raise _failure(call.destination, fault, route) from fault


def _authority(target: Target) -> str:
    host = f"[{target.host}]" if ":" in target.host else target.host
    return f"{host}:{target.port}"


async def _pieces(
    destination: str, response: aiohttp.ClientResponse, timeout_s: float
) -> AsyncIterator[bytes]:
    try:
        async for piece in pieces_of(response):
            yield piece
    except aiohttp.SocketTimeoutError:
        raise _timed_out(destination, timeout_s) from None
    except (aiohttp.ClientError, OSError, zlib.error) as error:
        raise RemoteFailure(destination, f"Its answer broke off: {_words(error)}") from error


def _timed_out(destination: str, timeout_s: float) -> RemoteFailure:
    return RemoteFailure(destination, f"It did not answer within {timeout_s:.0f} seconds.", is_final=True)


def _failure(destination: str, error: Exception, route: Route) -> RemoteFailure:
    """The fault in words. Trying again at once helps against none but a connection that broke."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError | ssl.SSLCertVerificationError):
        words = f"Its TLS certificate is not valid for {route.tls_name}: {_words(error)}"
        return RemoteFailure(destination, words, is_final=True)
    if isinstance(error, aiohttp.ClientConnectorSSLError | ssl.SSLError):
        return RemoteFailure(destination, f"TLS can't be spoken with it: {_words(error)}", is_final=True)
    if isinstance(error, Blocked):
        return RemoteFailure(destination, f"It may not be contacted: {error}.", is_final=True)
    if isinstance(error, LookUpFailed):
        return RemoteFailure(destination, f"It can't be found: {error}.", is_final=True)
    if isinstance(error, TimeoutError):
        return RemoteFailure(destination, "It can't be connected to in time.", is_final=True)
    return RemoteFailure(destination, f"It can't be reached: {_words(error)}")


def _words(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        error = error.certificate_error
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"{error.host}:{error.port}: {error.strerror or error.os_error}"[:300]
    return str(error)[:300] or type(error).__name__
