"""Between the connection and the endpoints: route, authentication, limits, body, and what every answer needs.

Source: Client-Server API, "API Standards" and "Web Browser Clients".
"""

import contextvars
import logging
import secrets
import string
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import lru_cache
from ipaddress import ip_address
from itertools import count
from time import perf_counter
from typing import Protocol

import orjson

from ranvier.accounts.requester import Requester
from ranvier.http.connection import Send
from ranvier.http.endpoints import Answer
from ranvier.http.errors import response_of
from ranvier.http.incoming import Gone
from ranvier.http.limits import address_key, too_soon
from ranvier.http.metrics import Traffic
from ranvier.http.peers import Peers
from ranvier.http.request import Headers, Request
from ranvier.http.response import Response
from ranvier.http.router import Route, Router
from ranvier.protocol.refusal import Refusal
from ranvier.store.database import Unavailable
from ranvier.store.writer import Busy

CURRENT: contextvars.ContextVar[Request | None] = contextvars.ContextVar("request", default=None)
"""The request that is being answered: logs take its id from here."""
GONE = 499
"""What the figures count for a client that hung up before it was answered."""

_SLOW_SECONDS = 1.0
"""An answer that took longer is logged, unless its request asked to wait."""
_BUSY_SECONDS = 2.0
_UNAVAILABLE = Refusal(
    "M_UNKNOWN", "The database does not answer; please try again.", status=503, retry_after_ms=2000
)

_log = logging.getLogger("ranvier.http")


class Authenticator(Protocol):
    """Knows whom a token stands for."""

    async def authenticate(self, token: str, *, locked_ok: bool = False) -> Requester:
        """Who asks; refuses tokens that are unknown or ended, and locked users unless `locked_ok`."""
        ...


Noted = Callable[[Requester, str, Callable[[bytes], str | None]], None]
"""Told of each request with a token: who asks, from which address, and how to look up a header."""
Confirm = Callable[[], Awaitable[None]]
"""Brings memory up to what any process has answered; free while there is no other."""


class Application:
    """Answers the requests of one kind of listener.

    `forwarded` says that a proxy in front, which sets `X-Forwarded-For` itself, is trusted. `strays`
    counts the requests that found no endpoint. `peers` knows other servers. `confirm` comes before everything that
    relies on memory, where other processes answer too.
    """

    def __init__(
        self,
        router: Router,
        authenticator: Authenticator,
        strays: Traffic,
        *,
        forwarded: bool = False,
        noted: Noted | None = None,
        peers: Peers | None = None,
        confirm: Confirm | None = None,
    ) -> None:
        self._router = router
        self._authenticator = authenticator
        self._forwarded = forwarded
        self._prefix = "".join(secrets.choice(string.ascii_lowercase) for _ in range(4))
        self._numbers = count(1)
        self._strays = strays
        self._noted = noted
        self._peers = peers
        self._confirm = confirm

    async def __call__(self, request: Request, send: Send) -> None:
        """Answer one request."""
        if request.method == "OPTIONS":
            # No logic of the endpoint may run, and every path answers.
            await send(Response(204, headers=[]))
            return
        started = perf_counter()
        request.id = f"{self._prefix}-{next(self._numbers)}"
        if self._forwarded:
            request.client_address = _forwarded_for(request.headers) or request.client_address
        CURRENT.set(request)
        traffic, status, size = self._strays, GONE, 0
        try:
            try:
                route, request.parameters = self._router.find(
                    request.method, request.raw_path.decode("ascii")
                )
                traffic = route.traffic
                traffic.begin()
                response = await self._answer(route, request)
            except Gone:
                return
            except Exception as error:
                if traffic is self._strays:
                    traffic.begin()
                response = _response_to(error, request)
            status = response.status
            size = await send(response)
        finally:
            seconds = perf_counter() - started
            traffic.finish(status, seconds, size)
            if seconds > _SLOW_SECONDS and b"timeout=" not in request.query_string:
                _log.info(
                    "slow answer",
                    extra={"path": _shown(request), "status": status, "seconds": round(seconds, 3)},
                )

    async def _answer(self, route: Route, request: Request) -> Response:
        endpoint = route.endpoint
        if self._confirm is not None and endpoint.confirms:
            await self._confirm()
        if endpoint.access in ("server", "self"):
            return await self._answer_server(route, request)
        if endpoint.access != "open":
            token = _token_of(request)
            if token is not None:
                request.requester = await self._authenticator.authenticate(
                    token, locked_ok=endpoint.locked_ok
                )
                if self._noted is not None:
                    self._noted(request.requester, request.client_address, request.header)
            elif endpoint.access == "token":
                _ = request.requester  # Refuses: there is none.
        if route.bucket is not None:
            requester = request.requester_or_none
            wait = route.bucket.take(
                requester.user_id if requester is not None else address_key(request.client_address)
            )
            if wait:
                raise too_soon(wait)
        if endpoint.streams_body:
            request.stream = _stream(request, endpoint.body_limit)
        elif request.method != "GET":
            request.body = await _read(request, endpoint.body_limit)
        return _response(await route.call(request))

    async def _answer_server(self, route: Route, request: Request) -> Response:
        """For another server: who asks is known when the body was read, as it is signed too."""
        assert self._peers is not None
        claims = self._peers.claims_of(request, by_self=route.endpoint.access == "self")
        if request.method != "GET":
            request.body = await _read(request, route.endpoint.body_limit)
        request.origin = await self._peers.authenticate(request, claims)
        if not route.endpoint.takes_turns:
            return _response(await route.call(request))
        async with self._peers.turn(request.origin):
            return _response(await route.call(request))


