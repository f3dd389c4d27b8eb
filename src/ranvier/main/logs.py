"""Logs: lines for people or JSON for machines, on standard error, with the id of the request that they belong to."""

import logging
import sys
from typing import Any, Literal

import structlog
from structlog.typing import EventDict, Processor

from ranvier.http.application import CURRENT

_SECRET = frozenset(
    {"password", "token", "secret", "authorization", "mac", "key", "pepper", "session", "nonce"}
)


def _add_request(_: Any, __: str, event: EventDict) -> EventDict:
    request = CURRENT.get()
    if request is not None:
        event["request"] = request.id
        requester = request.requester_or_none
        if requester is not None:
            event.setdefault("user", requester.user_id)
    return event


def _hide_secrets(_: Any, __: str, event: EventDict) -> EventDict:
    for key in event:
        if not _SECRET.isdisjoint(key.lower().split("_")):
            event[key] = "…"
    return event


def start_logging(level: str, form: Literal["console", "json"]) -> None:
    """Send everything that is logged, by this program and by its libraries, through one formatter."""
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_request,
        _hide_secrets,
    ]
    ending: list[Processor]
    if form == "json":
        ending = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        # Tracebacks without the values of variables: these may be secrets.
        ending = [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ending],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # What its libraries say in passing is of use only to who looks for it.
    for chatty in ("asyncio", "aiohttp.client", "PIL"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
