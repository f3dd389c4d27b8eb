"""`https://<host>/.well-known/matrix/server` of other servers, asked and remembered.

Source: server-server API, "Resolving server names", step 3.
"""

import asyncio
import logging
import random
import ssl
import zlib
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple
from urllib.parse import urljoin, urlsplit

import aiohttp

from ranvier.protocol.server_discovery import (
    LONGEST_LIFETIME_MS,
    MAX_REDIRECTS,
    MAX_WELL_KNOWN_BYTES,
    error_lifetime,
    lifetime_of,
    parse_well_known,
)
from ranvier.remote.tls import TlsContexts
from ranvier.remote.web import Web, headers_of, read_at_most

PATH: Final = "/.well-known/matrix/server"
_TIMEOUT_S: Final = 10.0
_REMEMBERED: Final = 20_000
_log: Final = logging.getLogger("ranvier.remote")


class WellKnown(NamedTuple):
    """What a host's document says, or a sentence on why there is none; until when that counts (milliseconds).

    `is_temporary`: another attempt may bring a document.
    """

    m_server: str | None
    fault: str | None
    until_ts: int
    is_temporary: bool = False


class _Known(NamedTuple):
    found: WellKnown
    failures: int
    good: str | None
    good_until_ts: int


class WellKnowns:
    """Documents by host, as long as they say or the specification recommends; failures for a while, too."""

    def __init__(
        self,
        web: Web,
        tls: TlsContexts,
        now: Callable[[], int],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._web = web
        self._tls = tls
        self._now = now
        self._chance = chance
        self._known: dict[str, _Known] = {}
        self._asking: dict[str, asyncio.Task[WellKnown]] = {}

    async def find(self, host: str) -> str | None:
        """The server name that the host's document delegates to; None if there is no valid one."""
        known = self._known.get(host)
        if known is not None and known.found.until_ts > self._now():
            return known.found.m_server
        task = self._asking.get(host)
        if task is None:
            task = asyncio.create_task(self._renew(host, known), name=f"well-known of {host}")
            self._asking[host] = task
            task.add_done_callback(partial(self._asked, host))
        return (await asyncio.shield(task)).m_server

    def _asked(self, host: str, _: object) -> None:
        self._asking.pop(host, None)

    async def _renew(self, host: str, before: _Known | None) -> WellKnown:
        found = await self.ask(host, before.failures if before is not None else 0)
        now = self._now()
        good, good_until = (before.good, before.good_until_ts) if before is not None else (None, 0)
        failures = 0
        if found.m_server is not None:
            good, good_until = found.m_server, now + LONGEST_LIFETIME_MS
        else:
            failures = 1 + (before.failures if before is not None else 0)
            _log.debug("no well-known of a server", extra={"server": host, "reason": found.fault})
            if found.is_temporary and good is not None and good_until > now:
                # Who was there yesterday is not elsewhere because its web server rests.
                found = found._replace(m_server=good)
        if len(self._known) >= _REMEMBERED:
            for old in list(self._known)[: _REMEMBERED // 10]:
                del self._known[old]
        self._known.pop(host, None)
        self._known[host] = _Known(found, failures, good, good_until)
        return found

    async def ask(self, host: str, failures: int = 0) -> WellKnown:
        """Ask the host now, whatever is remembered; `failures` is how often in a row that brought nothing."""
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                return await self._follow(host, failures)
        except TimeoutError:
            return self._none(
                f"it did not answer within {_TIMEOUT_S:.0f} seconds", failures, is_temporary=True
            )
        except ssl.SSLCertVerificationError as error:
            reason = f"its certificate is not valid: {error.verify_message}"
        except aiohttp.ClientConnectorCertificateError as error:
            reason = f"its certificate is not valid: {error.certificate_error}"
        except (aiohttp.ClientError, OSError, ValueError, zlib.error) as error:
            reason = str(error) or type(error).__name__
        return self._none(reason, failures, is_temporary=True)

    async def _follow(self, host: str, failures: int) -> WellKnown:
        url = f"https://{host}{PATH}"
        seen: set[str] = set()
        while url not in seen and len(seen) <= MAX_REDIRECTS:
            seen.add(url)
            tls = self._tls.for_host(urlsplit(url).hostname or host)
            async with self._web.open("GET", url, tls=tls, timeout_s=_TIMEOUT_S) as response:
                if response.status in (301, 302, 303, 307, 308):
                    url = urljoin(url, response.headers.get("Location", "")).partition("#")[0]
                    if not url.startswith("https://"):
                        return self._none(f"it redirects to {url[:200]}, which is not HTTPS", failures)
                    continue
                if response.status != 200:
                    return self._none(
                        f"it answered {response.status}", failures, is_temporary=response.status >= 500
                    )
                body = await read_at_most(response, MAX_WELL_KNOWN_BYTES)
                if body is None:
                    return self._none(f"it is longer than {MAX_WELL_KNOWN_BYTES} bytes", failures)
                m_server = parse_well_known(body)
                if m_server is None:
                    return self._none('it is not of the form {"m.server": "host:port"}', failures)
                now = self._now()
                # Caches that were filled together shall not run dry together.
                lifetime = int(lifetime_of(headers_of(response), now) * (0.9 + 0.1 * self._chance()))
                return WellKnown(m_server, None, now + lifetime)
        return self._none("it redirects in a circle, or too often", failures)

    def _none(self, fault: str, failures: int, *, is_temporary: bool = False) -> WellKnown:
        lifetime = error_lifetime(failures + 1, is_temporary=is_temporary)
        return WellKnown(None, fault, self._now() + lifetime, is_temporary)
