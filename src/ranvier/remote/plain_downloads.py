"""Plain downloads from addresses that other servers name: where their media lies elsewhere."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urljoin, urlsplit

import aiohttp

from ranvier.protocol.server_discovery import MAX_REDIRECTS
from ranvier.remote.failure import RemoteFailure
from ranvier.remote.tls import TlsContexts
from ranvier.remote.transport import Opened
from ranvier.remote.web import Web, headers_of, pieces_of

_MAX_URL: Final = 4096


class PlainDownloads:
    """Downloads over HTTPS, from no blocked address; nothing of this server's identity goes along."""

    def __init__(self, web: Web, tls: TlsContexts) -> None:
        self._web = web
        self._tls = tls

    @asynccontextmanager
    async def open(self, url: str, timeout_s: float) -> AsyncIterator[Opened]:
        """The answer (status 200) behind a URL and its redirects; whoever reads bounds what is read.

        Raises RemoteFailure.
        """
        for _ in range(MAX_REDIRECTS + 1):
            parts = urlsplit(url) if url.isascii() and len(url) <= _MAX_URL else urlsplit("")
            host = parts.hostname or ""
            if parts.scheme != "https" or not host or parts.username is not None:
                raise RemoteFailure(host, "The media is not at an address that begins with https://.")
            try:
                async with self._web.open(
                    "GET", url, tls=self._tls.for_host(host), timeout_s=timeout_s
                ) as response:
                    if response.status in (301, 302, 303, 307, 308):
                        url = urljoin(url, response.headers.get("Location", "")).partition("#")[0]
                        continue
                    if response.status != 200:
                        raise RemoteFailure(host, f"It answered {response.status}.", status=response.status)
                    yield Opened(200, headers_of(response), pieces_of(response))
                    return
            except (aiohttp.ClientError, OSError, ValueError) as error:
                raise RemoteFailure(host, f"It can't be downloaded from: {error}"[:300]) from error
        raise RemoteFailure(host, "It redirects too often.")
