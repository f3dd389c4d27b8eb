"""A listener with endpoints made for these tests: everything between the socket and an endpoint, and nothing else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ranvier.accounts.requester import Requester
from ranvier.http.application import Application
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.limits import Limits, RateLimit
from ranvier.http.listening import Address, Listening
from ranvier.http.metrics import Traffic
from ranvier.http.request import Request
from ranvier.http.response import Response
from ranvier.http.router import Route, Router, route_of
from ranvier.protocol.refusal import Refusal
from ranvier.store.writer import Busy

BODY_LIMIT = 200_000


@dataclass
class Seen:
    """What happened behind the endpoints."""

    gone: asyncio.Event = field(default_factory=asyncio.Event)
    hold: asyncio.Event = field(default_factory=asyncio.Event)
    calls: int = 0


class Letter(msgspec.Struct):
    """A body with a required and an optional field."""

    to: str
    pages: int = 1


@endpoint("GET", "/open", access="open")
async def show(request: Request, seen: Seen) -> Answer:
    seen.calls += 1
    return {
        "address": request.client_address,
        "query": request.query("q"),
        "n": request.query_int("n", 5, most=10),
    }


@endpoint("GET", "/_matrix/client/v3/me")
async def who(request: Request) -> Answer:
    return {"user_id": request.requester.user_id}


@endpoint("GET", "/maybe", access="optional token")
async def maybe(request: Request) -> Answer:
    return {"known": request.requester_or_none is not None}


@endpoint("POST", "/unlock", locked_ok=True)
async def unlock(request: Request) -> Answer:
    return {}


@endpoint("GET", "/rooms/{roomId}/members/{userId}", access="open")
async def member(request: Request) -> Answer:
    return dict(request.parameters)


@endpoint("GET", "/rooms/{roomId}/state/{eventType}/{stateKey}", access="open")
async def state(request: Request) -> Answer:
    return dict(request.parameters)


@endpoint("PUT", "/letters", access="open", body_limit=BODY_LIMIT)
async def write_letter(request: Request) -> Answer:
    letter = request.read(Letter)
    return {"to": letter.to, "pages": letter.pages}


@endpoint("PUT", "/json", access="open", body_limit=BODY_LIMIT)
async def echo(request: Request) -> Answer:
    return {"got": request.json()}


@endpoint("POST", "/stream", access="open", streams_body=True, body_limit=BODY_LIMIT)
async def count_bytes(request: Request) -> Answer:
    assert request.stream is not None
    return {"bytes": sum([len(piece) async for piece in request.stream()])}


@endpoint("GET", "/pieces", access="open")
async def pieces(request: Request) -> Answer:
    async def produce() -> AsyncIterator[bytes]:
        for number in range(3):
            yield b"piece %d;" % number

    known = [(b"content-length", b"24")] if request.query("length") else []
    return Response(200, headers=[(b"content-type", b"text/plain"), *known], stream=produce())


@endpoint("GET", "/large", access="open")
async def large(request: Request) -> Answer:
    return Response(200, b"x" * 5_000_000, [(b"content-type", b"application/octet-stream")])


@endpoint("GET", "/broken", access="open")
async def broken(request: Request) -> Answer:
    raise KeyError("a secret-looking thing")


@endpoint("GET", "/busy", access="open")
async def busy(request: Request) -> Answer:
    raise Busy


@endpoint("GET", "/wait", access="open")
async def wait(request: Request, seen: Seen) -> Answer:
    seen.calls += 1
    request.when_gone(seen.gone.set)
    await seen.hold.wait()
    return {}


@endpoint("POST", "/limited", rate_limit="message")
async def limited(request: Request) -> Answer:
    return {}


@endpoint("POST", "/knock", access="open", rate_limit="registration")
async def knock(request: Request) -> Answer:
    return {}


class Known:
    """Tokens that are names; "locked" is a locked user's."""

    async def authenticate(self, token: str, *, locked_ok: bool = False) -> Requester:
        if token == "locked" and not locked_ok:
            raise Refusal("M_USER_LOCKED", "Locked.", soft_logout=True)
        if token not in ("alice", "bob", "locked"):
            raise Refusal("M_UNKNOWN_TOKEN", "Unknown.", soft_logout=False)
        return Requester(f"@{token}:test", "D", token.encode())


HANDLERS: tuple[Any, ...] = (
    show, who, maybe, unlock, member, state, write_letter, echo, count_bytes, pieces, large, broken, busy, wait,
    limited, knock,
)  # fmt: skip


class Place:
    """A listener, and what it was built from."""

    def __init__(self, *, forwarded: bool) -> None:
        self.seen = Seen()
        limits = Limits({"message": RateLimit(1, 3), "registration": RateLimit(0.5, 2)}, time.monotonic)
        endpoints = [mark for handler in HANDLERS for mark in handler.__endpoints__]
        self.routes: list[Route] = [route_of(e, {Seen: self.seen}, limits) for e in endpoints]
        self.strays = Traffic()
        application = Application(Router(self.routes), Known(), self.strays, forwarded=forwarded)
        self.listening = Listening(application, [Address("127.0.0.1", 0)])

    @property
    def address(self) -> tuple[str, int]:
        bound = self.listening.bound[0]
        return bound.host, bound.port

    @property
    def base_url(self) -> str:
        return f"http://{self.listening.bound[0]}"

    def traffic(self, name: str) -> Traffic:
        return next(route.traffic for route in self.routes if route.endpoint.name == name)

    async def stop(self, seconds: float = 1) -> bool:
        self.seen.hold.set()
        self.listening.stop_accepting()
        return await self.listening.drain(seconds)
