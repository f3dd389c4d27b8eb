"""Ephemeral data units of other servers, each handed to who takes its type.

Source: Server-Server API, "EDUs".
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import orjson

from ranvier.protocol.refusal import Refusal

Taker = Callable[[str, Mapping[str, Any]], Awaitable[None]]
"""Takes what an origin says; durable on return, as far as it must be. Raises `Refusal` for what can't be used."""

_log = logging.getLogger("ranvier.federation")


class ReceivedEdus:
    """Hands units on by `edu_type`. One that can't be used is dropped, and keeps no other from being taken."""

    def __init__(self, takers: Mapping[str, Taker]) -> None:
        self._takers = takers

    async def take(self, origin: str, edus: Sequence[Mapping[str, Any]]) -> None:
        """Take the units in their order; unknown types are passed over."""
        for edu in edus:
            kind, content = edu.get("edu_type"), edu.get("content")
            taker = self._takers.get(kind) if isinstance(kind, str) else None
            if taker is None or not isinstance(content, dict) or _holds_null(content):
                continue
            try:
                await taker(origin, content)
            except Refusal as refusal:
                _log.info("an EDU was dropped", extra={"origin": origin, "type": kind, "why": refusal.error})


def _holds_null(content: Mapping[str, Any]) -> bool:
    """Whether there is a U+0000 in it, which no identifier has and no text of the store can hold."""
    return b"\\u0000" in orjson.dumps(content)
