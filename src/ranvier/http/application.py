"""Between the socket and the endpoints: body, route, authentication, limits, and everything that an answer needs.

Source: Client-Server API, "API Standards" and "Web Browser Clients".
"""

import contextvars
import secrets
import string
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from functools import lru_cache
from ipaddress import ip_address
from itertools import count
from time import perf_counter
from typing import Any, Protocol

import orjson
import structlog

from ranvier.accounts.requester import Requester
from ranvier.http.errors import response_of
from ranvier.http.limits import address_key, too_soon
from ranvier.http.metrics import Traffic
from ranvier.http.request import Headers, Request
from ranvier.http.response import CORS, Response
from ranvier.http.router import Route, Router
from ranvier.protocol.refusal import Refusal
from ranvier.store.writer import Busy

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]


class Authenticator(Protocol):
    """Knows whom a token stands for."""

    async def authenticate(self, token: str, *, locked_ok: bool = False) -> Requester:
        """Who asks; refuses tokens that are unknown or ended, and locked users unless `locked_ok`."""
        ...


CURRENT: contextvars.ContextVar[Request | None] = contextvars.ContextVar("request", default=None)
"""The request that is being answered: logs take its id from here."""

_URL_BYTES = 16 * 1024
_HEADERS = 100
_SLOW_SECONDS = 1.0
"""An answer that took longer is logged, unless its request asked to wait."""
_BUSY_SECONDS = 2.0

_log = structlog.get_logger("ranvier.http")


GONE = 499
"""What the figures count for a client that hung up before it was answered."""


class Gone(Exception):
    """The client hung up before its request was complete."""


class Application:
    """Answers the requests of one kind of listener, as an ASGI application.

    `forwarded` says that a proxy in front, which sets `X-Forwarded-For` itself, is trusted. `strays`
    counts the requests that found no endpoint.
    """

    def __init__(
        self, router: Router, authenticator: Authenticator, strays: Traffic, *, forwarded: bool = False
    ) -> None:
        self._router = router
        self._authenticator = authenticator
        self._forwarded = forwarded
        self._prefix = "".join(secrets.choice(string.ascii_lowercase) for _ in range(4))
        self._numbers = count(1)
        self._strays = strays

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["method"] == "OPTIONS":
            # No logic of the endpoint may run, and every path answers.
            await send({"type": "http.response.start", "status": 204, "headers": CORS})
            await send({"type": "http.response.body"})
            return
        started = perf_counter()
        request = self._request(scope)
        CURRENT.set(request)
        traffic, status, size = self._strays, GONE, 0
        try:
            try:
                route = self._route(request)
                traffic = route.traffic
                traffic.begin()
                response = await self._answer(route, request, receive)
            except Gone:
                return
            except Exception as error:
                if traffic is self._strays:
                    traffic.begin()
                response = _response_to(error, request)
            status = response.status
            size = await _send(response, send, request)
        finally:
            seconds = perf_counter() - started
            traffic.finish(status, seconds, size)
            if seconds > _SLOW_SECONDS and b"timeout=" not in request.query_string:
                _log.info("slow answer", path=_shown(request), status=status, seconds=round(seconds, 3))

    def _request(self, scope: Scope) -> Request:
        client = scope["client"]
        address = client[0] if client else ""
        if self._forwarded:
            address = _forwarded_for(scope["headers"]) or address
        return Request(
            scope["method"],
            scope["raw_path"],
            scope["query_string"],
            scope["headers"],
            address,
            f"{self._prefix}-{next(self._numbers)}",
            scope["state"],
        )

    def _route(self, request: Request) -> Route:
        if len(request.raw_path) + len(request.query_string) > _URL_BYTES:
            raise Refusal("M_TOO_LARGE", f"The URL is longer than {_URL_BYTES} bytes.", status=414)
        if len(request.headers) > _HEADERS:
            raise Refusal("M_TOO_LARGE", f"There are more than {_HEADERS} headers.", status=431)
        route, request.parameters = self._router.find(request.method, request.raw_path.decode("ascii"))
        return route

    async def _answer(self, route: Route, request: Request, receive: Receive) -> Response:
        endpoint = route.endpoint
        if endpoint.access != "open":
            token = _token_of(request)
            if token is not None:
                request.requester = await self._authenticator.authenticate(
                    token, locked_ok=endpoint.locked_ok
                )
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
            request.stream = _stream(request, receive, endpoint.body_limit)
        elif request.method != "GET":
            request.body = await _read(request, receive, endpoint.body_limit)
        answer = await route.call(request)
        if type(answer) is dict:
            return Response(200, orjson.dumps(answer))
        assert isinstance(answer, Response)
        return answer


def _token_of(request: Request) -> str | None:
    header = request.header(b"authorization")
    if header is not None and header[:7].lower() == "bearer ":
        return header[7:].strip() or None
    # COMPAT(older clients): the token may stand in the query.
    return request.query("access_token") if b"access_token" in request.query_string else None


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


async def _read(request: Request, receive: Receive, limit: int) -> bytes:
    _check_length(request, limit)
    message = await receive()
    if message["type"] == "http.disconnect":
        raise Gone
    body: bytes = message["body"]
    if not message["more_body"] and len(body) <= limit:
        return body
    pieces = bytearray(body)
    while message["more_body"] and len(pieces) <= limit:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        pieces += message["body"]
    if len(pieces) > limit:
        raise _too_large(limit)
    return bytes(pieces)


def _stream(request: Request, receive: Receive, limit: int) -> Callable[[], AsyncIterator[bytes]]:
    """The body in pieces. The connection itself bounds how long they may take."""
    _check_length(request, limit)

    async def pieces() -> AsyncIterator[bytes]:
        size = 0
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Gone
            more = message["more_body"]
            size += len(message["body"])
            if size > limit:
                raise _too_large(limit)
            if message["body"]:
                yield message["body"]

    return pieces


def _response_to(error: Exception, request: Request) -> Response:
    """What an exception becomes: an answer in any case, and a traceback in the log where it is a bug."""
    if isinstance(error, Refusal):
        return response_of(error)
    if isinstance(error, Busy):
        return response_of(too_soon(_BUSY_SECONDS))
    _log.error("a request failed", method=request.method, path=_shown(request), exc_info=error)
    body = {"errcode": "M_UNKNOWN", "error": f"The server failed; its log says more under {request.id}."}
    return Response(500, orjson.dumps(body))


def _shown(request: Request) -> str:
    # Without the query, which may hold a token.
    return request.raw_path[:300].decode("ascii", "replace")


async def _send(response: Response, send: Send, request: Request) -> int:
    """Send the answer; gives the bytes of its body."""
    headers: list[tuple[bytes, bytes]] = [*CORS, *response.headers]
    if response.stream is None:
        body = response.body
        headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        return len(body)
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    return await _send_stream(response.stream, send, request)


async def _send_stream(stream: AsyncIterator[bytes], send: Send, request: Request) -> int:
    size = 0
    try:
        async for piece in stream:
            if request.is_gone:
                break
            size += len(piece)
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    finally:
        if isinstance(stream, AsyncGenerator):
            await stream.aclose()
    await send({"type": "http.response.body", "body": b""})
    return size
