"""An HTTP client for tests: every request and every answer is checked against the specification.

    async with Client("http://127.0.0.1:8008") as client:
        answer = await client.request("GET", "/_matrix/client/v3/account/whoami", token=token)
        assert answer.json["user_id"] == "@alice:example.org"

A test that sends something bad on purpose says `valid=False`: then only the answer is judged.
"""

from __future__ import annotations

import json as json_text
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlencode, urlsplit

import aiohttp
from tests.spec.contract import Contract
from yarl import URL

CONTRACT = Contract()
"""Compiled validators, shared by all clients of a test run."""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer: `body` as sent, `headers` with case-insensitive names."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON; raises ValueError when it is none."""
        return json_text.loads(self.body)

    @property
    def errcode(self) -> str | None:
        """The error's code, or None when the answer is no error."""
        return self.json.get("errcode") if self.status >= 400 else None

    def ok(self) -> Any:
        """The JSON of a 200; fails the test with the answer's text for any other status."""
        assert self.status == 200, f"{self.status} {self.body[:1000]!r}"
        return self.json


class Client:
    """Speaks to one server at `base_url` (`http://host:port`, or `unix:/path` for a socket).

    `token` is the access token of all requests that give none of their own; `timeout` counts in seconds. With
    `judged` False the server is another one than ours, and its answers are taken as they come.
    """

    def __init__(
        self,
        base_url: str,
        token: str | None = None,
        *,
        api: str | None = None,
        timeout: float = 60,
        judged: bool = True,
    ) -> None:
        self.token = token
        self._judged = judged
        self._api = api
        socket = base_url.removeprefix("unix:") if base_url.startswith("unix:") else None
        self._base = "http://localhost" if socket else base_url.rstrip("/")
        connector = aiohttp.UnixConnector(socket) if socket else aiohttp.TCPConnector(limit=0)
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=aiohttp.ClientTimeout(total=timeout), auto_decompress=True
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._session.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        body: bytes | None = None,
        query: Mapping[str, Any] | Iterable[tuple[str, str]] | None = None,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        valid: bool = True,
    ) -> Response:
        """Sends a request and returns the answer, both checked against the specification.

        `path` is the raw path (`path_of` quotes its parts) and may carry a query; `json` is encoded, `body`
        sent as it is. `token` "" sends no token even if the client has one. With `valid` False the request may
        break the specification; the answer must still be one that the specification knows.
        """
        split = urlsplit(path)
        raw_query = _query(query) or split.query
        sent = dict(headers or {})
        used = self.token if token is None else token
        if used:
            sent.setdefault("Authorization", f"Bearer {used}")
        if json is not None:
            body = json_text.dumps(json, ensure_ascii=False).encode()
            sent.setdefault("Content-Type", "application/json")
        if valid:
            CONTRACT.check_request(self._api, method, split.path, raw_query, sent, body)
        url = URL(self._base + split.path + ("?" + raw_query if raw_query else ""), encoded=True)
        async with self._session.request(
            method, url, data=body, headers=sent, allow_redirects=False
        ) as answer:
            found = Response(answer.status, answer.headers.copy(), await answer.read())
        # What a query asks for by a proposal's name, the specification can't judge.
        if self._judged and method != "OPTIONS" and "org.matrix.msc" not in raw_query:
            CONTRACT.check_response(self._api, method, split.path, found.status, found.headers, found.body)
        return found

    async def get(self, path: str, **options: Any) -> Response:
        return await self.request("GET", path, **options)

    async def put(self, path: str, json: Any = None, **options: Any) -> Response:
        return await self.request("PUT", path, json=json, **options)

    async def post(self, path: str, json: Any = None, **options: Any) -> Response:
        return await self.request("POST", path, json=json, **options)

    async def delete(self, path: str, **options: Any) -> Response:
        return await self.request("DELETE", path, **options)


def path_of(*parts: str) -> str:
    """A raw path from unquoted segments: `path_of("_matrix/client/v3/rooms", room_id, "state", kind, key)`.

    The first part is taken as it stands; each other part is quoted whole, `/` included.
    """
    first, *rest = parts
    return "/".join(["/" + first.strip("/"), *(quote(part, safe="") for part in rest)])


def _query(query: Mapping[str, Any] | Iterable[tuple[str, str]] | None) -> str:
    if query is None:
        return ""
    pairs = query.items() if isinstance(query, Mapping) else query
    return urlencode([(name, _text(value)) for name, value in pairs], quote_via=quote)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)
