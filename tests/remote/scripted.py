"""A transport without a network: a function answers each call, as another server would."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from ranvier.remote.failure import RemoteFailure
from ranvier.remote.transport import Call, Opened

Answered = tuple[int, Any] | RemoteFailure
Script = Callable[[Call], Answered]


class Scripted:
    """`answer` gives status and JSON (or bytes), or the failure; `calls` are those that were made."""

    def __init__(self, answer: Script) -> None:
        self.answer = answer
        self.calls: list[Call] = []
        self.headers: Mapping[str, str] = {}
        self.slowness_s = 0.0
        self.under_way = 0
        self.most_under_way = 0

    @asynccontextmanager
    async def open(self, call: Call, timeout_s: float) -> AsyncIterator[Opened]:
        self.calls.append(call)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await asyncio.sleep(self.slowness_s)
            answered = self.answer(call)
            if isinstance(answered, RemoteFailure):
                raise answered
            status, value = answered
            body = value if isinstance(value, bytes) else json.dumps(value).encode()

            async def pieces() -> AsyncIterator[bytes]:
                for start in range(0, len(body), 10_000):
                    yield body[start : start + 10_000]

            yield Opened(status, self.headers, pieces())
        finally:
            self.under_way -= 1
