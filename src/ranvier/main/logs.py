"""Logs: lines for people or JSON for machines, on standard error, with the id of the request that they belong to.

What belongs to a message is given to the standard library's loggers by name: `log.info("ready", extra={"port": 8008})`.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final, Literal

from ranvier.http.application import CURRENT

_SECRET: Final = frozenset(
    {"password", "token", "secret", "authorization", "mac", "key", "pepper", "session", "nonce"}
)
_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
"""What every record has; all else was given with the message."""
_COLOURS: Final = {"WARNING": "\033[33m", "ERROR": "\033[31m", "CRITICAL": "\033[1;31m"}
_PLAIN: Final = "\033[0m"


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """What was given with the message and where it belongs, without secrets."""
    fields = {name: value for name, value in vars(record).items() if name not in _OWN}
    request = CURRENT.get()
    if request is not None:
        fields["request"] = request.id
        requester = request.requester_or_none
        if requester is not None:
            fields.setdefault("user", requester.user_id)
    return {
        name: value if _SECRET.isdisjoint(name.lower().split("_")) else "…" for name, value in fields.items()
    }


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        line = {
            **_fields(record),
            "event": record.getMessage(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "timestamp": _time(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=repr)


class Lines(logging.Formatter):
    """A line for people, with a traceback below it where there is one: without values, which may be secrets."""

    def __init__(self, *, coloured: bool) -> None:
        super().__init__()
        self._coloured = coloured

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        level = f"[{record.levelname.lower():8}]"
        if self._coloured and record.levelname in _COLOURS:
            level = f"{_COLOURS[record.levelname]}{level}{_PLAIN}"
        fields = [f"{name}={_shown(value)}" for name, value in sorted(_fields(record).items())]
        line = " ".join([_time(record), level, f"{record.getMessage():30}", f"[{record.name}]", *fields])
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _shown(value: Any) -> str:
    text = str(value)
    return text if text.isprintable() and text and " " not in text else repr(value)


def start_logging(level: str, form: Literal["console", "json"]) -> None:
    """Send everything that is logged, by this program and by its libraries, through one formatter."""
    output = logging.StreamHandler(sys.stderr)
    output.setFormatter(JsonLines() if form == "json" else Lines(coloured=sys.stderr.isatty()))
    root = logging.getLogger()
    root.handlers[:] = [output]
    root.setLevel(level.upper())
    # What its libraries say in passing is of use only to who looks for it.
    for chatty in ("asyncio", "aiohttp.client", "PIL"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