def _response(answer: Answer) -> Response:
    if type(answer) is dict:
        return Response(200, orjson.dumps(answer))
    assert isinstance(answer, Response)
    return answer


def _token_of(request: Request) -> str | None:
    header = request.header(b"authorization")
    if header is not None and header[:7].lower() == "bearer ":
        return header[7:].strip() or None
    # COMPAT(older clients): the token may stand in the query.
    return request.query("access_token") or None if b"access_token" in request.query_string else None


def _forwarded_for(headers: Headers) -> str | None:
    """The last address of the last `X-Forwarded-For`: the one that the trusted proxy itself wrote."""
    for name, value in reversed(headers):
        if name == b"x-forwarded-for":
            return _address(value.rpartition(b",")[2])
    return None


@lru_cache(maxsize=4096)
def _address(text: bytes) -> str | None:
    try:
        return str(ip_address(text.strip().decode("latin-1")[:64]))
    except ValueError:
        return None


def _too_large(limit: int) -> Refusal:
    return Refusal("M_TOO_LARGE", f"The body is larger than the {limit} bytes that are read here.")


def _check_length(request: Request, limit: int) -> None:
    """Refuse a body by its announced length, before any of it is read."""
    for name, value in request.headers:
        if name == b"content-length" and int(value) > limit:
            raise _too_large(limit)


async def _read(request: Request, limit: int) -> bytes:
    _check_length(request, limit)
    read = request.incoming.read
    body = await read()
    if not request.incoming.is_complete:
        pieces = bytearray(body)
        while len(pieces) <= limit and (piece := await read()):
            pieces += piece
        body = bytes(pieces)
    if len(body) > limit:
        raise _too_large(limit)
    return body


def _stream(request: Request, limit: int) -> Callable[[], AsyncIterator[bytes]]:
    _check_length(request, limit)

    async def pieces() -> AsyncIterator[bytes]:
        size = 0
        while piece := await request.incoming.read():
            size += len(piece)
            if size > limit:
                raise _too_large(limit)
            yield piece

    return pieces


def _response_to(error: Exception, request: Request) -> Response:
    """What an exception becomes: an answer in any case, and a traceback in the log where it is a bug."""
    if isinstance(error, Refusal):
        return response_of(error)
    if isinstance(error, Busy):
        return response_of(too_soon(_BUSY_SECONDS))
    if isinstance(error, Unavailable):
        _log.warning("a request was refused", extra={"why": str(error), "path": _shown(request)})
        return response_of(_UNAVAILABLE)
    _log.error("a request failed", exc_info=error, extra={"method": request.method, "path": _shown(request)})
    body = {"errcode": "M_UNKNOWN", "error": f"The server failed; its log says more under {request.id}."}
    return Response(500, orjson.dumps(body))


def _shown(request: Request) -> str:
    # Without the query, which may hold a token.
    return request.raw_path[:300].decode("ascii", "replace")
