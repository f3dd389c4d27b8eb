"""Endpoints: functions marked with the method and path that the specification prints for them.

A floor above writes::

    @endpoint("PUT", "/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}")
    async def send_message(request: Request, sending: Sending) -> Answer:
        ...

The first parameter is the request; every further one names a collaborator by its type. `bind` finds these among the
objects that the composition built, once, at start: a missing one stops the start, not a request.
"""

import inspect
import typing
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any, Literal

from ranvier.http.request import Request
from ranvier.http.response import Response

Access = Literal["token", "optional token", "open", "server", "self"]
"""Who may call: users, whoever likes, other servers, or this server itself (from outside, to test the way)."""
Answer = dict[str, Any] | Response
Handler = Callable[..., Awaitable[Answer]]
Bound = Callable[[Request], Awaitable[Answer]]

BODY_LIMIT = 1024 * 1024
"""Bytes of a request's body that an endpoint reads unless it says otherwise."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One operation: where it is, who may call it, and the function that answers.

    `rate_limit` names the limit (a key of the configuration's `rc_*`, such as "message") that each call counts
    against, by user, or by address where there is no user; `None` where the specification knows no limit.
    `locked_ok` marks the few operations that a locked account may still call, `streams_body` whether the function reads
    the body as a stream by itself. `takes_turns` is for access by servers: whether the limit of the origin
    (`rc_federation`) counts. `confirms` is off where the answer is the same whatever other processes have done.
    """

    method: str
    path: str
    access: Access
    rate_limit: str | None
    body_limit: int
    streams_body: bool
    locked_ok: bool
    takes_turns: bool
    confirms: bool
    handler: Handler

    @property
    def name(self) -> str:
        """The operation's name: the specification's `operationId` in snake case."""
        return self.handler.__name__

    @property
    def file(self) -> str:
        """The module's last name: the specification's OpenAPI file in snake case."""
        return self.handler.__module__.rpartition(".")[2]


def endpoint(
    method: str,
    path: str,
    *,
    access: Access = "token",
    rate_limit: str | None = None,
    body_limit: int = BODY_LIMIT,
    streams_body: bool = False,
    locked_ok: bool = False,
    takes_turns: bool = True,
    confirms: bool = True,
) -> Callable[[Handler], Handler]:
    """Mark a function as the one that answers `method` on `path`; one function may carry several marks."""

    def mark(handler: Handler) -> Handler:
        made = Endpoint(
            method,
            path,
            access,
            rate_limit,
            body_limit,
            streams_body,
            locked_ok,
            takes_turns,
            confirms,
            handler,
        )
        marks: list[Endpoint] = getattr(handler, "__endpoints__", [])
        handler.__endpoints__ = [*marks, made]  # type: ignore[attr-defined]
        return handler

    return mark


def endpoints_of(modules: Iterable[ModuleType]) -> list[Endpoint]:
    """All endpoints that the given modules define, in the order of their text."""
    found: list[Endpoint] = []
    for module in modules:
        for value in vars(module).values():
            if getattr(value, "__module__", None) == module.__name__:
                found += getattr(value, "__endpoints__", [])
    return found


def bind(endpoint: Endpoint, collaborators: dict[type, object]) -> Bound:
    """The endpoint's function with its collaborators in place; raises `LookupError` when one was not composed."""
    parameters = list(inspect.signature(endpoint.handler).parameters)[1:]
    hints = typing.get_type_hints(endpoint.handler)
    found = {}
    for parameter in parameters:
        wanted = hints[parameter]
        if wanted not in collaborators:
            raise LookupError(
                f"{endpoint.name} asks for {wanted.__name__}, which the composition does not build"
            )
        found[parameter] = collaborators[wanted]
    return partial(endpoint.handler, **found)
